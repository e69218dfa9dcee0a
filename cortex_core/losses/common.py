"""What losses share: what they refuse, and means that leave the batch axis."""

from __future__ import annotations

from typing import Any, NoReturn

from cortex_compute.errors import ShapeError
from cortex_core.layers.expect import reasoned
from cortex_core.ops.pointwise import cast, select
from cortex_core.ops.reduce import mean
from cortex_core.ops.reduce import sum as total
from cortex_core.ops.views import reshape


def refuse(loss: Any, needs: str, x: Any, target: Any) -> NoReturn:
    """Raises a `ShapeError`: what a loss or a metric needs, and both shapes without the batch axis."""
    shapes = f"the node is {x.shape[1:]}, the target is {target.shape[1:]}"
    raise reasoned(ShapeError, shapes, f"{loss.kind} needs {needs}")


def of_each_sample(loss: Any, x: Any, target: Any) -> tuple[Any, Any | None]:
    """What ``per_sample`` gives; `ShapeError` where that is not a value, and a weight or None, per sample."""
    found = loss.per_sample(x, target)
    pair = found if isinstance(found, tuple) else (found,)
    shapes = [None if part is None else part.shape for part in pair]
    if len(pair) != 2 or shapes[0] != x.shape[:1] or shapes[1] not in (None, x.shape[:1]):
        given = ", ".join("None" if shape is None else str(shape) for shape in shapes)
        each = f"one of each for {x.shape[0]} samples"
        refuse(loss, f"its per_sample to give (values, weights or None), {each}; it gave {given}", x, target)
    return pair


def like(loss: Any, x: Any, target: Any) -> Any:
    """The target in x's shape and type; (B,) may stand for (B, 1)."""
    if target.shape != x.shape:
        if (*target.shape, 1) != x.shape:
            refuse(loss, "a target of the node's shape", x, target)
        target = reshape(target, x.shape)
    return cast(target, x.dtype)


def mean_of_sample(values: Any) -> Any:
    """The mean over all axes but the first."""
    return mean(values, tuple(range(1, len(values.shape)))) if len(values.shape) > 1 else values


def weighted_mean_of_sample(values: Any, weights: Any) -> tuple[Any, Any]:
    """The weighted mean over all axes but the first, and the mean weight."""
    if len(values.shape) == 1:
        return values, weights
    axes = tuple(range(1, len(values.shape)))
    whole = total(weights, axes)
    part = total(select(weights > 0, values * weights, 0.0), axes)
    return part / select(whole > 0, whole, 1.0), mean(weights, axes)
