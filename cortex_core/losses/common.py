"""What losses share: what they refuse, and means that leave the batch axis."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.types import TensorType
from cortex_core.layers.expect import reasoned
from cortex_core.ops.pointwise import cast, select
from cortex_core.ops.reduce import mean
from cortex_core.ops.reduce import sum as total
from cortex_core.ops.views import reshape


def refuse(loss: Any, needs: str, x: Any, target: Any = None) -> NoReturn:
    """Raises a `ShapeError`: what a loss or a metric needs, and the shapes without the batch axis."""
    shapes = f"the node is {x.shape[1:]}"
    if target is not None:
        shapes += f", the target is {target.shape[1:]}"
    raise reasoned(ShapeError, shapes, f"{loss.kind} needs {needs}")


def of_each_sample(loss: Any, x: Any, *target: Any, **given: Any) -> tuple[Any, Any | None]:
    """What ``per_sample`` gives; `ShapeError` where that is not a value, and a weight or None, per sample.

    ``target``: none or one; ``given``: what fields of the loss name, and its scope ``p``.
    """
    found = loss.per_sample(x, *target, **given)
    pair = found if isinstance(found, tuple) else (found,)
    shapes = [None if part is None else part.shape for part in pair]
    if len(pair) != 2 or shapes[0] != x.shape[:1] or shapes[1] not in (None, x.shape[:1]):
        gave = ", ".join("None" if shape is None else str(shape) for shape in shapes)
        each = f"one of each for {x.shape[0]} samples"
        needs = f"its per_sample to give (values, weights or None), {each}; it gave {gave}"
        refuse(loss, needs, x, *target)
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


def vector(loss: Any, x: Any, **others: Any) -> None:
    """Refuses a node that is no vector (B, n), and others, by field, that are not as long."""
    if len(x.shape) != 2:
        refuse(loss, "a vector (n)", x)
    alike(loss, x, **others)


def alike(loss: Any, x: Any, **others: Any) -> None:
    """Refuses nodes, by the fields that name them, whose shape is not that of x."""
    for name, other in others.items():
        if other.shape != x.shape:
            refuse(loss, f"{name} to be {x.shape[1:]} too, and it is {other.shape[1:]}", x)


def one_of_each(loss: Any, x: Any, target: Any) -> Any:
    """A target of one number for each sample, as (B,); (B, 1) will do."""
    if target.shape not in ((x.shape[0],), (x.shape[0], 1)):
        refuse(loss, "one number for each sample", x, target)
    return reshape(target, x.shape[:1])


def whole(loss: Any, target: Any) -> Any:
    """A target of class indices."""
    if target.dtype.kind != "int":
        raise DTypeError(f"{loss.kind} needs whole class indices, the target is {target.dtype}")
    return target


Wrong = tuple[int, str] | None
"""The first example of a target whose numbers a loss cannot take, and what is wrong with it."""


def first_wrong(bad: np.ndarray, target: np.ndarray, what: str, expected: str) -> Wrong:
    """The first example in which ``bad`` holds, and the first such number in it."""
    if not bad.any():
        return None
    example = int(np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))[0])
    worst = target[example].reshape(-1)[int(np.flatnonzero(bad[example].reshape(-1))[0])]
    return example, f"has {what} {worst}, {expected}"


def wrong_class(labels: np.ndarray, classes: int, ignored: int | None = None) -> Wrong:
    """A class index that there is not; the ignored one is none, and probabilities hold none."""
    if labels.dtype.kind not in "iu":
        return None
    bad = (labels < 0) | (labels >= classes)
    if ignored is not None:
        bad &= labels != ignored
    return first_wrong(bad, labels, "label", f"the classes are 0 to {classes - 1}")


def wrong_choice(x: TensorType, target: np.ndarray, ignored: int | None = None) -> Wrong:
    """A class index that there is not, or a number beside other classes' that is no probability."""
    if target.ndim == x.rank:
        return first_wrong(target < 0, target, "the number", "which is no probability")
    return wrong_class(target, x.shape[-1], ignored)


def wrong_share(target: np.ndarray) -> Wrong:
    """A number that is neither a yes (1), a no (0), nor a probability; rounding may have left the range."""
    bad = (target < -1e-3) | (target > 1 + 1e-3)
    return first_wrong(bad, target, "target", "expected 0, 1, or a probability between them")


def wrong_truth(target: np.ndarray, allowed: tuple[int, ...] = (0, 1)) -> Wrong:
    """A number that is no yes or no."""
    words = f"expected {', '.join(map(str, allowed[:-1]))} or {allowed[-1]}"
    return first_wrong(~np.isin(target, allowed), target, "target", words)
