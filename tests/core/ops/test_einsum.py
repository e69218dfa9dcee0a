"""einsum against NumPy's, on equations that hypothesis makes up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortex_compute.errors import ShapeError
from cortex_core.ops.einsum import einsum
from cortex_core.tensor import Tensor

SIZES = {"a": 2, "b": 3, "c": 1, "d": 4}


@st.composite
def equations(draw: Any) -> tuple[str, list[tuple[int, ...]]]:
    """An equation and the shapes of its operands."""
    terms, shapes = [], []
    for _ in range(draw(st.integers(1, 3))):
        names = draw(st.lists(st.sampled_from("abcd"), max_size=3))
        dots = draw(st.sampled_from([None, (), (2,), (1,), (3, 2)]))
        shape = [SIZES[name] for name in names]
        if dots is not None:
            place = draw(st.integers(0, len(names)))
            names.insert(place, "...")
            shape[place:place] = dots
        terms.append("".join(names))
        shapes.append(tuple(shape))
    left = ",".join(terms)
    if draw(st.booleans()):
        return left, shapes
    kept = draw(st.permutations(sorted(set(left) - set(".,"))))
    kept = kept[: draw(st.integers(0, len(kept)))]
    if "..." in left:
        kept.insert(draw(st.integers(0, len(kept))), "...")
    return f"{left}->{''.join(kept)}", shapes


@settings(max_examples=300, deadline=None)
@given(equations(), st.booleans())
def test_any_equation_is_numpys(case: tuple[str, list[tuple[int, ...]]], whole: bool) -> None:
    equation, shapes = case
    rng = np.random.default_rng(0)
    arrays = [rng.integers(-3, 4, s) if whole else rng.standard_normal(s) for s in shapes]
    try:
        wanted = np.einsum(equation, *arrays)
    except ValueError:
        with pytest.raises(ShapeError):
            einsum(equation, *map(Tensor, arrays))
        return
    found = einsum(equation, *map(Tensor, arrays))
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-12, atol=1e-12)


def test_operands_may_be_lists_and_empty() -> None:
    np.testing.assert_array_equal(einsum("i,i", [1.0, 2.0], [3.0, 4.0]).numpy(), 11)
    assert einsum("ij,jk->ik", np.zeros((2, 0)), np.zeros((0, 3))).numpy().tolist() == [[0.0] * 3] * 2
    assert einsum("ij,jk->ik", np.zeros((0, 2)), np.zeros((2, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("equation", "words"),
    [
        ("ij", "names 1 operands, 2 are given"),
        ("ij,jk->il", "must name axes of the operands"),
        ("ij,jk->ii", "each once"),
        ("ij,j->i", r"'j' in 'ij,j->i' does not name the axes of shape \(4, 5\)"),
        ("ij,ik", "axis 'i' of 'ij,ik' has size 2, and 4"),
        ("i1,jk", "must be letters"),
    ],
)
def test_rejections(equation: str, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        einsum(equation, np.zeros((2, 3)), np.zeros((4, 5)))


def test_many_operands() -> None:
    """As many as there may be, and in time that does not grow with the square of the equation."""
    x = np.full((2, 2), 0.5)
    chain = [f"{a}{b}" for a, b in zip("abcdefghijklmnop", "bcdefghijklmnopq")]
    right = np.linalg.matrix_power(x, 16)
    np.testing.assert_allclose(einsum(f"{','.join(chain)}->aq", *[x] * 16).numpy(), right)
    with pytest.raises(ShapeError, match="expected as many, 16 at most"):
        einsum(f"{','.join(chain)},qr->ar", *[x] * 17)


def test_messages_tell_the_beginning_of_a_long_equation() -> None:
    with pytest.raises(ShapeError) as told:
        einsum("ab," * 100_000, np.zeros((2, 3)))
    assert len(str(told.value)) < 300


def test_products_without_a_sum_are_elementwise() -> None:
    """Also of whole numbers."""
    for dtype in (np.float64, np.int64):
        x, y = (np.arange(12).reshape(2, 3, 2).astype(dtype) + i for i in range(2))
        found = einsum("bij,bij->bij", x, y)
        np.testing.assert_array_equal(found.numpy(), x * y)


def test_whole_numbers_make_no_more_products_than_fit() -> None:
    x = np.broadcast_to(np.ones((), np.int64), (2**10, 2**10))
    with pytest.raises(ShapeError, match="too many products at once: expected 134,217,728 at most"):
        einsum("ij,jk->ik", x, x)
