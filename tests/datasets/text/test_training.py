"""From text files to a trained model and back, through core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import DataError
from cortex_core.training.evaluate import evaluate


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def train(inputs: Any, layers: list[Any], loss: dict[str, Any], data: Any, **options: Any) -> Any:
    section = {"data": data, "epochs": 6, "batch_size": 16, "optimizer": {"adam": {"learning_rate": 0.02}}}
    spec = {"inputs": inputs, "layers": layers, "loss": {"softmax_cross_entropy": loss}}
    return cortex.train(
        {**spec, "train": {**section, **options}}, out=Path("run"), backend="numpy", progress=False
    )


@pytest.mark.filterwarnings("ignore:.* are in no window")
@pytest.mark.parametrize("tokens", ["characters", "words", "bytepair"])
def test_a_text_that_repeats_itself(tokens: str) -> None:
    Path("rhyme.txt").write_text("one two three four\n" * 400)
    run = train(
        {"text": "auto"},
        [
            {"embedding": {"tokens": 270, "units": 16}},
            {"conv1d": {"filters": 32, "kernel": 6, "padding": [[5, 0]], "activation": "relu"}},
            {"dense": {"units": 270, "id": "y"}},
        ],
        {"of": "y", "target": "next"},
        {"text": {"file": "rhyme.txt", "tokens": tokens, "vocabulary": 270, "window": 16}},
        test=0.2,
    )
    network = cortex.load(Path("run/model.cortex"))
    assert network.description.inputs[0].shape == (16,)
    # All but the first few of a window follow from what stands before them.
    assert run.metrics["test"]["accuracy"] > 0.85
    assert evaluate(network, None, "test")["accuracy"] == run.metrics["test"]["accuracy"]
    # Sixteen times: whole windows.
    shown = network.encoding.decode("next", network.predict("one two three four\n" * 16).argmax(axis=-1))
    assert "".join(shown).count("three four") >= 3
    Path("other.txt").write_text("four three two one\n" * 20)
    assert evaluate(network, "other.txt")["accuracy"] < 0.85


@pytest.mark.parametrize("buckets", [1, 3])
def test_lines_of_two_classes(buckets: int) -> None:
    rng = np.random.default_rng(0)
    common = ["a", "the", "film", "plot", "of"]
    for name, own in (("good", ["fine", "lovely"]), ("bad", ["dull", "awful"])):
        lines = [[*rng.choice(common, rng.integers(1, 20)), rng.choice(own)] for _ in range(80)]
        Path(f"{name}.txt").write_text("\n".join(" ".join(rng.permutation(line)) for line in lines))
    run = train(
        {"text": "auto"},
        [
            {"embedding": {"tokens": 11, "units": 8}},
            {"conv1d": {"filters": 8, "kernel": 1}},
            "global_max_pool1d",
            {"dense": {"units": 2, "id": "y"}},
        ],
        {"of": "y", "target": "label"},
        {"lines": {"files": {"good": "good.txt", "bad": "bad.txt"}, "tokens": "words", "buckets": buckets}},
        test=0.25,
        split="stratified",
    )
    network = cortex.load(Path("run/model.cortex"))
    assert network.description.inputs[0].shape == ((None,) if buckets > 1 else (20,))
    assert run.metrics["test"]["accuracy"] == 1
    assert evaluate(network, None, "test")["accuracy"] == 1
    texts = ["the plot of a lovely film", "dull", "a film of the awful plot the a film of"]
    probabilities = network.predict(texts)
    assert (probabilities.argmax(axis=1) == [0, 1, 1]).all()
    Path("new.txt").write_text("\n".join(texts))
    np.testing.assert_allclose(network.predict("new.txt"), probabilities, rtol=1e-5)


def test_lines_as_language() -> None:
    Path("names.txt").write_text("\n".join(["anna", "bob", "cyril"] * 60))
    run = train(
        {"text": "auto"},
        [
            {"embedding": {"tokens": 14, "units": 8}},
            {"conv1d": {"filters": 32, "kernel": 3, "padding": [[2, 0]], "activation": "relu"}},
            {"dense": {"units": 14, "id": "y"}},
        ],
        {"of": "y", "target": "next", "ignore_index": 0},
        {"lines": {"file": "names.txt", "buckets": 2}},
        validation=0.2,
    )
    # The first letter is one of three, all others follow: log 3 over 5, 4 or 6 letters.
    assert run.metrics["validation"]["loss"] == pytest.approx(
        np.log(3) * (1 / 5 + 1 / 4 + 1 / 6) / 3, rel=0.15
    )


def test_sequences_of_numbers() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 12, 200)
    label = rng.integers(0, 2, 200)
    pieces = [rng.normal(3 * (2 * y - 1), 1, (n, 2)) for n, y in zip(lengths, label)]
    np.savez("waves.npz", values=np.concatenate(pieces), lengths=lengths, label=label)
    run = train(
        {"values": "auto"},
        [{"conv1d": {"filters": 4, "kernel": 1}}, "global_avg_pool1d", {"dense": {"units": 2, "id": "y"}}],
        {"of": "y", "target": "label"},
        {"sequences": {"file": "waves.npz", "buckets": 3}},
        test=0.2,
    )
    assert run.metrics["test"]["accuracy"] > 0.97
    assert evaluate(cortex.load(Path("run/model.cortex")), "waves.npz")["accuracy"] > 0.97


def test_a_vocabulary_that_is_larger_than_the_network() -> None:
    Path("rhyme.txt").write_text("one two three four\n" * 400)
    layers = [{"embedding": {"tokens": 5, "units": 4}}, {"dense": {"units": 20, "id": "y"}}]
    with pytest.raises(DataError, match="'embedding' has 5 tokens: 'text' of the data has"):
        train({"text": "auto"}, layers, {"of": "y", "target": "next"}, "rhyme.txt")


@pytest.mark.parametrize("buckets", [1, 2])
def test_a_network_with_fewer_outputs_than_tokens(buckets: int) -> None:
    Path("names.txt").write_text("\n".join(["anna", "bob", "cyril"] * 60))
    report = cortex.check(
        {
            "inputs": {"text": "auto"},
            "layers": [{"embedding": {"tokens": 12, "units": 4}}, {"dense": {"units": 9, "id": "y"}}],
            "loss": {"softmax_cross_entropy": {"of": "y", "target": "next"}},
            "train": {"data": {"lines": {"file": "names.txt", "buckets": buckets}}},
        }
    )
    (problem,) = report.problems
    assert "'y' has 9 outputs: 'next' of the data has 12 classes" in str(problem)
