"""Sequences of numbers, against padding by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DataError
from cortex_datasets.text import Sequences

Find = Callable[[str], Path]
RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(0, 20, 60)
PIECES = [RNG.normal(size=(n, 3)).astype(np.float32) for n in LENGTHS]
LABELS = RNG.integers(0, 4, 60)


@pytest.mark.parametrize("form", ["file", "dict", "pieces"])
@pytest.mark.parametrize("buckets", [1, 3])
def test_padding(form: str, buckets: int, find: Find, tmp_path: Path, gathered) -> None:
    reader = Sequences(file="some.npz", buckets=buckets)
    flat: dict[str, Any] = {"values": np.concatenate(PIECES), "lengths": LENGTHS, "label": LABELS}
    np.savez(tmp_path / "some.npz", **flat)
    given = {"file": "some.npz", "dict": flat, "pieces": {"values": PIECES, "label": LABELS}}[form]
    examples = reader.read(given, find)
    assert len(examples) == len(reader.open(find)) == 60
    rows = np.arange(60)
    encoding = examples.learn(rows, ["values"], ["label"])
    encoding = reader.restore(json.loads(json.dumps(encoding.state())))
    source = encoding.encode(examples, rows[::-1], ["values", "length", "label"])
    lengths = source.lengths if buckets > 1 else np.full(60, LENGTHS.max())
    assert len(np.unique(lengths)) == buckets
    for length in np.unique(lengths):
        own = np.flatnonzero(lengths == length)
        batch = gathered(source, own.tolist(), int(length))
        for i, row in enumerate(own):
            piece = PIECES[59 - row]
            np.testing.assert_array_equal(
                batch["values"][i], np.pad(piece, ((0, length - len(piece)), (0, 0)))
            )
        assert batch["length"].tolist() == LENGTHS[::-1][own].tolist()
        assert batch["label"].tolist() == LABELS[::-1][own].tolist()
    assert source.streams["values"].shape == ((None if buckets > 1 else LENGTHS.max()), 3)


def test_numbers_without_features_and_a_length(find: Find, gathered) -> None:
    examples = Sequences(length=2).read([[1, 2, 3], [4], [5.5, 6]], find)
    encoding = examples.learn(np.arange(3), ["values"], ["length"])
    source = encoding.encode(examples, np.arange(3), ["values", "length"])
    batch = gathered(source, [0, 1, 2])
    assert batch["values"].tolist() == [[1, 2], [4, 0], [5.5, 6]]
    assert batch["length"].tolist() == [2, 1, 2]
    assert source.notes == ("1 of 3 sequences are longer than 2 and cut",)
    assert examples.column("length").tolist() == [3, 1, 2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lengths": [1]}, "there is no 'values'"),
        ({"values": [1.0, 2.0], "lengths": [1]}, "the lengths add up to 1, but there are 2 values"),
        ({"values": [1.0], "lengths": [2, -1]}, "'lengths' are .*; expected whole numbers"),
        ({"values": [1.0], "lengths": [0.5, 0.5]}, "'lengths' are float64"),
        ({"values": [1.0], "lengths": [1], "label": [1, 2]}, "'label' has 2 rows for 1 sequences"),
        ({"values": [1.0, np.nan], "lengths": [2]}, "row 1 of 'values' is not finite"),
        ({"values": [1.0], "lengths": [1], "label": ["a"]}, "'label' is <U1"),
        ([np.ones((2, 3)), np.ones((2, 4))], "equally many features"),
        ([], "equally many features"),
        ([1, 2], "equally many features"),
        (5, "found int; expected a list of arrays"),
        (None, "found NoneType; expected a list of arrays"),
        ({"values": np.float32(3)}, "found float32; expected a list of arrays"),
        ([[1, [2, 3]]], "'sequence 0' is no array: its rows differ in shape"),
        ({"values": [1.0], "lengths": [1], "label": [[1, [2]]]}, "'label' is no array"),
        ({"values": [], "lengths": np.array([2**63, 2**63], np.uint64)}, "but there are 0 values"),
        ({"values": [1.0], "lengths": [1], "label": np.array([2**63 + 5], np.uint64)}, "too large for int64"),
        (["a", "b"], "equally many features"),
    ],
)
def test_what_is_refused(given: Any, message: str, find: Find) -> None:
    with pytest.raises(DataError, match=message):
        Sequences().read(given, find)


def test_whole_numbers_stay_whole(find: Find, gathered) -> None:
    """As ids for an embedding; float32 would round the first."""
    reader = Sequences()
    examples = reader.read([np.array([16_777_217, 2]), np.array([3], np.uint8)], find)
    encoding = examples.learn(np.arange(2), ["values"], [])
    encoding = reader.restore(json.loads(json.dumps(encoding.state())))
    assert encoding.streams["values"].dtype == "int64"
    source = encoding.encode(examples, np.arange(2), ["values"])
    assert gathered(source, [0, 1])["values"].tolist() == [[16_777_217, 2], [3, 0]]
    with pytest.raises(DataError, match=r"'values' has fractions \(float32\), in training whole numbers"):
        encoding.encode(reader.read([[0.5]], find), np.arange(1), ["values"])
    learned = reader.read([[0.5, 1.5]], find).learn(np.arange(1), ["values"], [])
    whole = learned.encode(reader.read([[1, 2]], find), np.arange(1), ["values"])
    assert gathered(whole, [0])["values"].tolist() == [[1, 2]]
    with pytest.raises(DataError, match="whole numbers beyond 16,777,216"):
        learned.encode(examples, np.arange(1), ["values"])


def test_sequences_of_no_length(find: Find, gathered) -> None:
    examples = Sequences().read({"values": np.zeros((0, 2)), "lengths": [0, 0]}, find)
    source = examples.learn(np.arange(2), ["values"], []).encode(examples, np.arange(2), ["values", "length"])
    batch = gathered(source, [0, 1])
    assert batch["values"].tolist() == [[[0, 0]]] * 2
    assert batch["length"].tolist() == [0, 0]


def test_what_the_reader_takes() -> None:
    flat = {"values": np.zeros(3), "lengths": [1, 2], "label": [0, 1]}
    for given in (
        PIECES,
        [np.zeros(3), np.ones(2)],
        [[1, 2], [3]],
        flat,
        {"values": PIECES, "label": LABELS},
    ):
        assert Sequences.takes(given)
    padded = {"values": np.zeros((2, 3)), "label": np.zeros(2)}  # streams as the network reads them
    for given in (
        padded,
        {"x": PIECES},
        [],
        ["a"],
        [np.zeros((2, 2, 2))],
        np.zeros((2, 3)),
        5,
        None,
        "x.npz",
    ):
        assert not Sequences.takes(given)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("values", {"shape": "ab", "dtype": "float32"}),
        ("values", {"shape": [9, 3], "dtype": "float32"}),  # not the padded length
        ("values", {"shape": [], "dtype": "float32"}),
        ("values", {"shape": [19, -1], "dtype": "float32"}),
        ("values", {"shape": [19, 3], "dtype": "U1"}),
        ("values", {"shape": [19, 3], "dtype": ["float32"]}),
        ("length", {"shape": [None], "dtype": "int64"}),
        ("length", {"shape": [1.0], "dtype": "int64"}),
        ("label", None),
        (3, {"shape": [], "dtype": "int64"}),
    ],
)
def test_a_damaged_state(name: Any, told: Any) -> None:
    streams = {"values": {"shape": [19, 3], "dtype": "float32"}, "length": {"shape": [], "dtype": "int64"}}
    assert Sequences().restore({"streams": streams, "lengths": [19]}).streams["values"].shape == (19, 3)
    with pytest.raises(DataError, match=r"the saved stream .* is damaged"):
        Sequences().restore({"streams": {**streams, name: told}, "lengths": [19]})


def test_files_and_other_shapes(find: Find, tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"PK and then nothing")
    with pytest.raises(DataError, match=r"bad.npz: damaged, or no .npz"):
        Sequences(file="bad.npz").open(find)
    with pytest.raises(DataError, match="names no file"):
        Sequences().open(find)
    examples = Sequences().read({"values": PIECES, "label": LABELS}, find)
    encoding = examples.learn(np.arange(60), ["values"], ["label"])
    with pytest.raises(DataError, match="these sequences have no 'label'"):
        encoding.encode(Sequences().read(PIECES, find), np.arange(60), ["values", "label"])
    with pytest.raises(DataError, match=r"'values' has rows of the shape \(2,\), in training \(3,\)"):
        encoding.encode(Sequences().read([np.ones((4, 2))], find), np.arange(1), ["values"])
    with pytest.raises(DataError, match="no column 'x'; they have label, length"):
        examples.column("x")
    with pytest.raises(DataError, match="'y' is no stream of the sequences"):
        examples.learn(np.arange(60), ["y"], [])
    for damaged in ({}, {"streams": 3}, {"streams": {"values": {}}}, {"streams": {}, "lengths": "a"}):
        with pytest.raises(DataError, match="saved"):
            Sequences().restore(damaged)
