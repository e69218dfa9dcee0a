"""Networks in safetensors files: there and back, and everything that does not fit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import CheckpointError, DTypeError, SpecError
from cortex_core.exchange.safetensors import load_safetensors, opened, save_safetensors
from cortex_core.network import Network

DESCRIPTION: dict[str, Any] = {
    "cortex": 1,
    "name": "two",
    "inputs": {"zoom": [3], "image": [6, 6, 1]},  # the order counts, and is not that of the letters
    "layers": [
        {"conv2d": {"filters": 2, "kernel": 3, "from": "image"}},
        "batch_norm",
        {"global_avg_pool2d": {"id": "seen"}},
        {"concatenate": {"from": ["seen", "zoom"]}},
        {"dense": {"units": 4, "id": "kind"}},
    ],
    "loss": {"softmax_cross_entropy": {"of": "kind", "target": "label"}},
}
SHAPES = {
    "conv2d/kernel": (3, 3, 1, 2), "conv2d/bias": (2,),
    "batch_norm/scale": (2,), "batch_norm/shift": (2,),
    "batch_norm/moving_mean": (2,), "batch_norm/moving_variance": (2,),
    "kind/kernel": (5, 4), "kind/bias": (4,),
}  # fmt: skip
Arrays = dict[str, np.ndarray]


@pytest.fixture
def network() -> Network:
    """One whose numbers are not those of the beginning."""
    made = cortex.network(DESCRIPTION)
    rng = np.random.default_rng(0)
    for numbers in (made.parameters, made.variables):
        for name in numbers:
            numbers[name] = rng.uniform(0.5, 1.5, numbers[name].shape)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "two.safetensors"


def arrays_of(network: Network) -> Arrays:
    return {**network.parameters, **network.variables}


def expect_same(made: Network, network: Network) -> None:
    assert made.description.canonical == network.description.canonical
    for name, array in arrays_of(network).items():
        np.testing.assert_array_equal(arrays_of(made)[name], array, strict=True)
    x = {"zoom": np.ones((2, 3), np.float32), "image": np.ones((2, 6, 6, 1), np.float32)}
    np.testing.assert_array_equal(made.predict(x), network.predict(x))


def test_there_and_back(network: Network, path: Path) -> None:
    cortex.to_safetensors(network, path)
    assert {name: x.shape for name, x in load_safetensors(path).items()} == SHAPES
    with opened(path) as stored:
        told = stored.metadata
        assert {entry.dtype for entry in stored.entries.values()} == {"F32"}
    data = json.loads(told["description"])
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert told["hash"] == hashlib.sha256(text.encode()).hexdigest() == network.description.hash
    assert (told["format"], told["name"]) == ("cortex", "two")
    made = cortex.from_safetensors(path)
    expect_same(made, network)
    assert list(made.description.canonical["inputs"]) == ["zoom", "image"]
    assert made.origin == {"file": "two.safetensors", "proof": "every name and shape fits"}


def test_a_description_beside_the_file(network: Network, path: Path, tmp_path: Path) -> None:
    save_safetensors(path, arrays_of(network))
    fresh = cortex.network(DESCRIPTION, seed=3)
    before = {name: array.copy() for name, array in arrays_of(fresh).items()}
    fresh.save(tmp_path / "fresh.cortex")
    (tmp_path / "two.yaml").write_text(json.dumps(DESCRIPTION))
    for description in (DESCRIPTION, tmp_path / "two.yaml", tmp_path / "fresh.cortex", fresh):
        expect_same(cortex.from_safetensors(path, description), network)
    for name, array in before.items():
        np.testing.assert_array_equal(arrays_of(fresh)[name], array)  # only its description is taken


def test_a_trained_network_goes_on_training(network: Network, path: Path, tmp_path: Path) -> None:
    cortex.to_safetensors(network, path)
    made = cortex.from_safetensors(path)
    data = {"zoom": np.ones((4, 3), np.float32), "image": np.ones((4, 6, 6, 1), np.float32)}
    run = cortex.train(
        made, data=data | {"label": np.arange(4)}, batch_size=4, epochs=1, out=tmp_path / "run"
    )
    assert (run.network.parameters["kind/kernel"] != network.parameters["kind/kernel"]).any()


def halved(network: Network, dtype: str) -> Arrays:
    """Numbers that every width holds."""
    return {name: np.round(array * 8).astype(dtype) / 8 for name, array in arrays_of(network).items()}


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats(network: Network, path: Path, dtype: str) -> None:
    given = halved(network, dtype)
    save_safetensors(path, given)
    made = cortex.from_safetensors(path, DESCRIPTION)
    for name, array in given.items():
        np.testing.assert_array_equal(arrays_of(made)[name], array.astype(np.float32), strict=True)
    notes = (made.origin or {}).get("notes", [])
    assert len(notes) == (dtype == "float64")
    assert all(
        note.startswith("float64 is rounded to float32: conv2d/kernel, conv2d/bias, ") for note in notes
    )


def test_bfloat16_is_widened(network: Network, path: Path) -> None:
    """It is the upper half of a float32."""
    header, data = {}, b""
    for name, array in arrays_of(network).items():
        half = (array.view(np.uint32) >> 16).astype("<u2").tobytes()
        offsets = [len(data), len(data) + len(half)]
        header[name] = {"dtype": "BF16", "shape": list(array.shape), "data_offsets": offsets}
        data += half
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    made = cortex.from_safetensors(path, DESCRIPTION)
    for name, array in arrays_of(network).items():
        expected = (array.view(np.uint32) >> 16 << 16).view(np.float32)
        np.testing.assert_array_equal(arrays_of(made)[name], expected)


def test_everything_that_does_not_fit_is_told_at_once(network: Network, path: Path) -> None:
    arrays = arrays_of(network)
    arrays["kinds/kernel"] = arrays.pop("kind/kernel")
    del arrays["batch_norm/moving_mean"]
    arrays["evil\n\x1b[2J"] = np.zeros((), np.float32)
    arrays["kind/bias"] = np.zeros((2, 2), np.int64)
    save_safetensors(path, arrays)
    with pytest.raises(CheckpointError) as caught:
        cortex.from_safetensors(path, DESCRIPTION)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{path}: its arrays do not fit the description; nothing was loaded:"
    assert sorted(lines) == [
        "  kind/bias holds I64; expected F32, F16, BF16, F64",
        "  kind/bias is (2, 2) in the file, (4,) in the description",
        "  missing: batch_norm/moving_mean (2,)",
        "  missing: kind/kernel (5, 4)",
        "  unknown: 'evil\\n\\x1b[2J' ()",
        "  unknown: 'kinds/kernel' (5, 4). Did you mean 'kind/kernel'?",
    ]


def test_long_lists_are_cut(path: Path) -> None:
    save_safetensors(path, {f"x{i}": np.zeros(1, np.float32) for i in range(1234)})
    with pytest.raises(CheckpointError, match=r"unknown: 1034 more$"):
        cortex.from_safetensors(path, DESCRIPTION)


def test_names_of_pytorch_get_their_way(path: Path) -> None:
    save_safetensors(path, {"0.weight": np.zeros((4, 5), np.float32)})
    for description in (None, DESCRIPTION):
        with pytest.raises(
            CheckpointError, match=r"look like PyTorch's: nn\.load_safetensors reads it for the same module"
        ):
            cortex.from_safetensors(path, description)


def test_numbers_that_only_float64_holds(network: Network, path: Path) -> None:
    arrays = {name: array.astype(np.float64) for name, array in arrays_of(network).items()}
    arrays["kind/bias"][1], arrays["conv2d/bias"][0] = 1e39, np.inf  # an infinity stays one
    save_safetensors(path, arrays)
    with pytest.raises(
        CheckpointError, match=r"loaded:\n  kind/bias holds numbers that are finite in float64 alone$"
    ):
        cortex.from_safetensors(path, DESCRIPTION)
    arrays["kind/bias"][1] = np.nan
    save_safetensors(path, arrays)
    made = cortex.from_safetensors(path, DESCRIPTION)
    assert np.isinf(made.parameters["conv2d/bias"][0])
    assert np.isnan(made.parameters["kind/bias"][1])


Told = Callable[[dict[str, str]], dict[str, str]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda told: {}, "it has no description in its metadata; give one$"),
        (lambda told: {"format": "pt"}, "it has no description in its metadata; give one$"),
        (lambda told: told | {"hash": "0"}, "is not the one that was written"),
        (lambda told: {"description": told["description"]}, "is not the one that was written"),
        (lambda told: told | {"description": told["description"].replace("6, 6", "7, 7")}, "is not the one"),
        (lambda told: told | {"description": "{"}, "is not the one that was written"),
        (lambda told: told | {"description": "[" * 100_000}, "is not the one that was written"),
        (lambda told: told | {"description": "[]"}, "is not the one that was written"),
        (lambda told: told | {"description": '{"a": NaN}'}, "is not the one that was written"),
    ],
)
def test_metadata_that_are_no_network(network: Network, path: Path, changed: Told, message: str) -> None:
    cortex.to_safetensors(network, path)
    with opened(path) as stored:
        told = changed(stored.metadata)
    save_safetensors(path, arrays_of(network), told)
    with pytest.raises(CheckpointError, match=message):
        cortex.from_safetensors(path)
    expect_same(cortex.from_safetensors(path, DESCRIPTION), network)


def metadata(description: Any) -> dict[str, str]:
    text = json.dumps(description, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {"description": text, "hash": hashlib.sha256(text.encode()).hexdigest()}


def test_a_description_that_is_wrong_here(path: Path) -> None:
    save_safetensors(path, {}, metadata(DESCRIPTION | {"layers": [{"densely": 4}]}))
    with pytest.raises(
        CheckpointError, match=r"(?s)its description is not valid here: .*densely.* \(--use FILE\.py\)"
    ):
        cortex.from_safetensors(path)
    with pytest.raises(SpecError, match="densely"):
        cortex.from_safetensors(path, DESCRIPTION | {"layers": [{"densely": 4}]})


def test_no_memory_is_taken_for_what_the_file_does_not_hold(path: Path) -> None:
    vast = {"cortex": 1, "inputs": {"x": [10**6]}, "layers": [{"dense": {"units": 10**7}}]}
    save_safetensors(path, {}, metadata(vast))
    with pytest.raises(CheckpointError, match=r"missing: dense/kernel \(1000000, 10000000\)"):
        cortex.from_safetensors(path)


def test_arguments_the_other_way_round_are_refused(network: Network, path: Path) -> None:
    with pytest.raises(DTypeError, match="got a Network where the path stands, expected a Network and then"):
        cortex.to_safetensors(path, network)
    with pytest.raises(DTypeError, match="got a dict, expected a Network"):
        cortex.to_safetensors(DESCRIPTION, path)  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="from_safetensors: got a NoneType where the path stands"):
        cortex.from_safetensors(None)  # type: ignore[arg-type]


def test_what_is_not_in_the_file_is_told(path: Path, tmp_path: Path) -> None:
    rows = "\n".join(f"{i % 7},{'ab'[i % 2]}" for i in range(40))
    (tmp_path / "t.csv").write_text(f"x,kind\n{rows}\n")
    description = {
        "cortex": 1,
        "inputs": {"features": "auto"},
        "layers": [{"dense": {"units": 2, "id": "out"}}],
        "loss": {"softmax_cross_entropy": {"of": "out", "target": "kind"}},
        "train": {"data": {"table": {"file": str(tmp_path / "t.csv")}}, "batch_size": 8},
    }
    network = cortex.train(description, out=tmp_path / "run").network
    with pytest.warns(
        UserWarning, match=r"two\.safetensors: what it learned of its data .* is not in this file"
    ):
        cortex.to_safetensors(network, path)
    assert cortex.from_safetensors(path).encoding is None
    table = tmp_path / "t.csv"
    again = cortex.from_safetensors(path, tmp_path / "run")  # which has it
    np.testing.assert_array_equal(again.predict(table), network.predict(table))
