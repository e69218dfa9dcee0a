"""explain: docstrings for reading, by name, function or Tensor."""

from __future__ import annotations

import pytest

from cortex_core.explain import explain, explanation
from cortex_core.ops import pointwise
from cortex_core.ops.differentiate import RULES
from cortex_core.tensor import Tensor


def test_by_name_function_and_alias(capsys: pytest.CaptureFixture[str]) -> None:
    explain("tanh")
    shown = capsys.readouterr().out
    assert shown.startswith("tanh(x)\n")
    assert "dx = g (1 - y^2)" in shown
    assert explanation(pointwise.tanh) + "\n" == shown
    assert explanation("clamp").startswith("clip(x, min=None, max=None)")
    assert "Also called clamp." in explanation("clamp")


def test_of_what_made_a_tensor() -> None:
    x = Tensor([[1.0, 2.0]], requires_grad=True)
    assert explanation(x) == "A leaf: no op made it."
    assert explanation(x * x).startswith("mul(a, b)")
    assert explanation(x.mean()).startswith("mean(x")
    assert "dA = g B^T" in explanation(x @ x.T)
    assert "y (g - sum(g y))" in explanation(x.softmax(-1))
    formula = explanation(x.softplus())
    assert "dx = g / (1 + x)" in formula


def test_every_rule_can_be_explained() -> None:
    for primitive, rule in RULES.items():
        assert rule.__doc__ or not rule.__module__.startswith("cortex_core.ops"), primitive


def test_an_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"no op 'sotfmax'.*softmax"):
        explain("sotfmax")
    with pytest.raises(ValueError, match="3 is no op"):
        explain(3)  # type: ignore[arg-type]
