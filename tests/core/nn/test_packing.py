"""Sequences of different lengths: padded, packed and back, as PyTorch does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex.nn.utils import rnn
from cortex_compute.errors import ArgumentError, DTypeError, ShapeError
from cortex_core.tensor import Tensor
from cortex_core.tracing import trace


def of(*numbers: float) -> Tensor:
    return Tensor(np.array(numbers, np.float64))


def test_a_worked_example() -> None:
    """The letters of three words, step by step."""
    packed = rnn.pack_sequence([of(1, 2), of(3, 4, 5), of(6)], enforce_sorted=False)
    assert packed.data.tolist() == [3, 1, 6, 4, 2, 5]
    assert packed.batch_sizes.tolist() == [3, 2, 1]
    assert packed.sorted_indices.tolist() == [1, 0, 2]
    assert packed.unsorted_indices.tolist() == [1, 0, 2]
    padded, lengths = rnn.pad_packed_sequence(packed, batch_first=True, padding_value=-1, total_length=4)
    assert padded.tolist() == [[1, 2, -1, -1], [3, 4, 5, -1], [6, -1, -1, -1]]
    assert lengths.tolist() == [2, 3, 1]
    assert [x.tolist() for x in rnn.unpack_sequence(packed)] == [[1, 2], [3, 4, 5], [6]]
    assert str(packed.to("float32").data.dtype) == "float32"


def test_padding() -> None:
    words = [of(1, 2), of(3, 4, 5)]
    assert rnn.pad_sequence(words).tolist() == [[1, 3], [2, 4], [0, 5]]
    assert rnn.pad_sequence(words, True, 9, "left").tolist() == [[9, 1, 2], [3, 4, 5]]
    found = rnn.unpad_sequence(rnn.pad_sequence(words), Tensor(np.array([2, 3])))
    assert [x.tolist() for x in found] == [[1, 2], [3, 4, 5]]


def test_whole_numbers_and_truth_values_stay_what_they_are() -> None:
    """16777217 is no float32; the rest is what PyTorch gives."""
    packed = rnn.pack_padded_sequence(Tensor(np.array([[16777217, 3], [2, 4]])), [2, 1])
    found, _ = rnn.pad_packed_sequence(packed, padding_value=-1)
    assert found.tolist() == [[16777217, 3], [2, -1]]
    assert str(found.dtype) == "int64"
    words = [Tensor(np.array([1, 2, 3])), Tensor(np.array([4]))]
    assert rnn.pad_sequence(words, batch_first=True).tolist() == [[1, 2, 3], [4, 0, 0]]
    packed = rnn.pack_sequence(words)
    assert packed.data.tolist() == [1, 4, 2, 3]
    assert [(x.tolist(), str(x.dtype)) for x in rnn.unpack_sequence(packed)] == [
        ([1, 2, 3], "int64"),
        ([4], "int64"),
    ]
    truths = rnn.pad_sequence([Tensor(np.array([True, True])), Tensor(np.array([True]))], True)
    assert (truths.tolist(), str(truths.dtype)) == ([[True, True], [True, False]], "bool")
    for value in (0.5, float("nan"), float("inf")):
        with pytest.raises(ArgumentError, match=f"padding_value={value} is no int64"):
            rnn.pad_sequence(words, padding_value=value)
        with pytest.raises(ArgumentError, match=f"padding_value={value} is no int64"):
            rnn.pad_packed_sequence(packed, padding_value=value)
    with pytest.raises(ArgumentError, match="padding_value=2 is no bool"):
        rnn.pad_sequence([truths], padding_value=2)


def test_gradients_reach_what_is_no_padding() -> None:
    x = Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    packed = rnn.pack_padded_sequence(x, [3, 1])
    y, _ = rnn.pad_packed_sequence(packed)
    (y * y).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0, 2], [4, 0], [8, 0]]


@pytest.mark.peers
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
def test_packing_is_pytorchs(batch_first: bool, ordered: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    lengths = np.array([6, 4, 4, 1] if ordered else [4, 1, 6, 4])
    x = rng.standard_normal((4, 6, 2, 3) if batch_first else (6, 4, 2, 3))
    ours = rnn.pack_padded_sequence(Tensor(x), lengths, batch_first, ordered)
    theirs = torch.nn.utils.rnn.pack_padded_sequence(
        torch.tensor(x), torch.tensor(lengths), batch_first, ordered
    )
    for a, b in zip(ours[:2], theirs[:2], strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert (ours.sorted_indices is None) == (theirs.sorted_indices is None)
    if not ordered:
        np.testing.assert_array_equal(ours.sorted_indices.numpy(), theirs.sorted_indices.numpy())
    back = rnn.pad_packed_sequence(ours, batch_first, 5.0, 7)
    expected = torch.nn.utils.rnn.pad_packed_sequence(theirs, batch_first, 5.0, 7)
    for a, b in zip(back, expected, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_what_does_not_fit_is_refused() -> None:
    x = Tensor(np.zeros((3, 2, 4)))
    for lengths, told in (
        ([1, 3], "the lengths must fall"),
        ([3, 0], "lengths must be 1 to 3; sequence 1 has 0"),
        ([4, 1], "lengths must be 1 to 3; sequence 0 has 4"),
        ([3], "needs one whole number for each of 2 sequences"),
        ([2.0, 1.0], "type float64; needs one whole number"),
    ):
        with pytest.raises(ArgumentError, match=told):
            rnn.pack_padded_sequence(x, lengths)
    with pytest.raises(ShapeError, match="needs time and batch"):
        rnn.pack_padded_sequence(of(1), [1])
    with pytest.raises(ArgumentError, match="total_length=1; the longest sequence has 2"):
        rnn.pad_packed_sequence(rnn.pack_sequence([of(1, 2)]), total_length=1)
    with pytest.raises(ShapeError, match="no sequence; needs sequences"):
        rnn.pad_sequence([])
    with pytest.raises(ShapeError, match="equal but for the length"):
        rnn.pack_sequence([x, x[:, :1]])
    with pytest.raises(ArgumentError, match="padding_side='top'"):
        rnn.pad_sequence([x], padding_side="top")
    with pytest.raises(ShapeError, match=r"unpad_sequence: the input has shape \(1,\)"):
        rnn.unpad_sequence(of(1), [1])
    not_packed: Any = x
    with pytest.raises(ArgumentError, match="got a Tensor; needs a PackedSequence"):
        rnn.pad_packed_sequence(not_packed)


@pytest.mark.parametrize("sizes", [[3, 4], [2, 3], [3, 1], [5, 0], [3.0, 2.0], [[3, 2]], []])
def test_batch_sizes_that_cannot_be_are_refused(sizes: Any) -> None:
    with pytest.raises(ArgumentError, match=r"5 rows with batch_sizes .*: these must be whole numbers"):
        rnn.pad_packed_sequence(rnn.PackedSequence(Tensor(np.zeros((5, 2))), Tensor(np.array(sizes))))


def test_lengths_are_numbers() -> None:
    def packed(x: Any, lengths: Any) -> Any:
        return rnn.pack_padded_sequence(x, lengths).data

    x, lengths = Tensor(np.arange(6.0).reshape(3, 2)), np.array([3, 1])
    assert trace(lambda x: packed(x, lengths), x)(x).tolist() == [0, 1, 2, 4]
    with pytest.raises(DTypeError, match="the lengths are a symbolic value"):
        trace(packed, x, lengths)
    with pytest.raises(DTypeError, match="pack it inside by lengths that are part of the program"):
        trace(lambda p: rnn.pad_packed_sequence(p)[0], rnn.pack_padded_sequence(x, lengths))
