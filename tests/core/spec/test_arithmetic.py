"""What blocks compute of their parameters."""

from __future__ import annotations

from typing import Any

import pytest

from cortex_core.spec import inspect, read

PARAMETERS = {"a": 6, "b": 4, "f": 0.5, "word": "relu", "with-minus": 7}


def unfolded(layer: Any, **given: Any) -> Any:
    """The one layer of a block with `PARAMETERS`."""
    block = {"parameters": PARAMETERS, "layers": [layer]}
    data = {"inputs": {"x": [8]}, "blocks": {"piece": block}, "layers": [{"piece": given}]}
    (node,) = read(data).layers
    return node.layer


def problems(layer: Any, **given: Any) -> list[str]:
    block = {"parameters": PARAMETERS, "layers": [layer]}
    data = {"inputs": {"x": [8]}, "blocks": {"piece": block}, "layers": [{"piece": given}]}
    return list(map(str, inspect(data)[1]))


@pytest.mark.parametrize(
    ("formula", "units"),
    [
        ("$a + $b", 10),
        ("$a - $b", 2),
        ("$a * $b", 24),
        ("$a / 3", 2),
        ("$a  *  2", 12),
        ("$b - -1", 5),
        ("$with-minus - 1", 6),
        ("$with-minus", 7),
    ],
)
def test_whole_numbers_stay_whole(formula: str, units: int) -> None:
    made = unfolded({"dense": {"units": formula}}).units
    assert (made, type(made)) == (units, int)


@pytest.mark.parametrize(
    ("formula", "rate"), [("$f / 2", 0.25), ("$f * $f", 0.25), ("$f - 0.25", 0.25), ("$a * 0.05", 0.3)]
)
def test_fractions_are_numbers_too(formula: str, rate: float) -> None:
    assert unfolded({"dropout": formula}).rate == pytest.approx(rate, rel=1e-15)


def test_arguments_are_what_is_computed_with() -> None:
    assert unfolded({"dense": "$a / $b"}, a=30, b=5).units == 6
    assert unfolded({"reshape": [1, "$a - 2", "$b / 2"]}, a=6).shape == (1, 4, 2)


def test_blocks_compute_through_each_other() -> None:
    inner = {"parameters": {"n": None}, "layers": [{"dense": "$n * 2"}]}
    outer = {"parameters": {"m": 3}, "layers": [{"inner": {"n": "$m + 1", "repeat": "$m - 1"}}]}
    data = {"inputs": {"x": [8]}, "blocks": {"inner": inner, "outer": outer}, "layers": ["outer"]}
    assert [node.layer.units for node in read(data).layers] == [8, 8]


SIGN = "expected one sign between a parameter and a parameter or number, such as $filters * 4"


@pytest.mark.parametrize(
    ("formula", "told"),
    [
        ("$a / $b", "'$a / $b' is 6 / 4, which leaves a rest of 2: expected none"),
        ("$a / 0", "'$a / 0' is 6 / 0: expected another divisor than 0"),
        ("$f / 0", "'$f / 0' is 0.5 / 0: expected another divisor than 0"),
        ("$word * 2", "'relu' is text in '$word * 2': expected a number"),
        ("$a * $word", "'relu' is text in '$a * $word': expected a number"),
        ("$a * word", f"'word' is text, no number: {SIGN}"),
        ("$a + 1 + 1", f"'$a + 1 + 1' is neither a parameter nor a formula: {SIGN}"),
        ("$a ^ 2", f"'$a ^ 2' is neither a parameter nor a formula: {SIGN}"),
        ("$aa * 2", "the block has no parameter 'aa'. Did you mean 'a'?"),
        ("$a * $bb", "the block has no parameter 'bb'. Did you mean 'b'?"),
        ("$a * 4000000000000000000", "which is too large: expected a number of at most 64 bits"),
        ("$f * inf", "which is too large: expected a number of at most 64 bits"),
        ("$f * nan", "which is too large: expected a number of at most 64 bits"),
        ("$b - $a", "-2 is too small: expected a whole number, at least 1"),
    ],
)
def test_what_gives_no_number_is_told_where_it_stands(formula: str, told: str) -> None:
    (problem,) = problems({"dense": {"units": formula}})
    assert problem.startswith("blocks.piece.layers[0].dense.units: ")
    assert problem.endswith(told)


def test_formulas_stand_in_blocks_alone() -> None:
    data = {"inputs": {"x": [8]}, "layers": [{"dense": "$a * 2"}]}
    assert "layers[0].dense: '$a' stands outside a block: expected a value" in map(str, inspect(data)[1])


def test_a_truth_is_no_number() -> None:
    block = {"parameters": {"causal": True}, "layers": [{"dense": "$causal * 2"}]}
    data = {"inputs": {"x": [8]}, "blocks": {"piece": block}, "layers": ["piece"]}
    (problem,) = inspect(data)[1]
    assert problem.found == "true is a truth value in '$causal * 2'"
