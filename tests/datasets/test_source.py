"""The source that serves arrays from memory, against plain indexing in float64."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_compute.errors import DataError
from cortex_datasets import source as source_module
from cortex_datasets.source import ArraySource, Stream

RNG = np.random.default_rng(7)
IMAGES = RNG.integers(0, 256, (50, 6, 5, 1), dtype=np.uint8)
FEATURES = RNG.normal(size=(50, 3)).astype(np.float32)
LABELS = RNG.integers(0, 4, 50)
CLASSES = {"label": ("a", "b", "c", "d")}


def make() -> ArraySource:
    return ArraySource({"image": IMAGES, "features": FEATURES, "label": LABELS}, CLASSES)


def batch(source: ArraySource, size: int) -> dict[str, np.ndarray]:
    return {name: np.full((size, *stream.shape), 77, stream.dtype) for name, stream in source.streams.items()}


def test_streams_say_what_gather_gives() -> None:
    assert make().streams == {
        "image": Stream((6, 5, 1), "float32"),
        "features": Stream((3,), "float32"),
        "label": Stream((), "int64", ("a", "b", "c", "d")),
    }
    assert len(make()) == 50


@given(st.lists(st.integers(0, 49), max_size=80), st.integers(0, 5))
def test_gather_equals_indexing(rows: list[int], surplus: int) -> None:
    indices = np.array(rows, dtype=np.int64)
    out = batch(make(), len(rows) + surplus)
    make().gather(indices, out, epoch=3)
    n = len(rows)
    np.testing.assert_array_equal(out["image"][:n], (IMAGES[indices].astype(np.float64) / 255).astype("f4"))
    np.testing.assert_array_equal(out["features"][:n], FEATURES[indices])
    np.testing.assert_array_equal(out["label"][:n], LABELS[indices])
    assert all((array[n:] == 77).all() for array in out.values())


def test_pixels_are_converted_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "BLOCK_BYTES", 70)  # two images of 30 bytes
    source, indices = make(), RNG.permutation(50)[:15]
    out = {"image": np.empty((15, 6, 5, 1), np.float32)}
    source.gather(indices, out)
    np.testing.assert_array_equal(out["image"], (IMAGES[indices] / 255.0).astype(np.float32))


def test_the_ends_of_the_range_are_exact() -> None:
    source = ArraySource({"image": np.array([[0], [255]], np.uint8)})
    out = {"image": np.empty((2, 1), np.float32)}
    source.gather(np.array([0, 1]), out)
    assert out["image"].tolist() == [[0.0], [1.0]]


def test_only_the_streams_asked_for_are_written() -> None:
    out = {"label": np.empty(2, np.int64)}
    make().gather(np.array([4, 9]), out)
    assert out["label"].tolist() == LABELS[[4, 9]].tolist()


def test_gather_takes_no_large_memory() -> None:
    source = ArraySource({"image": RNG.integers(0, 256, (300, 28, 28, 1), dtype=np.uint8)})
    part, indices = source.select(np.arange(250)), np.arange(256) % 250
    out = {"image": np.empty((256, 28, 28, 1), np.float32)}
    for view in (source, part):
        view.gather(indices, out)
        tracemalloc.start()
        view.gather(indices, out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4096, peak  # the batch is 800 KB


@given(st.permutations(range(50)), st.data())
def test_a_part_of_a_part(order: list[int], data: st.DataObject) -> None:
    first = np.array(order[:30])
    second = np.array(data.draw(st.lists(st.integers(0, 29), min_size=1, max_size=30)))
    part = make().select(first).select(second)
    assert len(part) == len(second)
    assert part.streams == make().streams
    out = batch(part, len(second))
    part.gather(np.arange(len(second)), out)
    np.testing.assert_array_equal(out["label"], LABELS[first[second]])
    np.testing.assert_array_equal(out["features"], FEATURES[first[second]])


def test_a_part_keeps_its_rows_when_the_indices_change() -> None:
    indices = np.array([3, 1])
    part = make().select(indices)
    indices[:] = 0
    out = {"label": np.empty(2, np.int64)}
    part.gather(np.arange(2), out)
    assert out["label"].tolist() == LABELS[[3, 1]].tolist()


@pytest.mark.parametrize("rows", [[0, 50], [-1, 3]])
def test_a_row_that_does_not_exist(rows: list[int]) -> None:
    with pytest.raises(IndexError, match=r"0 \.\. 49"):
        make().gather(np.array(rows), batch(make(), 2))
    with pytest.raises(IndexError, match=r"0 \.\. 49"):
        make().select(np.array(rows))
    with pytest.raises(IndexError, match=r"0 \.\. 1"):
        make().select(np.array([5, 6])).gather(np.array([2]), {})


def test_an_unknown_stream() -> None:
    with pytest.raises(DataError, match="no stream 'picture' in this data; it has features, image, label"):
        make().gather(np.array([0]), {"picture": np.empty((1, 6, 5, 1), np.float32)})


def test_unequal_lengths() -> None:
    with pytest.raises(DataError, match="'features' has 50, 'label' has 49"):
        ArraySource({"features": FEATURES, "label": LABELS[:49]})


@pytest.mark.parametrize(("bad", "row"), [(4, 12), (-1, 3)])
def test_a_label_out_of_range(bad: int, row: int) -> None:
    labels = LABELS.copy()
    labels[row] = bad
    with pytest.raises(DataError, match=rf"label {bad} in example {row} is out of range, expected 0 \.\. 3"):
        ArraySource({"label": labels}, CLASSES)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite(bad: float) -> None:
    features = FEATURES.copy()
    features[20, 2] = bad
    with pytest.raises(
        DataError, match=f"'features': example 20 holds {bad}, which is not finite in float32"
    ):
        ArraySource({"features": features})


@pytest.mark.parametrize("array", [FEATURES.astype(np.float64), LABELS.astype(str), np.float32(3)])
def test_a_type_that_is_not_served(array: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected an array"):
        ArraySource({"x": np.asarray(array)})


def test_no_examples() -> None:
    empty = ArraySource({"image": IMAGES[:0], "label": LABELS[:0]}, CLASSES)
    empty.gather(np.arange(0), batch(empty, 2))
    assert len(empty) == 0
    assert len(make().select(np.arange(0))) == 0


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<f2", "<i4", "u1", "?", ">u2"])
def test_other_numbers_are_converted_where_that_is_asked_for(dtype: str) -> None:
    numbers = RNG.integers(0, 2, (40, 3)).astype(dtype)
    kinds = {"x": "float32"} if np.dtype(dtype).kind == "f" else {"x": "float32", "y": "int64"}
    source, rows = ArraySource(dict.fromkeys(kinds, numbers), served=kinds), RNG.permutation(40)[:20]
    out = batch(source, 20)
    source.gather(rows, out)
    for name, kind in kinds.items():
        assert source.streams[name] == Stream((3,), kind)
        np.testing.assert_array_equal(out[name], numbers[rows].astype(kind), strict=True)


def test_numbers_that_lie_across_their_boundary_are_not_copied_as_a_whole() -> None:
    memory = np.zeros(8 * 100_000 * 3 + 1, np.uint8)
    numbers = memory[1:].view(np.float32).reshape(-1, 6)
    numbers[...] = np.arange(numbers.size, dtype=np.float32).reshape(numbers.shape)
    assert not numbers.flags.aligned
    tracemalloc.start()
    source = ArraySource({"x": numbers})
    out = {"x": np.empty((3, 6), np.float32)}
    source.gather(np.array([5, 99_999, 0]), out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(out["x"], numbers[[5, 99_999, 0]])
    assert peak < 200_000, peak  # the array has 2.4 MB


def test_an_output_with_gaps() -> None:
    out = {"features": np.zeros((4, 6), np.float32)[:, ::2], "label": np.zeros(8, np.int64)[::2]}
    make().gather(np.array([7, 3, 3, 49]), out)
    np.testing.assert_array_equal(out["features"], FEATURES[[7, 3, 3, 49]])
    np.testing.assert_array_equal(out["label"], LABELS[[7, 3, 3, 49]])


def test_what_is_wrong_is_found_in_any_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "CHECK_BYTES", 40)  # three examples of 12 bytes
    features, labels = FEATURES.astype(np.float64), LABELS.copy()
    features[31, 1], labels[47] = 1e39, 4
    with pytest.raises(DataError, match=r"'x': example 31 holds 1e\+39, which is not finite in float32"):
        ArraySource({"x": features}, served={"x": "float32"})
    with pytest.raises(DataError, match="label 4 in example 47 is out of range"):
        ArraySource({"label": labels}, CLASSES)
    with pytest.raises(DataError, match="example 1 holds 18446744073709551615, which is too large for int64"):
        ArraySource({"y": np.array([1, 2**64 - 1], np.uint64)}, served={"y": "int64"})


def test_whole_numbers_are_not_made_of_others() -> None:
    with pytest.raises(DataError, match=r"'y': found float32 of shape .* expected .* of what int64 can hold"):
        ArraySource({"y": FEATURES}, served={"y": "int64"})
