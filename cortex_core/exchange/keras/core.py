"""Dense layers, what only training does, and arithmetic that prepares data."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.activations import ALONG, activation, applied, written
from cortex_core.exchange.keras.at import At, flat, translates
from cortex_core.exchange.keras.merging import alike
from cortex_core.exchange.keras.value import Value

EPSILON = 1e-7  # what Keras adds where it divides
FEW = 64  # numbers of an array that a description tells


@translates("Dense", masks=True)
def dense(at: At) -> Value:
    x, use_bias = at.one(), at.get("use_bias", True)
    names = ("kernel", "bias") if use_bias else ("kernel",)
    weights = dict(zip(names, at.arrays(*names)))
    fields = {"units": at.get("units"), "use_bias": use_bias, "activation": activation(at)}
    return at.put("dense", x, weights=weights, **fields)


@translates("EinsumDense")
def einsum_dense(at: At) -> Value:
    """A dense layer over the last axes, several of which it may take and give as one.

    ``abc,cde->abde`` takes c and gives d and e.
    """
    x, equation = at.one(), at.get("equation")
    at.get("output_shape", None)
    taken, given, order = _axes(equation, len(x.shape) + 1)
    bias_axes = at.get("bias_axes", None)
    kernel, *bias = at.arrays("kernel", "bias") if bias_axes else at.arrays("kernel")
    kernel = kernel.transpose(order)
    sizes, outer = kernel.shape[len(taken) :], x.shape[: len(x.shape) - len(taken)]
    weights: dict[str, np.ndarray] = {"kernel": kernel.reshape(-1, math.prod(sizes))}
    if bias:
        if set(bias_axes) != set(given):
            raise Unfit(f"bias_axes is {bias_axes!r:.60}; supported for {equation!r:.60}: {''.join(given)!r}")
        weights["bias"] = bias[0].reshape(-1)
    found = written(at.get("activation", None))
    inner = activation(at) if len(given) == 1 or found[0] not in ALONG else None
    if len(taken) > 1:
        x = at.put("reshape", x, part="joined", shape=free([*outer, len(weights["kernel"])]))
    fields: dict[str, Any] = {"units": math.prod(sizes), "use_bias": bool(bias), "activation": inner}
    if len(given) == 1:
        return at.put("dense", x, weights=weights, **fields)
    y = at.put("dense", x, part="joint", weights=weights, **fields)
    y = at.put("reshape", y, shape=free([*outer, *sizes]))
    return y if inner is not None else applied(at, found, y, part="activation")


def _axes(equation: str, rank: int) -> tuple[list[str], list[str], list[int]]:
    """The names of the axes that are summed and of those that are new, and where the kernel has them."""
    found = re.fullmatch(r"(\.\.\.)?([a-zA-Z]+),([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)", equation.replace(" ", ""))
    taken = [name for name in found[2] if name in found[3]] if found else []
    given = [name for name in found[5] if name in found[3]] if found else []
    if (
        not found
        or bool(found[1]) != bool(found[4])
        or not taken
        or not given
        or sorted(found[3]) != sorted([*taken, *given])
        or [*found[2]][-len(taken) :] != taken
        or [*found[5]] != [*found[2]][: -len(taken)] + given
        or (not found[1] and len(found[2]) != rank)
        or len(found[2]) == len(taken) + (not found[1]) - 1
    ):
        raise Unfit(f"equation is {equation!r:.60}; supported are those of a dense layer over the last axes")
    return taken, given, [found[3].index(name) for name in (*taken, *given)]


def free(shape: Sequence[int | None]) -> list[int]:
    """A shape for our `reshape`, in which one axis may be of any length."""
    if sum(n is None for n in shape) > 1:
        raise Unfit(f"two axes of any length in {[*shape]} are not supported here")
    return [-1 if n is None else n for n in shape]


@translates("Identity", masks=True)
def identity(at: At) -> Value:
    return at.any()


@translates("ActivityRegularization", masks=True)
def activity_regularization(at: At) -> Value:
    told = ", ".join(f"{key} {at.get(key, 0.0):g}" for key in ("l1", "l2") if at.get(key, 0.0))
    if told:
        at.notes.append(f"{at.path}: its penalty on what it gives ({told}) is not imported")
    return at.any()


# What only training does


@translates("Dropout", masks=True)
def dropout(at: At) -> Value:
    """Also that of whole channels, and of whole examples, by the shape of its noise."""
    x, rate, noise = at.any(), at.get("rate"), at.get("noise_shape", None)
    if noise is None:
        return at.put("dropout", x, rate=rate)
    kind = _dropped_together(noise, len(x.shape))
    if kind is None:
        raise Unfit(f"noise_shape is {noise!r:.60}; supported: whole channels, or whole examples")
    return at.put(kind, x if kind == "stochastic_depth" else at.plain(x), rate=rate)


def _dropped_together(noise: Sequence[int | None], rank: int) -> str | None:
    """The layer of ours that has one draw for all along the axes where the shape of the noise is 1."""
    if len(noise) != rank + 1 or noise[0] is not None:
        return None
    if all(n == 1 for n in noise[1:]):
        return "stochastic_depth"
    channels = noise[-1] != 1 and all(n == 1 for n in noise[1:-1])
    return f"spatial_dropout{rank - 1}d" if channels and 2 <= rank <= 4 else None


@translates("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", masks=True)
def spatial_dropout(at: At) -> Value:
    at.get("noise_shape", None)  # tf.keras writes it, and never uses it
    return at.put(at.kind.lower().replace("spatial", "spatial_"), at.channels(at.any()), rate=at.get("rate"))


@translates("AlphaDropout", masks=True)
def alpha_dropout(at: At) -> Value:
    at.expect("noise_shape", None)
    return at.put("alpha_dropout", at.any(), rate=at.get("rate"))


@translates("GaussianNoise", masks=True)
def gaussian_noise(at: At) -> Value:
    return at.put("gaussian_noise", at.any(), deviation=at.get("stddev"))


@translates("GaussianDropout", masks=True)
def gaussian_dropout(at: At) -> Value:
    return at.put("gaussian_dropout", at.any(), rate=at.get("rate"))


@translates("StochasticDepth", masks=True)
def stochastic_depth(at: At) -> Value:
    """Of one value, which survivors grow for, as ConvNeXt has it; or of [trunk, branch], where they do not:
    there predictions have the branch times the chance that it survives.
    """
    given = list(flat(at.inputs))
    if len(given) == 1:
        return at.put("stochastic_depth", given[0], rate=at.get("drop_path_rate"))
    if len(given) != 2:
        raise Unfit(f"it is called with {len(given)} values; expected one or two")
    rate = at.get("rate", None)
    survives = 1 - rate if rate is not None else at.get("survival_probability", 0.5)
    trunk, branch = alike(at, given)
    dropped = at.put("stochastic_depth", branch, part="dropped", rate=1 - survives)
    expected = at.put("scale", dropped, part="expected", factor=survives)
    return at.put("add", [trunk, expected])


# Arithmetic that prepares data, and learned factors


@translates("Rescaling", masks=True)
def rescaling(at: At) -> Value:
    return scaled(at, at.floats(at.any()), at.get("scale"), at.get("offset", 0.0))


def scaled(at: At, x: Value, factor: Any = 1, offset: Any = 0, part: str = "") -> Value:
    """factor x + offset, of numbers, or arrays of them that fit Keras's last axes.

    Whole numbers stay whole beside whole ones.  Raises `Unfit` where those of a narrow type would wrap.
    """
    if any(np.asarray(given).dtype.kind == "f" for given in (factor, offset)):
        x = at.floats(x)
    if x.whole:
        ends = (int(np.iinfo(x.whole).min), int(np.iinfo(x.whole).max))
        reached = [np.multiply(end, factor) + np.asarray(offset) for end in ends]
        if min(map(np.min, reached)) < ends[0] or max(map(np.max, reached)) > ends[1]:
            raise Unfit(
                f"{factor!r:.40} x + {offset!r:.40} of {x.whole} leaves that type, in which Keras wraps "
                "numbers; cast or rescale the value before it, in Keras"
            )
    factor, offset = (_numbers(given, x) for given in (factor, offset))
    return _put(at, at.plain(x) if factor.ndim or offset.ndim else x, factor, offset, part)


def _put(at: At, x: Value, factor: np.ndarray, offset: np.ndarray, part: str = "") -> Value:
    """A few numbers stand in the description; many, and infinite ones as of a mask, are weights, which
    training leaves as they are."""
    told = [("scale", factor, 1), ("shift", offset, 0)]
    arrays = {name: array for name, array, alone in told if array.ndim or array != alone}
    if not any(array.ndim and _is_weight(array) for array in arrays.values()):
        return at.put("scale", x, part=part, factor=factor.tolist(), offset=offset.tolist())
    if x.dtype != "float32":
        raise Unfit(f"an array beside whole numbers of {x.dtype}; cast the value before it, in Keras")
    if factor.ndim and offset.ndim and factor.shape != offset.shape:
        y = _put(at, x, factor, np.array(0.0), part=f"{part}_factor".strip("_"))
        return _put(at, y, np.array(1.0), offset, part)
    given = [array.astype(np.float32) for array in np.broadcast_arrays(*arrays.values())]
    fields = {"shape": [*given[0].shape], "scale": "scale" in arrays, "center": "shift" in arrays}
    y = at.put("affine", x, part=part, weights=dict(zip(arrays, given)), fixed=True, **fields)
    return replace(y, whole=x.whole)


def _is_weight(array: np.ndarray) -> bool:
    return array.size > FEW or not np.isfinite(array).all()


def _numbers(given: Any, x: Value) -> np.ndarray:
    """A number, or an array that NumPy takes together with the last axes of x.  Raises `Unfit` for others."""
    try:
        array = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise Unfit(f"{given!r:.60} is no number, and no list of them") from None
    told = [*array.shape]
    while array.ndim and len(array) == 1 and (array.size == 1 or array.ndim > len(x.shape)):
        array = array[0]
    sizes = x.shape[-array.ndim :] if array.ndim else ()
    fits = len(told) <= len(x.shape) + 1 and array.ndim <= len(x.shape)
    if not fits or any(n not in (1, m) and m != 1 for n, m in zip(array.shape, sizes)):
        raise Unfit(f"numbers of shape {told} beside {[*x.shape]}: they must fit its last axes")
    return array


@translates("Normalization", masks=True)
def normalization(at: At) -> Value:
    """(x - mean) / deviation, of given numbers or of those that it was adapted to; or the inverse of that."""
    x, axis = at.floats(at.any()), at.get("axis", -1)
    mean, variance = (at.get(key, None) for key in ("mean", "variance"))
    if mean is None and at.left():
        mean, variance = at.arrays("mean", "variance")
        if at.left():
            at.arrays("count")
    if mean is None or variance is None:
        raise Unfit("it was never adapted: the file has no mean and variance for it")
    mean, variance = (np.asarray(given, np.float64).reshape(-1) for given in (mean, variance))
    deviation = np.maximum(np.sqrt(variance), EPSILON)
    factor, offset = (deviation, mean) if at.get("invert", False) else (1 / deviation, -mean / deviation)
    if factor.size == offset.size == 1:
        return scaled(at, x, factor, offset)
    return scaled_along(at, x, axis, np.broadcast_arrays(factor, offset))


def scaled_along(at: At, x: Value, axis: Any, numbers: Sequence[np.ndarray]) -> Value:
    """factor x + offset, with numbers for each place along an axis: the last, or that of the channels."""
    axes = [axis] if isinstance(axis, int) else [*(axis or ())]
    rank = len(x.shape)
    if len(axes) != 1 or axes[0] % (rank + 1) not in (1, rank):
        raise Unfit(f"axis is {axis!r:.60}; supported with numbers for each place: the last axis, or 1")
    x = at.plain(x) if axes[0] % (rank + 1) == rank else at.last(x)
    if any(given.shape != x.there[-1:] for given in numbers):
        raise Unfit(f"{numbers[0].size} numbers along axis {axis!r:.40} of {[*x.shape]}")
    factor, offset = numbers
    return _put(at, x, factor, offset)


@translates("LayerScale", masks=True)
def layer_scale(at: At) -> Value:
    at.get("init_values", None), at.get("projection_dim", None)
    return at.put("layer_scale", at.one(), weights=dict(zip(["scale"], at.arrays("gamma"))))


@translates("CustomScaleLayer", masks=True)
def custom_scale(at: At) -> Value:
    """The trunk plus a part of the branch, as Inception-ResNet has it."""
    given = list(flat(at.inputs))
    if len(given) != 2:
        raise Unfit(f"it is called with {len(given)} values; expected two")
    trunk, branch = alike(at, given)
    return at.put("add", [trunk, at.put("scale", branch, part="part", factor=float(at.get("scale")))])
