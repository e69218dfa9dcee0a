"""The examples in docstrings: how they are read, what is said of wrong ones, and which numbers they get."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.backends import get
from cortex_compute.errors import SpecError
from cortex_compute.types import TensorType, bool_, float32, int64
from cortex_core.ops.pointwise import tanh
from cortex_core.registry import LAYERS, LOSSES
from cortex_core.verify import minimal
from cortex_core.verify.gradients import run

pytestmark = pytest.mark.usefixtures("own_registry")

GOOD = """tanh(x).

    Example:
        inputs: {x: [4]}
        layers: [dense: 3, mine_for_a_test]
    """


def mine(doc: str, **more: Any) -> type[Any]:
    body = {"__doc__": doc, "forward": lambda self, p, x: tanh(x), **more}
    return cortex.layer("mine_for_a_test")(type("Mine", (), body))


def test_the_docstring_falls_into_two_parts() -> None:
    text, example = minimal.parts(mine(GOOD))
    assert text == "tanh(x)."
    assert example == "inputs: {x: [4]}\nlayers: [dense: 3, mine_for_a_test]\n"


def test_an_example_without_a_loss_gets_one() -> None:
    made = minimal.description(mine(GOOD))
    (node,) = made.losses
    assert (node.loss.kind, node.of) == ("mse", "mine_for_a_test")
    (other,) = minimal.description(LOSSES["mae"]).losses
    assert other.loss.kind == "mae"


@pytest.mark.parametrize(
    ("doc", "told"),
    [
        ("tanh(x).", "its docstring does not end with an Example:"),
        (GOOD + "\n    More.", "its docstring does not end with an Example:"),
        (GOOD.replace("[4]", "[4"), r"its example cannot be read: Mine's example:1:15: no ',' or ']'"),
        (GOOD.replace("inputs: {x: [4]}", "- x"), "its example cannot be read"),
        (GOOD.replace("dense", "dens"), r"its example is wrong: layers\[0\].dens: unknown layer 'dens'"),
        (GOOD.replace("mine_for_a_test", "tanh"), "its example is one of something else"),
    ],
)
def test_what_is_wrong_names_the_class(doc: str, told: str) -> None:
    cls = mine(doc)
    with pytest.raises(SpecError, match=rf"test_minimal\.Mine: {told}"):
        minimal.description(cls)


def test_an_example_is_no_code() -> None:
    """What another parser of YAML would run is refused by the parser of descriptions."""
    doc = GOOD.replace("dense: 3", "!!python/object/apply:os.abort []")
    with pytest.raises(SpecError, match="a description is plain data"):
        minimal.description(mine(doc))


def test_an_example_of_somebody_else_is_differentiated() -> None:
    mine(GOOD)
    results = run(get("numpy"), "mine_for_a_test")
    assert {r.name.split("/")[2] for r in results} == {"example"}
    assert all(r.passed for r in results)


def test_a_wrong_gradient_of_an_example_is_seen() -> None:
    mine(GOOD, forward=lambda self, p, x: tanh(x) + 0.001 * tanh(x).detach())
    names = {r.name for r in run(get("numpy"), "mine_for_a_test") if not r.passed}
    assert {f"layer/mine_for_a_test/example/{check}" for check in ("eager", "symbolic")} <= names


def test_inputs_keep_their_distance() -> None:
    rng = np.random.default_rng(0)
    for shape in ((3, 4), (3, 8, 8, 3)):
        x = np.sort(minimal.drawn(TensorType(shape, float32), rng).ravel())
        assert np.diff(x).min() > 0.006  # central differences go 0.0006 to each side
        assert np.abs(x - np.round(x)).min() > 0.003
        assert np.abs(x).max() < 2.1


def test_whole_numbers_and_truths_go_by_turns() -> None:
    rng = np.random.default_rng(0)
    whole = minimal.drawn(TensorType((3, 2), int64), rng)
    assert whole.dtype == np.int64
    np.testing.assert_array_equal(whole, [[1, 0], [0, 1], [1, 0]])
    assert minimal.drawn(TensorType((3,), bool_), rng).tolist() == [True, False, True]


def test_targets_are_those_that_a_loss_accepts() -> None:
    rng = np.random.default_rng(0)
    x = TensorType((3, 5), float32)
    assert minimal.target(LOSSES["softmax_cross_entropy"](), x, rng).tolist() == [1, 0, 1]
    assert minimal.target(LOSSES["mse"](), x, rng).shape == (3, 5)

    class Choosy:
        def target_type(self, x: TensorType) -> TensorType:
            return TensorType(x.shape[:1], int64)

        def wrong(self, x: TensorType, target: np.ndarray) -> tuple[int, str] | None:
            return None if target.all() else (0, "is 0")

    assert minimal.target(Choosy(), x, rng).tolist() == [2, 1, 2]


def test_every_own_layer_has_an_example() -> None:
    own = [cls for r in (LAYERS, LOSSES) for cls in r.values() if cls.__module__.startswith("cortex_core.")]
    assert len(own) > 60
    for cls in own:
        minimal.parts(cls)
