"""Values in other sizes: each new element along an axis is a weighted sum of the old ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.at import At
from cortex_core.exchange.from_onnx.operators import operator
from cortex_core.exchange.from_onnx.value import Mixed, Value, shown
from cortex_core.ops.resize import MOST_WEIGHTS, linear_weights

LONGEST = 65_536


@operator("Upsample", since=(7, 9))
def upsample(at: At) -> Value:
    x, mode = at.value(), at.expect("mode", "nearest", "linear", "bilinear")
    scales = at.attribute("scales") if at.version < 9 else [float(n) for n in at.constant(1)]
    settings = {"coordinates": "asymmetric", "nearest": "floor"}
    return _resized(
        at, x, [*range(x.rank)], scales, None, "nearest" if mode == "nearest" else "linear", settings
    )


@operator("Resize", since=(10, 11, 13, 18, 19))
def resize(at: At) -> Value:
    x, mode = at.value(), at.expect("mode", "nearest", "linear", "cubic")
    if at.version == 10:
        scales = [float(n) for n in at.constant(1)]
        return _resized(
            at, x, [*range(x.rank)], scales, None, mode, {"coordinates": "asymmetric", "nearest": "floor"}
        )
    at.expect("keep_aspect_ratio_policy", "stretch")
    axes = at.attribute("axes", [*range(x.rank)])
    settings = {
        "coordinates": at.attribute("coordinate_transformation_mode", "half_pixel"),
        "nearest": at.attribute("nearest_mode", "round_prefer_floor"),
        "cubic": at.attribute("cubic_coeff_a", -0.75),
        "outside": bool(at.attribute("exclude_outside", 0)),
        "antialias": bool(at.attribute("antialias", 0)),
    }
    at.attribute("extrapolation_value", 0.0)
    sizes = [int(n) for n in at.constant(3)] if at.has(3) and at.constant(3).size else None
    scales = [float(n) for n in at.constant(2)] if sizes is None else []
    if settings["coordinates"] == "tf_crop_and_resize":
        raise Unfit("tf_crop_and_resize is not supported")
    return _resized(at, x, [x.axis(a) for a in axes], scales, sizes, mode, settings)


def _resized(
    at: At,
    x: Value,
    axes: Sequence[int],
    scales: Sequence[float],
    sizes: Sequence[int] | None,
    mode: str,
    settings: dict[str, Any],
) -> Value:
    """Along each axis; pictures by one layer, where it does the same."""
    told = sizes if sizes is not None else scales
    if len(told) != len(axes):
        raise Unfit(f"it has {len(told)} sizes or scales for {len(axes)} axes")
    changes: dict[int, np.ndarray] = {}
    for axis, n in zip(axes, told):
        old = x.sizes[axis]
        if not isinstance(old, int):
            if (n == 1 and sizes is None) or (sizes is not None and axis == x.batch):
                continue
            kind = Mixed if axis == x.batch else Unfit
            raise kind(f"{shown(x)} along axis {axis}, whose size is not known here")
        new = int(n) if sizes is not None else math.floor(old * n)
        if not 0 < new <= LONGEST or old * new > MOST_WEIGHTS:
            raise Unfit(f"an axis of {old:,} elements becomes one of {new:,}, which is not supported")
        scale = new / old if sizes is not None else n
        if new != old or scale != 1:
            changes[axis] = weights(old, new, scale, mode, settings)
    return _mixed(at, x, changes)


def _mixed(at: At, x: Value, changes: dict[int, np.ndarray]) -> Value:
    """Each axis times a matrix (new, old)."""
    if x.rank == 4 and x.batch == 0 and {*changes} <= {2, 3} and changes:
        height, width = (changes.get(a, np.eye(_size(x, a))) for a in (2, 3))
        for mode, of in (("nearest", _nearest), ("bilinear", _linear)):
            if all(np.allclose(w, of(w.shape[1], w.shape[0]), atol=1e-6) for w in (height, width)):
                return at.put("resize2d", at.channels_last(x), size=[len(height), len(width)], mode=mode)
    for number, (axis, matrix) in enumerate(changes.items(), 1):
        if x.order[axis] == 0:
            raise Mixed(f"axis {axis} of {shown(x)} is that of the examples, which stay as many")
        lying = at.lay(x, [*(a for a in x.lying if a != axis), axis])
        kernel = {"kernel": matrix.T.astype(np.float32)}
        part = "" if number == len(changes) else f"axis_{axis}"
        x = at.put(
            "dense", lying, part=part, weights=kernel, units=len(matrix), use_bias=False, trainable=False
        )
    return x


def _size(x: Value, axis: int) -> int:
    found = x.sizes[axis]
    if not isinstance(found, int):
        raise Unfit(f"{shown(x)} along axis {axis}, whose size is not known")
    return found


def _nearest(n: int, m: int) -> np.ndarray:
    """What `nearest` of our resize2d is as a matrix."""
    found: np.ndarray = np.eye(n)[(2 * np.arange(m) + 1) * n // (2 * m)]
    return found


def _linear(n: int, m: int) -> np.ndarray:
    """What its `bilinear` is along one axis."""
    return np.eye(n) if m == n else linear_weights(n, m, m / n)


def weights(n: int, m: int, scale: float, mode: str, settings: dict[str, Any]) -> np.ndarray:
    """The matrix (m, n) of an axis, by the formulas of ONNX's page on Resize."""
    at = _places(n, m, scale, settings["coordinates"])
    if mode == "nearest":
        places = _ROUND[settings["nearest"]](at)
        chosen: np.ndarray = np.eye(n)[np.clip(places, 0, n - 1).astype(int)]
        return chosen
    wide = max(1.0, 1 / scale) if settings.get("antialias") else 1.0
    reach = 1 if mode == "linear" else 2
    kernel = _triangle if mode == "linear" else _cubic(settings["cubic"])
    found = np.zeros((m, n))
    span = math.ceil(reach * wide)
    for row, x in enumerate(at):
        near = np.arange(math.floor(x) - span + 1, math.floor(x) + span + 1)
        part = kernel((near - x) / wide)
        if settings.get("outside") or wide > 1:
            part = np.where((near < 0) | (near >= n), 0, part) if settings.get("outside") else part
            part = part / part.sum()
        np.add.at(found[row], np.clip(near, 0, n - 1), part)
    return found


def _places(n: int, m: int, scale: float, mode: str) -> np.ndarray:
    """Where the new elements lie among the old ones."""
    i = np.arange(m)
    length = n * scale
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and m > 1):
        return (i + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return np.zeros(m)
    if mode == "half_pixel_symmetric":
        return n / 2 * (1 - m / length) + (i + 0.5) / scale - 0.5
    if mode == "align_corners":
        return i * (n - 1) / (length - 1) if length > 1 else np.zeros(m)
    if mode == "asymmetric":
        return i / scale
    raise Unfit(f"coordinate_transformation_mode is {mode!r:.40}, which is not supported")


_ROUND: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _triangle(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.maximum(0, 1 - np.abs(x))
    return found


def _cubic(a: float) -> Callable[[np.ndarray], np.ndarray]:
    """Keys, 1981."""

    def kernel(x: np.ndarray) -> np.ndarray:
        x = np.abs(x)
        inner = (a + 2) * x**3 - (a + 3) * x**2 + 1
        outer = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
        found: np.ndarray = np.where(x <= 1, inner, np.where(x < 2, outer, 0))
        return found

    return kernel
