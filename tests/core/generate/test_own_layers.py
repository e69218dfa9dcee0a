"""Layers of one's own in generation: what their steps may do, and what is made of those that are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import cortex
from cortex_core.generate import generate
from cortex_core.registry import Layer
from tests.core.generate.networks import expect_drawn, expect_same, language, logs_by_hand

pytestmark = pytest.mark.usefixtures("own_registry")


def declare(step: Any) -> None:
    """A layer ``own`` whose forward is 2 x."""

    @cortex.layer("own")
    class Own:
        def forward(self, p: Any, x: Any) -> Any:
            return 2.0 * x

    Own.step = step  # type: ignore[attr-defined]


def test_what_is_never_updated_stays_zero() -> None:
    declare(lambda self, p, x: 2.0 * x + p.kept("nothing", x.shape))
    expect_same(language("own", {"gru": {"units": 8, "return": "sequence"}}), [3, 1, 4])


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (lambda self, p, x: None, "one position gives NoneType; expected float32 (1, 1, 8)"),
        (lambda self, p, x: 2.0 * x[0], "one position gives float32 (1, 8); expected float32 (1, 1, 8)"),
        (lambda self, p, x: 2.0 * x[..., :1], "one position gives float32 (1, 1, 1); expected"),
        (lambda self, p, x: cortex.cast(x, "float64"), "one position gives float64 (1, 1, 8); expected"),
    ],
)
def test_a_step_that_gives_something_else_is_not_used(step: Any, told: str) -> None:
    declare(step)
    network = language("own", {"gru": {"units": 8, "return": "sequence"}})
    found = generate(network, [3], 20, temperature=2.0)
    expect_drawn(found, logs_by_hand(network, [3], found.tokens))
    (note,) = found.notes
    assert f"'own' (own): {told}" in note


@pytest.mark.parametrize(
    "inside",
    [
        {"gru": {"units": 8, "return": "sequence"}},
        {"multi_head_attention": {"heads": 2, "causal": True, "rotary": True}},
        {"conv1d": {"filters": 8, "kernel": 3, "padding": [[2, 0]]}},
        {"around": {"layer": {"lstm": {"units": 8, "return": "sequence"}}}},
    ],
)
def test_a_layer_inside_another_keeps_what_it_needs(inside: dict[str, Any]) -> None:
    @cortex.layer("around")
    class Around:
        layer: Layer = cortex.field(doc="what works inside")

        def parameters(self, x: Any) -> Iterator[Any]:
            for declared in self.layer.parameters(x):
                yield replace(declared, name=f"in_{declared.name}")

        def forward(self, p: Any, x: Any) -> Any:
            return self.layer.forward(p.inner("in_"), x)

        def step(self, p: Any, x: Any) -> Any:
            return self.layer.step(p.inner("in_"), x)

    network = language({"around": {"layer": inside}}, {"gru": {"units": 8, "return": "sequence"}})
    expect_same(network, [3, 1, 4])
