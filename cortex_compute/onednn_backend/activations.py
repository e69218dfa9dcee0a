"""Activations that oneDNN has as a whole, with their gradients: GELU, its tanh form, and SiLU.

They are found by their code: the very formulas of `cortex_core.layers.activations`, and what the table of
derivatives makes of them.  Of infinity oneDNN's GELU is NaN, and gradients of GELU that are
nearly 0 are off by up to 2e-6.  Of ReLU6 only the gradient is taken, for oneDNN's clip makes 0 of NaN; at 6,
where there is no derivative, it is 0 as PyTorch's, not a half, and where ReLU6 is flat, an infinite gradient,
and NaN, give NaN instead of 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from cortex_compute.expression import Built, Code, E, Gradient, Literal, build
from cortex_compute.frozen import frozen
from cortex_compute.onednn_backend import constants as c
from cortex_compute.onednn_backend.descriptors import PrimitiveDesc, strided
from cortex_compute.onednn_backend.recipe import Arguments, In, Out, Recipe
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.types import TensorType, float32


def gelu(x: E) -> E:
    return 0.5 * x * (1.0 + x.builder.make("erf", math.sqrt(0.5) * x))


def gelu_tanh(x: E) -> E:
    inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)
    return 0.5 * x * (1.0 + x.builder.make("tanh", inner))


def silu(x: E) -> E:
    return x * x.builder.make("sigmoid", x)


def relu6(x: E) -> E:
    return x.builder.make("min", x.builder.make("relu", x), 6.0)


@frozen
class Activation:
    """An algorithm; ``x`` is the operand that it is taken of, ``g`` that of y's gradient, if it is one."""

    algorithm: int
    alpha: float
    beta: float
    x: int
    g: int | None


def _known() -> dict[tuple[Code, tuple[Literal, ...]], Activation]:
    found = {}
    rows: tuple[tuple[Callable[[E], E], int, float, float], ...] = (
        (gelu, c.GELU_ERF, 0.0, 0.0),
        (gelu_tanh, c.GELU_TANH, 0.0, 0.0),
        (silu, c.SWISH, 1.0, 0.0),
        (relu6, c.CLIP_V2, 0.0, 6.0),
    )
    for formula, algorithm, alpha, beta in rows:
        forward = build(formula, 1)
        backward = Gradient(forward.code, forward.literals, [float32]).of(0)
        assert backward is not None
        for built, g in ((forward, None), (backward, backward.used.index(2))):
            if built is backward or formula is not relu6:
                found[_key(built)] = Activation(algorithm, alpha, beta, built.used.index(0), g)
    return found


def _key(built: Built) -> tuple[Code, tuple[Literal, ...]]:
    return built.code, built.literals


KNOWN = _known()


def activation(p: Elementwise, types: list[TensorType]) -> Recipe | None:
    """The one call that computes an activation or its gradient; None where the code is none."""
    found = KNOWN.get((p.code, p.literals))
    if found is None or any(t != types[0] for t in types):
        return None
    flat = strided((1, types[0].size), (types[0].size, 1), types[0].dtype)
    what = found.algorithm, flat, flat
    forward = PrimitiveDesc("eltwise_forward", c.FORWARD_TRAINING, *what, found.alpha, found.beta)
    recipe = Recipe()
    arguments: Arguments = {c.SRC: (In(found.x), flat)}
    if found.g is None:
        recipe.call(forward, arguments | {c.DST: (Out(0), flat)})
        return recipe
    backward = PrimitiveDesc("eltwise_backward", *what, flat, found.alpha, found.beta, forward)
    recipe.call(backward, arguments | {c.DIFF_DST: (In(found.g), flat), c.DIFF_SRC: (Out(0), flat)})
    return recipe
