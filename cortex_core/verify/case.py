"""Cases of the gradient suite: a function of the language, and the float64 arrays to differentiate it at.

Each registered thing has a generator of cases::

    @cases("layer", "dense")
    def dense(rng: np.random.Generator) -> Iterator[Case]:
        yield of_layer("matrix", LAYERS["dense"](units=3), rng.normal(size=(4, 5)), rng=rng)

Arrays lie at least `GAP` from where a function has a kink, for central differences step over none then.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from cortex_compute.types import TensorType, dtype
from cortex_core.layers.scope import Parameter, Scope
from cortex_core.losses import of_each_sample
from cortex_core.ops.pointwise import select
from cortex_core.trace import results_of

GAP = 0.05


@dataclass(frozen=True)
class Case:
    """``function(*arrays)`` gives one Array; the floating arrays are those it is differentiated by."""

    name: str
    function: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]


Cases = Callable[[np.random.Generator], Iterable[Case]]
F = TypeVar("F", bound=Cases)

CASES: dict[tuple[str, str], Cases] = {}


def cases(kind: str, *names: str) -> Callable[[F], F]:
    """Registers the generator of the cases of a layer, loss or pointwise function."""

    def register(f: F) -> F:
        for name in names:
            CASES[kind, name] = f
        return f

    return register


def away(rng: np.random.Generator, shape: tuple[int, ...], *kinks: float) -> np.ndarray:
    """Normal numbers, of which none is nearer to a kink than `GAP`."""
    x = 1.5 * rng.normal(size=shape)
    for kink in kinks:
        side = np.where(x < kink, -1.0, 1.0)
        x = np.where(np.abs(x - kink) < GAP, kink + side * GAP, x)
    return x


def apart(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers around 0, of which no two are nearer than `GAP`, nor one to 0."""
    n = int(np.prod(shape))
    return GAP * (rng.permutation(n) - n // 2 + 0.5).reshape(shape) * 2


def of_layer(
    variant: str,
    layer: Any,
    *inputs: np.ndarray,
    rng: np.random.Generator,
    training: bool = True,
    **named: np.ndarray,
) -> Case:
    """A layer, differentiated by its inputs, parameters and variables, which are drawn from 0.5 .. 1.5.

    ``named`` are the values that its fields name, such as a mask.
    """
    types = [TensorType(x.shape, dtype(x.dtype)) for x in inputs]
    declared = list(layer.parameters(*types)) if hasattr(layer, "parameters") else []
    drawn = [rng.uniform(0.5, 1.5, d.shape) * _sign(rng, d) for d in declared]
    key = np.array([7, 0], np.uint64)

    def function(*values: Any) -> Any:
        given = iter(values)
        x = list(islice(given, len(inputs)))
        keywords = dict(zip(named, islice(given, len(named))))
        own = dict(zip((d.name for d in declared), given))
        return results_of(layer.forward(Scope(own, training, layer.kind, values[-1]), *x, **keywords))[0]

    return Case(variant, function, (*inputs, *named.values(), *drawn, key))


def _sign(rng: np.random.Generator, declared: Any) -> Any:
    return rng.choice([-1.0, 1.0], declared.shape) if isinstance(declared, Parameter) else 1.0


def of_loss(
    variant: str,
    loss: Any,
    x: np.ndarray,
    target: np.ndarray | None = None,
    *,
    rng: np.random.Generator | None = None,
    **named: np.ndarray,
) -> Case:
    """A loss: per-sample values times their weights, differentiated by the node, by a floating target, and by
    the variables, which are drawn from ``rng``.

    ``named`` are the values that its fields name.
    """
    declared = (
        list(loss.parameters(TensorType(x.shape, dtype(x.dtype)))) if hasattr(loss, "parameters") else []
    )
    drawn = [] if rng is None else [rng.uniform(0.5, 1.5, d.shape) for d in declared]
    targets = () if target is None else (target,)

    def function(x: Any, *values: Any) -> Any:
        given = iter(values)
        t = list(islice(given, len(targets)))
        keywords = dict(zip(named, islice(given, len(named))))
        if declared:
            keywords["p"] = Scope(dict(zip((d.name for d in declared), given)), True, loss.kind)
        values, weights = of_each_sample(loss, x, *t, **keywords)
        return values if weights is None else select(weights > 0, values * weights, 0.0)

    return Case(variant, function, (x, *targets, *named.values(), *drawn))


def rng_of(kind: str, name: str) -> np.random.Generator:
    """The generator that the cases of a registered thing draw from, always the same."""
    return np.random.default_rng(zlib.crc32(f"{kind}/{name}".encode()))


def cases_of(kind: str, name: str) -> list[Case]:
    """The cases of a registered thing; none where nobody wrote any."""
    generator = CASES.get((kind, name))
    return list(generator(rng_of(kind, name))) if generator else []
