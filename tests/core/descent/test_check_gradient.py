"""The rating of gradients: known errors get the words that they deserve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, GradientError, ShapeError
from cortex_core.descent import FUNCTIONS, Rating, check_gradient
from cortex_core.ops.pointwise import exp, sin


def bowl(x: np.ndarray) -> Any:
    return (x * x).sum()


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (0, "excellent"),
        (1e-11, "excellent"),
        (3e-9, "good"),
        (3e-6, "fair"),
        (3e-3, "poor"),
        (3e-2, "wrong"),
        (-2, "wrong"),
        (np.nan, "wrong"),
        (np.inf, "wrong"),
    ],
)
def test_the_word(error: float, word: str) -> None:
    rating = check_gradient(bowl, [3.0, 4.0], lambda x: 2 * x * np.array([1, 1 + error]))
    assert rating.word == word
    if word not in ("excellent", "wrong"):
        assert rating.error == pytest.approx(error, rel=0.1)
        assert rating.place == (1,)
        assert rating.difference == pytest.approx(8, abs=rating.uncertainty + 1e-14)


def test_automatic_differentiation_is_excellent() -> None:
    rating = check_gradient(lambda x: (exp(sin(3 * x)) * x).sum(), np.linspace(-2, 2, 6).reshape(2, 3))
    assert rating.word == "excellent"
    assert len(rating.place) == 2


def test_simple_differences_are_good() -> None:
    rating = check_gradient(lambda x: np.exp(20 * x).sum(), [0.3], "differences")
    assert rating.word == "good"


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_scale_of_the_function_does_not_matter(scale: float) -> None:
    assert check_gradient(lambda x: scale * bowl(x), [3.0], lambda x: scale * 2 * x).word == "excellent"
    assert check_gradient(lambda x: scale * bowl(x), [3.0], lambda x: scale * x).word == "wrong"


def test_at_a_minimum() -> None:
    assert check_gradient(bowl, [0.0, 0.0], lambda x: 2 * x).word == "excellent"
    assert check_gradient(bowl, [0.0, 0.0], lambda x: 2 * x + 1e-3).word == "wrong"


def test_a_constant_has_the_gradient_0() -> None:
    assert check_gradient(lambda x: 3.0, [1.0], np.zeros_like).word == "excellent"


def test_where_differences_cannot_tell() -> None:
    drowned = check_gradient(lambda x: 1e12 + bowl(x), [2.0], lambda x: 2 * x)
    assert drowned.word == "unclear"
    with np.errstate(invalid="ignore"):
        assert check_gradient(lambda x: np.sqrt(x[0]), [0.0], np.ones_like).word == "unclear"


@pytest.mark.parametrize(
    ("f", "low", "high"),
    [
        (lambda x: np.maximum(x[0], 0.0), 0, 1),
        (lambda x: abs(x[0]), -1, 1),
        (FUNCTIONS["ackley"], -4, 4),  # those of -20 exp(-0.2 |x|)
    ],
)
def test_a_kink_has_no_derivative_but_slopes_on_both_sides(f: Any, low: float, high: float) -> None:
    def rated(slope: float) -> Rating:
        return check_gradient(f, [0.0], lambda x: np.array([slope]))

    for between in (low, (low + high) / 2, high):
        assert rated(between).word == "unclear"
    for beyond in (low - 0.1, high + 0.1):
        assert rated(beyond).word == "wrong"
        assert rated(beyond).difference == pytest.approx((low + high) / 2)
        assert rated(beyond).uncertainty == pytest.approx((high - low) / 2)


def test_close_to_a_kink() -> None:
    def f(x: np.ndarray) -> Any:
        return abs(x).sum()

    assert check_gradient(f, [1e-3, 1.0], np.sign).word == "excellent"
    assert check_gradient(f, [1e-7, 1.0], np.sign).word == "unclear"  # no step is as short


def test_what_is_wrong_is_told_before_what_is_unclear() -> None:
    def f(x: np.ndarray) -> Any:
        return abs(x[0]) + x[1] ** 2

    rating = check_gradient(f, [0.0, 3.0], lambda x: np.array([0.0, 6.03]))
    assert (rating.word, rating.place) == ("poor", (1,))
    assert check_gradient(f, [0.0, 3.0], lambda x: np.array([0.0, 6.0003])).word == "unclear"


@pytest.mark.parametrize("x", [1.0, 1e-9, 1e-15])
def test_at_the_edge_of_where_it_is_defined(x: float) -> None:
    with np.errstate(invalid="ignore", divide="ignore"):
        assert check_gradient(lambda x: np.log(x).sum(), [x, 3.0], lambda x: 1 / x).word == "excellent"
        rating = check_gradient(lambda x: np.log(x).sum(), [x, 3.0], lambda x: 1.5 / x)
    assert rating.word == "wrong"


def test_it_says_the_worst_place() -> None:
    said = str(check_gradient(bowl, [3.0, 4.0], lambda x: 2.2 * x))
    assert said.startswith("wrong: relative error 9.1e-02, worst at x[")
    assert "the gradient is" in said
    assert "differences say" in said


def test_bad_input() -> None:
    with pytest.raises(ArgumentError, match="expected finite numbers"):
        check_gradient(bowl, [np.nan])
    with pytest.raises(GradientError, match="gradient='differences'"):
        check_gradient(lambda x: np.cos(np.asarray(x)).sum(), [1.0])
    with pytest.raises(ShapeError, match=r"gradient gave shape \(3,\), expected that of x, \(2,\)"):
        check_gradient(bowl, [1.0, 2.0], lambda x: np.ones(3))
