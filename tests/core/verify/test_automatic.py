"""Gradient cases that are made for what somebody else has registered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute import expression
from cortex_compute.backends import get
from cortex_compute.types import TensorType, int64
from cortex_core.initializers import ones
from cortex_core.layers.expect import refuse
from cortex_core.ops import pointwise
from cortex_core.ops.pointwise import cast, log, tanh
from cortex_core.registry import LAYERS, Size
from cortex_core.verify import case
from cortex_core.verify.gradients import run

pytestmark = pytest.mark.usefixtures("own_registry")


def failed(only: str) -> dict[str, str]:
    """The detail of each check that fails; there is at least one check."""
    found = run(get("numpy"), only)
    assert found
    return {r.name: r.detail for r in found if not r.passed}


def register(forward: Any, **more: Any) -> None:
    cortex.layer("mine_for_a_test")(type("Mine", (), {"__doc__": "For a test.", "forward": forward, **more}))


def test_a_layer_with_parameters_and_required_fields() -> None:
    @cortex.layer("mine_for_a_test")
    class Mine:
        """tanh(s x) ^ power"""

        power: int = cortex.field(doc="exponent", minimum=1)
        mode: str = cortex.field(doc="one of two", choices=("big", "small"))

        def parameters(self, x: TensorType) -> Iterator[Any]:
            yield cortex.Parameter("scale", (x.shape[-1],), ones)

        def forward(self, p: Any, x: Any) -> Any:
            return tanh(x * p.scale) ** self.power

    assert failed("mine_for_a_test") == {}


def test_a_required_field_of_which_no_value_is_known() -> None:
    more = {"__annotations__": {"power": int}, "power": cortex.field(doc="exponent", minimum=1000)}
    register(lambda self, p, x: x**self.power, **more)
    (detail,) = failed("mine_for_a_test").values()
    assert "no value is known for the field 'power', a whole number, at least 1000" in detail


def test_a_wrong_rule_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    register(lambda self, p, x: tanh(x))
    assert failed("mine_for_a_test") == {}
    pointwise._gradients.cache_clear()
    monkeypatch.setitem(expression.RULES, "tanh", lambda g, y, a: (g * (1.0 - y),))
    names = set(failed("mine_for_a_test"))
    pointwise._gradients.cache_clear()
    assert {f"layer/mine_for_a_test/{mode}/eager" for mode in ("training", "prediction")} <= names


def test_a_layer_for_images_with_a_size() -> None:
    def forward(self: Any, p: Any, x: Any) -> Any:
        if len(x.shape) != 4:
            refuse("this layer needs images", x)
        return x[:, : self.size[0], : self.size[1]] ** 2

    size = cortex.field(doc="part that is kept")
    cls = type("Mine", (), {"__annotations__": {"size": Size}, "size": size, "forward": forward})
    cortex.layer("mine_for_a_test", rank=2)(cls)
    assert failed("mine_for_a_test") == {}


def test_a_layer_that_joins_several_inputs() -> None:
    def forward(self: Any, p: Any, *inputs: Any) -> Any:
        return inputs[0] * inputs[1]

    cortex.layer("mine_for_a_test", inputs="several")(type("Mine", (), {"forward": forward}))
    assert failed("mine_for_a_test") == {}


def test_a_layer_of_probabilities() -> None:
    register(lambda self, p, x: log(x) + log(1.0 - x))
    assert failed("mine_for_a_test") == {}


def test_what_differs_in_training_is_checked_in_both_modes() -> None:
    register(lambda self, p, x: cast(p.bernoulli(0.5, x.shape), x.dtype) * x * x if p.training else x * x)
    names = {r.name for r in run(get("numpy"), "mine_for_a_test/") if r.passed}
    assert {name.split("/")[2] for name in names} == {"training", "prediction"}


def test_a_layer_that_accepts_nothing_fails_with_its_reason() -> None:
    register(lambda self, p, x: refuse("never good", x))
    (detail,) = failed("mine_for_a_test").values()
    assert detail.startswith("no case can be made (ShapeError: ")
    assert detail.endswith("never good); write one, by @cases('layer', 'mine_for_a_test')")


def test_its_own_cases_are_taken_instead() -> None:
    @case.cases("layer", "mine_for_a_test")
    def mine(rng: np.random.Generator) -> Iterator[case.Case]:
        yield case.of_layer("of one row", LAYERS["mine_for_a_test"](), rng.normal(size=(1, 3)), rng=rng)

    register(lambda self, p, x: tanh(x))
    assert {r.name.split("/")[2] for r in run(get("numpy"), "mine_for_a_test")} == {"of one row"}


def test_a_generator_that_raises_is_a_failure_and_not_the_end() -> None:
    case.cases("layer", "mine_for_a_test")(lambda rng: 1 / 0)  # type: ignore[arg-type,return-value]
    register(lambda self, p, x: tanh(x))
    assert failed("mine_for_a_test") == {"layer/mine_for_a_test": "division by zero"}


@pytest.mark.parametrize("index", [False, True])
def test_losses(index: bool) -> None:
    """Of numbers, and of class indices."""

    def per_sample(self: Any, x: Any, target: Any) -> Any:
        t = cast(target, x.dtype) if index else target[:, 0]
        return (x[:, 0] - t) ** 2 + x[:, 1] ** 2, None

    more = {"target_type": lambda self, x: TensorType(x.shape[:1], int64)} if index else {}
    cortex.loss("mine_for_a_test")(type("Mine", (), {"per_sample": per_sample, **more}))
    assert failed("mine_for_a_test") == {}


def test_a_loss_that_gives_no_value_per_sample_is_told_so() -> None:
    cortex.loss("mine_for_a_test")(type("Mine", (), {"per_sample": lambda self, x, t: ((x - t) ** 2, None)}))
    (detail,) = failed("mine_for_a_test").values()
    assert "its per_sample to give (values, weights or None), one of each for" in detail
