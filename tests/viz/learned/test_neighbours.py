"""Neighbours in embeddings, examples and classes by name, histograms as pictures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DataError, SpecError
from cortex_core.network import Network, network
from cortex_core.training.histograms import histogram
from cortex_core.training.source import Arrays
from cortex_viz.learned.examples import class_names, class_of, examples_of, picture_input
from cortex_viz.learned.histograms import chosen, histograms
from cortex_viz.learned.neighbours import embedding_of, first_rows, neighbours_of, row_names, row_of
from tests.viz.learned.networks import IMAGES, classifier, source

WORDS = ("", "\ufffd", "good", "fine", "bad", "$x$")


def texts(tokens: int = 6) -> Network:
    layers = [{"embedding": {"tokens": tokens, "units": 2, "id": "words"}}]
    return network({"name": "t", "inputs": {"text": {"shape": [4], "dtype": "int64"}}, "layers": layers})


def test_neighbours_by_cosine() -> None:
    table = np.array([[0, 0], [1, 0], [10, 0], [3, 4], [0, -2], [-1, 0]], np.float32)
    found = neighbours_of(table, 1, list("abcdef"))
    assert [(x.row, x.name) for x in found] == [(2, "c"), (3, "d"), (0, "a"), (4, "e"), (5, "f")]
    np.testing.assert_allclose([x.cosine for x in found], [1, 0.6, 0, 0, -1], atol=1e-7)
    assert [x.cosine for x in neighbours_of(table, 0, list("abcdef"), 2)] == [0, 0]


def test_rows_are_named_by_the_vocabulary() -> None:
    made = texts(8)
    assert row_names(made, "words") == [str(i) for i in range(8)]
    made.encoding = SimpleNamespace(streams={"text": None}, vocabulary=SimpleNamespace(tokens=WORDS))  # type: ignore[assignment]
    names = row_names(made, "words")
    assert names == [*WORDS, "6", "7"]
    assert first_rows(names) == [2, 3, 4, 5, 6, 7]
    assert (row_of(names, "bad"), row_of(names, "7"), row_of(names, "0")) == (4, 7, 0)
    with pytest.raises(DataError, match=r"'goood' is no row of this embedding. Did you mean 'good'"):
        row_of(names, "goood")
    with pytest.raises(DataError, match=r"Known are 8 names, such as good, fine"):
        row_of(names, "8")


def test_rows_are_named_by_classes() -> None:
    made = texts(3)
    streams = {"text": SimpleNamespace(classes=("cat", "dog"))}
    made.encoding = SimpleNamespace(streams=streams)  # type: ignore[assignment]
    assert row_names(made, "words") == ["cat", "dog", "2"]


def test_embeddings_by_id() -> None:
    assert embedding_of(texts()) == embedding_of(texts(), "words") == "words"
    with pytest.raises(SpecError, match="it has no embedding"):
        embedding_of(classifier())
    with pytest.raises(SpecError, match=r"'maps' is no embedding. Embeddings: none"):
        embedding_of(classifier(), "maps")
    with pytest.raises(SpecError, match="Did you mean 'words'"):
        embedding_of(texts(), "word")


# Examples and classes.


def test_examples_by_row() -> None:
    found = examples_of(classifier(), source(), [3, 0])
    assert list(found) == ["x"]
    np.testing.assert_array_equal(found["x"], IMAGES[[3, 0]])
    for bad in (12, -1):
        with pytest.raises(DataError, match=f"there is no example {bad}; they are 0 to 11"):
            examples_of(classifier(), source(), [0, bad])


def test_classes_by_name_or_number() -> None:
    made, data = classifier(), source()
    assert class_names(made, data) == ["0", "1", "2", "3"]
    data.streams["label"].classes = ("cat", "dog", "3", "<b>")
    names = class_names(made, data)
    assert [class_of(names, given) for given in ("dog", "3", "0", 3, "<b>")] == [1, 2, 0, 3, 3]
    with pytest.raises(DataError, match="Did you mean 'dog'"):
        class_of(names, "dogg")
    with pytest.raises(DataError, match="there is no class 4; the classes are 0 to 3"):
        class_of(names, "4")
    with pytest.raises(DataError, match="The classes are cat, dog, 3"):
        class_of(names, "-1")
    data.streams["label"].classes = ("too", "few")
    assert class_names(made, data) == ["0", "1", "2", "3"]


def test_pictures_are_found_among_the_inputs() -> None:
    inputs = {"size": [2], "photo": [6, 6, 3]}
    flat = {"flatten": {"from": "photo", "id": "flat"}}
    layers = [flat, {"concatenate": {"from": ["size", "flat"]}}]
    made = network({"name": "m", "inputs": inputs, "layers": layers})
    assert picture_input(made) == "photo"
    with pytest.raises(SpecError, match=r"its inputs are 'text' \[4\]"):
        picture_input(texts())


def test_examples_of_several_lengths() -> None:
    class Ragged(Arrays):
        lengths = np.array([2, 4, 4])

        def gather(self, indices: Any, out: Any, *, epoch: int = 0) -> None:
            cut = out["text"].shape[1]
            out["text"][:] = self.arrays["text"][indices, :cut]

    data = Ragged({"text": np.arange(12).reshape(3, 4)})
    data.streams["text"].shape = (None,)  # type: ignore[attr-defined]
    assert examples_of(texts(), data, [0])["text"].tolist() == [[0, 1]]
    assert examples_of(texts(), data, [2, 1])["text"].shape == (2, 4)
    with pytest.raises(DataError, match="differ in length"):
        examples_of(texts(), data, [0, 1])


# Histograms.


def rows(epochs: int = 3, names: Any = ("a/kernel", "a/bias", "u/b/kernel")) -> list[dict[str, Any]]:
    made = []
    for epoch in range(epochs):
        found = {
            n: histogram(np.random.default_rng(epoch).normal(size=50 * (i + 1))) for i, n in enumerate(names)
        }
        made.append({"epoch": epoch, "weights": found, "gradients": found})
    return made


def test_histograms_are_drawn(tmp_path: Path) -> None:
    assert histograms(rows(), tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")
    flat = rows(1)
    lost = histogram(np.full(4, np.nan))
    flat[0]["weights"]["a/kernel"], flat[0]["gradients"]["a/kernel"] = histogram(np.zeros(4)), lost
    text = histograms(flat, tmp_path / "h.svg", "a").read_text()
    assert "no finite numbers" in text
    assert "a/kernel: weights" in text
    assert "u/b/kernel" not in text
    for told in ("mean", "one standard deviation around it", "as a share of the fullest bin of the epoch"):
        assert told in text


def test_histograms_of_a_layer_or_of_the_largest() -> None:
    assert chosen(rows(), None) == ["a/kernel", "a/bias", "u/b/kernel"]
    assert chosen(rows(), "u/b") == ["u/b/kernel"]
    many = rows(1, [f"{i}/kernel" for i in range(20)])
    assert chosen(many, None) == [f"{i}/kernel" for i in range(8, 20)]
    with pytest.raises(SpecError, match="is no layer with parameters"):
        chosen(rows(), "c")
    with pytest.raises(SpecError, match="no epoch to draw"):
        chosen([], None)
