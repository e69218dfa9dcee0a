"""What all functions share: the backend of the current GPU, checks, and one primitive computed at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from operator import index
from typing import Any, TypeVar, Union

from cortex_compute.choices import given
from cortex_compute.errors import ArgumentError, BackendError, DTypeError, ShapeError
from cortex_compute.primitives.base import OPAQUE, Primitive
from cortex_compute.primitives.elementwise import Copy
from cortex_compute.protocol import Layout, Operand, Refusal
from cortex_compute.types import DType, TensorType, dtype
from cortex_gpu.backend import CupyBackend
from cortex_gpu.cudnn.library import Library, UnsupportedError, load
from cortex_gpu.found import found

LAYOUTS = ("NHWC", "NCHW")
Size = Union[int, Sequence[int]]
Axes = tuple[int, ...]
T = TypeVar("T")


def here() -> CupyBackend:
    """The backend of CuPy's current device; a `BackendError` says why a GPU cannot be used."""
    try:
        from cupy.cuda import runtime

        device = int(runtime.getDevice())
    except (ImportError, RuntimeError):  # `found` says what is missing
        device = 0
    return _backend(device, given())


@cache
def _backend(device: int, chosen: object) -> CupyBackend:
    """The backend of a device, made anew for other choices."""
    return found(device)


def cudnn() -> Library | None:
    """The library, where it is installed and not forbidden."""
    library: Library | None = here().gpu.cudnn
    return library


def needed(what: str) -> Library:
    """The library, or a `BackendError` that says what to install."""
    gpu = here().gpu
    if gpu.policy == "never":
        raise BackendError(f"{what} needs cuDNN, which CORTEX_CUDNN=never forbids")
    return gpu.cudnn if gpu.cudnn is not None else load()


# Arguments.


def dtype_of(name: str, array: Any) -> DType:
    """The floating type of an array."""
    found_type = dtype(str(array.dtype))
    if found_type.kind != "float":
        raise DTypeError(f"{name} is {found_type}; needs a floating type")
    return found_type


def checked(**arrays: Any) -> DType:
    """The one type of all arrays, after a look at how they lie."""
    first, *others = arrays.items()
    wanted = dtype_of(*first)
    for name, a in arrays.items():
        if not hasattr(a, "data") or not hasattr(a.data, "ptr"):
            raise ArgumentError(f"{name} is a {type(a).__name__}; needs a cupy.ndarray")
        if not a.flags.c_contiguous:
            raise ArgumentError(f"{name} {a.shape} is not C-contiguous: use cupy.ascontiguousarray")
    for name, a in others:
        if dtype_of(name, a) is not wanted:
            raise DTypeError(f"{first[0]} is {wanted}, {name} is {a.dtype}; cast one of them")
    return wanted


def spatial(name: str, array: Any) -> int:
    """How many spatial axes an image has: 1, 2 or 3."""
    if not 3 <= array.ndim <= 5:
        raise ShapeError(f"{name} has shape {array.shape}; needs images with 1 to 3 spatial axes")
    return int(array.ndim) - 2


def last(layout: str) -> bool:
    """Whether channels come last in a layout."""
    if layout not in LAYOUTS:
        raise ArgumentError(f"layout is {layout!r}; known are {', '.join(LAYOUTS)}")
    return layout == "NHWC"


def each(name: str, value: Size, axes: int) -> Axes:
    """A number for each of the spatial axes."""
    try:
        values = tuple(map(index, value if isinstance(value, Sequence) else (value,) * axes))
    except TypeError:
        values = ()
    if len(values) != axes:
        raise ArgumentError(f"{name} is {value!r}; needs one whole number, or {axes} of them")
    return values


def counted(name: str, value: int) -> int:
    """A number of things of which there is at least one."""
    try:
        found = index(value)
    except TypeError:
        found = 0
    if found < 1:
        raise ArgumentError(f"{name} is {value!r}; needs a whole number, at least 1")
    return found


def pairs(padding: Size, axes: int) -> tuple[tuple[int, int], ...]:
    """The same padding before and after each axis."""
    return tuple((p, p) for p in each("padding", padding, axes))


def dims(shape: Sequence[int], channels_last: bool) -> Axes:
    """The sizes of an image in cuDNN's order, with two spatial axes at least."""
    n, *rest = shape
    channels = rest.pop(-1 if channels_last else 0)
    return (n, channels, *(1,) * (2 - len(rest)), *rest)


def planar(values: Axes, default: int = 1) -> Axes:
    """A number for each spatial axis, two at least."""
    return (default,) * (2 - len(values)) + values


# Images, channels last.


def images(x: Any, channels_last: bool) -> Any:
    """x as (N, *S, C), row-major; a copy if it lies otherwise."""
    order = (0, *range(2, x.ndim), 1)
    return x if channels_last else compute(Copy(), turned(x, order))[0]


def back(y: Any, channels_last: bool) -> Any:
    """An image (N, *S, C) in the layout that is wanted."""
    order = (0, y.ndim - 1, *range(1, y.ndim - 1))
    return y if channels_last else compute(Copy(), turned(y, order))[0]


def kernels(w: Any, channels_last: bool) -> Any:
    """A kernel (O, C / groups, *K) as (*K, C / groups, O)."""
    return w if channels_last else compute(Copy(), turned(w, (*range(2, w.ndim), 1, 0)))[0]


def kernels_back(w: Any, channels_last: bool) -> Any:
    """A kernel (*K, C / groups, O) in the layout that is wanted."""
    return w if channels_last else compute(Copy(), turned(w, (w.ndim - 1, w.ndim - 2, *range(w.ndim - 2))))[0]


def turned(x: Any, order: Sequence[int]) -> Any:
    """A view with the axes in another order."""
    import cupy

    shape, strides = ([values[k] for k in order] for values in (x.shape, x.strides))
    return cupy.ndarray(tuple(shape), x.dtype, x.data, tuple(strides))


# The work.


def empty_like(x: Any, shape: Sequence[int] | None = None) -> Any:
    """New memory of x's type."""
    import cupy

    return cupy.empty(x.shape if shape is None else tuple(shape), x.dtype)


def filled(result: Any, launcher: Callable[[], Callable[[], None]]) -> Any:
    """``result`` after the call that writes it; cuDNN knows no empty arrays, which need none."""
    if result.size:
        launcher()()
    return result


def either(by_library: Callable[[Library], T], generated: Callable[[], T], *arrays: Any) -> T:
    """What cuDNN gives; where it is absent, lacks the kernel or ``arrays`` are empty, what our kernels give.

    Where cuDNN is to be taken always, a lacking kernel is an error.
    """
    library = cudnn()
    if library is None or not all(a.size for a in arrays):
        return generated()
    try:
        return by_library(library)
    except UnsupportedError:
        if here().gpu.policy == "always":
            raise
        return generated()


def scratch(nbytes: int) -> Any:
    """New memory.  CuPy gives it to others only in the order of the stream."""
    import cupy

    return cupy.empty(max(1, nbytes), "u1")


class Current:
    """CuPy's current stream, as a kernel sees it."""

    @staticmethod
    def launch(call: Callable[[], None]) -> None:
        call()


def compute(primitive: Primitive, *arrays: Any) -> tuple[Any, ...]:
    """What a primitive gives, by the kernel that the backend offers."""
    backend = here()
    operands = [_operand(a) for a in arrays]
    offer = backend.offer(primitive, operands)
    if isinstance(offer, Refusal):
        raise BackendError(f"{primitive.name}: {offer.reason}")
    outputs = []
    for t in primitive.infer(*(o.type for o in operands)):
        shape, kind = ((offer.residual,), "u1") if t == OPAQUE else (t.shape, _stored(t.dtype, arrays))
        outputs.append(_empty(shape, kind))
    launch = offer.build().bind(arrays, outputs, scratch(offer.workspace))
    launch(Current)  # type: ignore[arg-type]
    return tuple(outputs)


def _operand(a: Any) -> Operand:
    name = str(a.dtype)
    if name == "uint8" and a.ndim == 1:  # a residual
        return Operand(OPAQUE, Layout(key="cupy"))
    t = TensorType(tuple(a.shape), dtype(name))
    return (
        Operand(t) if a.flags.c_contiguous else Operand(t, Layout(tuple(s // a.itemsize for s in a.strides)))
    )


def _stored(d: DType, arrays: Sequence[Any]) -> Any:
    """CuPy's type for a result: that of an operand, for bfloat16 is none of NumPy's."""
    return next((a.dtype for a in arrays if str(a.dtype) == d.name), d.storage)


def _empty(shape: Sequence[int], kind: Any) -> Any:
    import cupy

    return cupy.empty(tuple(shape), kind)


def address(a: Any) -> int:
    return int(a.data.ptr)
