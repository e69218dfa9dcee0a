"""Walks: few axes, and C that finds the elements that NumPy's strides find."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cortex_compute.protocol import Layout, Operand
from cortex_compute.types import TensorType, contiguous_strides
from cortex_gpu.index import NARROW, Walk, broadcast_strides, spread

SIZES = st.lists(st.sampled_from([1, 1, 2, 3, 4, 7]), max_size=4).map(tuple)


def evaluate(lines: list[str], expression: str, index: int) -> int:
    """The value of a C expression after some lines of C, for one value of the variable ``i``."""
    names: dict[str, int] = {"i": index}
    for line in lines:
        found = re.fullmatch(r"const \w+ (\w+) = (.*);", line)
        assert found, line
        names[found[1]] = eval(_python(found[2]), {}, names)
    return int(eval(_python(expression), {}, names))


def _python(c: str) -> str:
    without_casts = re.sub(r"\((int|i64|u32|u64)\)", "", c)
    return re.sub(r"\b(\d+)(u|ull|ll)\b", r"\1", without_casts).replace("/", "//")


@st.composite
def walked(draw: st.DrawFn) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """A shape, and strides of arrays over it: permuted, spaced, backwards, repeated."""
    shape = draw(SIZES)
    arrays = []
    for _ in range(draw(st.integers(1, 3))):
        order = draw(st.permutations(range(len(shape))))
        dense = contiguous_strides(tuple(shape[i] for i in order))
        turned = dict(zip(order, dense))
        factors = [draw(st.sampled_from([1, 1, 1, 0, -1, 2])) for _ in shape]
        arrays.append(tuple(turned[i] * f for i, f in enumerate(factors)))
    return shape, arrays


@settings(deadline=None)
@given(walked())
def test_offsets_are_those_of_the_strides(case: tuple[tuple[int, ...], list[tuple[int, ...]]]) -> None:
    shape, arrays = case
    walk = Walk.over(shape, arrays)
    lines, expressions = walk.offsets("i")
    assert walk.size == np.prod(shape, dtype=int)
    for index in range(walk.size):
        place = np.unravel_index(index, shape) if shape else ()
        for strides, expression in zip(arrays, expressions):
            assert evaluate(lines, expression, index) == sum(int(c) * s for c, s in zip(place, strides))


def test_neighbours_that_all_walk_as_one_are_one() -> None:
    walk = Walk.over((8, 28, 1, 28, 16), [(12544, 448, 7, 16, 1), (0, 0, 0, 0, 1)])
    assert walk == Walk((8 * 28 * 28, 16), ((16, 1), (0, 1)))


def test_the_offset_in_a_dense_array_is_the_number_itself() -> None:
    assert Walk.over((5, 7), [(7, 1), (0, 0)]).offsets("i") == ([], ["i", "0"])
    assert Walk.over((1, 5), [(99, 1)]).offsets("i + 1") == ([], ["(i + 1)"])
    assert Walk.over((), [(), ()]).offsets("i") == ([], ["0", "0"])
    lines, (_, dense) = Walk.over((5, 7), [(0, 1), (7, 1)]).offsets("i")
    assert len(lines) == 3  # one division and one coordinate: nobody asks for the other
    assert dense == "i"


def test_the_text_of_flat_arrays_does_not_depend_on_their_size() -> None:
    texts = {str(Walk.over((n, 3), [(3, 1), (0, 0)]).offsets("i")) for n in (1, 5, 1 << 40)}
    assert texts == {str(([], ["i", "0"]))}


def test_an_empty_shape_divides_by_nothing() -> None:
    walk = Walk.over((4, 0, 3), [(0, 3, 1), (3, 3, 1)])
    assert (walk.size, walk.offsets("i")) == (0, ([], ["i", "i"]))


def test_large_arrays_are_walked_in_64_bits() -> None:
    shape = (3, NARROW // 2)
    narrow, wide = Walk.over((3, 5), [(1, 3)]), Walk.over(shape, [(1, 3)])
    assert narrow.narrow
    assert not wide.narrow
    assert not Walk.over((3, 5), [(NARROW // 2, 1)]).narrow
    assert not Walk.over((3, 5), [(-(NARROW // 2), 1)]).narrow
    lines, (expression,) = wide.offsets("i")
    last = 3 * (NARROW // 2) - 1
    assert evaluate(lines, expression, last) == 2 + 3 * (NARROW // 2 - 1)
    assert "u32" not in "".join(lines)


def test_operands_are_spread_as_numpy_broadcasts_them() -> None:
    x = np.zeros((4, 1, 5), np.float32)[:, :, ::2]
    strides = tuple(s // 4 for s in x.strides)
    wanted = tuple(s // 4 for s in np.broadcast_to(x, (2, 4, 6, 3)).strides)
    assert broadcast_strides(x.shape, strides, (2, 4, 6, 3)) == wanted
    assert spread(Operand(TensorType(x.shape), Layout(strides)), (2, 4, 6, 3)) == wanted
    assert spread(Operand(TensorType((4, 1, 5))), (4, 6, 5)) == (5, 0, 1)
