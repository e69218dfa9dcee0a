"""The gradient suite passes, and sees what is broken."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from cortex_compute import expression
from cortex_compute.backends import get
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.primitives.views import Reshape
from cortex_core.ops import differentiate, pointwise
from cortex_core.registry import LAYERS
from cortex_core.verify import case
from cortex_core.verify.gradients import jobs, registered, run


def failures(only: str) -> set[str]:
    return {r.name for r in run(get("numpy"), only) if not r.passed}


def test_everything_has_a_case() -> None:
    covered = {tuple(name.split("/")[:2]) for name, _ in jobs()}
    assert covered == set(registered())
    assert {("layer", "conv2d"), ("layer", "mish"), ("loss", "mae"), ("pointwise", "erf")} <= covered


@pytest.mark.parametrize("check", ["eager", "symbolic", "forward", "second"])
def test_a_case_passes(check: str) -> None:
    results = [r for r in run(get("numpy"), "layer/dense/") if r.name.endswith(f"/{check}")]
    assert results
    assert all(r.passed for r in results)
    assert max(r.value for r in results) > 1e-7  # something was compared


def test_a_result_is_an_entry_of_the_report() -> None:
    (first, *_) = run(get("numpy"), "layer/dense/matrix/symbolic")
    keys = {"name", "metric", "value", "threshold", "better", "seconds", "peak_bytes", "passed"}
    assert set(first.json()) == keys
    assert first.json()["peak_bytes"] > 0


def test_a_registered_thing_without_a_case_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(case.CASES, ("pointwise", "erf"))
    results = run(get("numpy"), "pointwise/erf")
    assert [(r.name, r.passed, r.detail) for r in results] == [
        ("pointwise/erf", False, "no case in cortex_core.verify.cases")
    ]


def test_a_layer_of_this_package_without_an_example_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = type("Bare", (LAYERS["relu"],), {"__doc__": "max(x, 0)", "__module__": "cortex_core.layers.bare"})
    monkeypatch.setattr(LAYERS, "_classes", {**LAYERS._classes, "bare": bare})
    (result,) = run(get("numpy"), "layer/bare")
    assert (result.name, result.passed) == ("layer/bare", False)
    assert result.detail == "cortex_core.layers.bare.Bare: its docstring does not end with an Example:"


def broken_gemm(node: Any, g: Any) -> Any:
    """Forgets the left operand's gradient."""
    return None, differentiate_gemm(node, g)[1]


differentiate_gemm = differentiate.RULES[Gemm]


def test_a_forgotten_gradient_is_seen_in_both_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(differentiate.RULES, Gemm, broken_gemm)
    seen = {name.rsplit("/", 1)[1] for name in failures("layer/dense/matrix")}
    assert {"eager", "symbolic", "forward"} <= seen


@pytest.mark.parametrize(
    "wrong",
    [
        lambda g, y, a: (-(g * (1.0 - y * y)),),  # sign
        lambda g, y, a: (g * (1.0 - y),),
        lambda g, y, a: (g * (1.0 - y * y) * 1.000001,),  # one in a million
        lambda g, y, a: (None,),
    ],
)
def test_a_wrong_scalar_rule_is_seen(monkeypatch: pytest.MonkeyPatch, wrong: Any) -> None:
    pointwise._gradients.cache_clear()
    monkeypatch.setitem(expression.RULES, "tanh", wrong)
    names = failures("pointwise/tanh")
    monkeypatch.undo()
    pointwise._gradients.cache_clear()
    assert {"pointwise/tanh/eager", "pointwise/tanh/symbolic"} <= names


def test_a_rule_that_is_not_linear_in_g_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def rule(node: Any, g: Any) -> Any:
        flat = differentiate_reshape(node, g)[0]()
        return (flat + flat * flat,)

    monkeypatch.setitem(differentiate.RULES, Reshape, rule)
    assert "layer/flatten/image/forward" in failures("layer/flatten")


differentiate_reshape = differentiate.RULES[Reshape]


def test_a_function_that_raises_is_a_failure_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(rng: Any) -> Any:
        for made in generator(rng):
            yield dataclasses.replace(made, function=lambda *_: 1 / 0)

    generator = case.CASES["loss", "mse"]
    monkeypatch.setitem(case.CASES, ("loss", "mse"), broken)
    results = [r for r in run(get("numpy"), "loss/mse") if "/example/" not in r.name]
    assert len(results) == 8
    assert all(not r.passed and "ZeroDivisionError" in r.detail for r in results)
