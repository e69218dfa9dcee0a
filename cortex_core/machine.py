"""What eager ops run on: a backend, its inline stream, and the kernels that were used, kept ready."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import numpy as np

from cortex_compute.errors import BackendError
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.views import Broadcast, Reshape, Slice, Transpose
from cortex_compute.protocol import ROW_MAJOR, Backend, Layout, Offer, Operand
from cortex_compute.threads import threads
from cortex_compute.types import TensorType
from cortex_core.memory import empty

BYTE = np.dtype(np.uint8)
COPY = 2e-10  # seconds that a byte takes on its way to where it lies dense
KEPT = 8192  # kinds of applications that are kept ready

Compute = Callable[[Any, Sequence[Any]], Any]
Types = tuple[TensorType, ...]


class Machine:
    """A backend for eager use.  ``ready[key]`` is (types of the results, function) for a kind of application.

    The key is the primitive, without the values of its literals, and the types of the operands.
    """

    def __init__(self, backend: Backend) -> None:
        expect_host(backend, "eager code")
        self.backend = backend
        self.name = backend.name
        self.stream = backend.devices()[0].stream()
        self.ready: dict[Any, tuple[Types, Compute]] = {}

    def prepare(self, key: Any, primitive: Primitive, types: Types) -> tuple[Types, Compute]:
        """Makes and keeps what runs this kind of application.  Raises what `infer` raises."""
        results = primitive.infer(*types)
        compute = VIEWS.get(type(primitive)) or self._direct(primitive, types) or self._bound(types, results)
        if type(primitive) is Elementwise:
            compute = self._as_it_lies(types, results[0].shape, compute)
        if len(self.ready) >= KEPT:
            self.ready.clear()
        self.ready[key] = results, compute
        return results, compute

    def _direct(self, primitive: Primitive, types: Types) -> Compute | None:
        offer = self.backend.offer(primitive, tuple(map(Operand, types)))
        return offer.direct() if isinstance(offer, Offer) else None

    def _bound(self, types: Types, results: Types) -> Compute:
        def compute(primitive: Any, arrays: Sequence[Any]) -> tuple[Any, ...]:
            offer, arrays = self._offer(primitive, types, arrays)
            outputs: list[Any] = [empty(t.shape, t.dtype.storage) for t in results]
            if primitive.residual:
                outputs[-1] = kept = Residual(offer.residual, np.uint8)
                kept.layout = offer.residual_layout
            self._launch(offer, arrays, outputs)
            return tuple(outputs)

        return compute

    def _as_it_lies(self, types: Types, shape: tuple[int, ...], compute: Compute) -> Compute:
        """Pointwise work over memory that is dense with its axes in another order, as channels-last images
        that are seen channels first: the result lies in that order too, and nothing is copied.
        """
        whole = next((k for k, t in enumerate(types) if t.shape == shape), None)
        if whole is None:
            return compute

        def run(primitive: Any, arrays: Sequence[Any]) -> Any:
            order = None if arrays[whole].flags.c_contiguous else dense_order(arrays[whole])
            if order is None:
                return compute(primitive, arrays)
            turned = [a.reshape((1,) * (len(shape) - a.ndim) + a.shape).transpose(order) for a in arrays]
            key = (kind_of(primitive), *[TensorType(a.shape, t.dtype) for a, t in zip(turned, types)])
            _, over = self.ready.get(key) or self.prepare(key, primitive, key[1:])
            back = [order.index(axis) for axis in range(len(order))]
            return tuple(y.transpose(back) for y in over(primitive, turned))

        return run

    def _offer(
        self, primitive: Primitive, types: Types, arrays: Sequence[Any]
    ) -> tuple[Offer, Sequence[Any]]:
        """The offer for operands as they lie, or for dense copies where it wants these or is faster so."""
        layouts = tuple(map(_layout, arrays))
        answer = self.backend.offer(primitive, tuple(map(Operand, types, layouts)))
        given = answer if isinstance(answer, Offer) and _accepts(answer, layouts) else None
        turned = [not (isinstance(a, Residual) or a.flags.c_contiguous) for a in arrays]
        if given and not any(turned):
            return given, arrays
        dense = tuple(ROW_MAJOR if turn else layout for turn, layout in zip(turned, layouts))
        offer = self.backend.offer(primitive, tuple(map(Operand, types, dense)))
        copies = COPY * sum(t.nbytes for t, turn in zip(types, turned) if turn)
        if given and not (isinstance(offer, Offer) and offer.cost + copies < given.cost):
            return given, arrays
        arrays = [np.asarray(a, order="C") if turn else a for a, turn in zip(arrays, turned)]
        if not isinstance(offer, Offer):
            raise BackendError(f"{self.name}: {primitive}: {offer.reason}")
        return offer, arrays

    def _launch(self, offer: Offer, arrays: Sequence[Any], outputs: Sequence[Any]) -> None:
        workspace = empty((offer.workspace,), BYTE)
        with self.stream.active():
            offer.build().bind(arrays, outputs, workspace)(self.stream)

    def write(self, primitive: Primitive, arrays: Sequence[Any], targets: Sequence[Any]) -> None:
        """Applies a primitive with its results in the memory of ``targets``, which may be operands'."""
        self.bind(primitive, arrays, targets)()

    def bind(self, primitive: Primitive, arrays: Sequence[Any], targets: Sequence[Any]) -> Callable[[], None]:
        """What `write` does, ready to be done again and again on the same memory."""
        types = tuple(TensorType(a.shape, _dtype(a.dtype)) for a in arrays)
        offer, given = self._offer(primitive, types, arrays)
        outputs = []
        for j, target in enumerate(targets):
            over = [k for k, a in enumerate(arrays) if np.may_share_memory(a, target)]
            same = all(given[k] is target and (k, j) in offer.reuse for k in over)
            dense = offer.strided_outputs or target.flags.c_contiguous
            outputs.append(target if same and dense else np.empty(target.shape, target.dtype))
        launch = offer.build().bind(given, outputs, np.empty(offer.workspace, np.uint8))
        before = [(new, old) for new, old in zip(given, arrays) if new is not old]
        after = [(target, output) for target, output in zip(targets, outputs) if target is not output]

        def run() -> None:
            for copy, array in before:
                np.copyto(copy, array)
            with self.stream.active():
                launch(self.stream)
            for target, output in after:
                np.copyto(target, output)

        return run


def expect_host(backend: Backend, what: str) -> None:
    """Refuses a backend whose memory is not the host's, where ``what`` shares memory with NumPy arrays."""
    if backend.asynchronous:
        raise BackendError(
            f"{what} runs on the CPU, in whose memory Tensors lie, not on {backend.name}; there a "
            "description runs, by cortex.train or cortex.compile"
        )


def _accepts(offer: Offer, layouts: Sequence[Layout]) -> bool:
    """Whether the offer takes the operands as they were proposed."""
    return offer.layouts is None or offer.layouts[: len(layouts)] == tuple(layouts)


class Residual(np.ndarray):
    """What a forward keeps for its gradient; ``layout`` says who can read it."""

    layout: Layout


def dense_order(array: np.ndarray) -> tuple[int, ...] | None:
    """The order of the axes in which an array lies row-major; None where it has gaps or repeats."""
    if array.flags.c_contiguous:
        return tuple(range(array.ndim))
    order = tuple(sorted(range(array.ndim), key=lambda a: -array.strides[a]))
    return order if array.transpose(order).flags.c_contiguous else None


def _layout(a: Any) -> Layout:
    if isinstance(a, Residual):
        return a.layout
    if a.flags.c_contiguous:
        return ROW_MAJOR
    item = a.itemsize
    if any(s % item for s in a.strides):  # a field of a record: no whole number of elements apart
        return Layout(key="records")
    return Layout(tuple(s // item for s in a.strides))


def _dtype(storage: Any) -> Any:
    from cortex_compute.types import dtype

    return dtype(storage)


def kind_of(primitive: Any) -> Any:
    """What kernels depend on: the primitive, but not the values of an Elementwise's floating literals.

    (Whether an integer fits depends on its value.)
    """
    if type(primitive) is not Elementwise or not primitive.literals:
        return primitive
    known = primitive.__dict__.get("_kind")
    if known is None:
        kinds = tuple([x.kind if x.kind == "float" else x for x in primitive.literals])
        known = primitive.__dict__["_kind"] = primitive.code, kinds
    return known


def _reshape(p: Reshape, arrays: Sequence[Any]) -> tuple[Any, ...]:
    return (arrays[0].reshape(p.shape),)


def _transpose(p: Transpose, arrays: Sequence[Any]) -> tuple[Any, ...]:
    return (arrays[0].transpose(p.axes),)


def _slice(p: Slice, arrays: Sequence[Any]) -> tuple[Any, ...]:
    index = []
    for start, size, step in zip(p.starts, p.sizes, p.steps):
        stop = start + size * step
        index.append(slice(start, stop if stop >= 0 else None, step))
    return (arrays[0][(*index, ...)],)


def _broadcast(p: Broadcast, arrays: Sequence[Any]) -> tuple[Any, ...]:
    (x,) = arrays
    if not x.flags.c_contiguous:
        return (np.broadcast_to(x, p.shape),)
    front = len(p.shape) - x.ndim  # what NumPy's function does, in a seventh of its time
    own = [0 if n == 1 else s for n, s in zip(x.shape, x.strides)]
    y: Any = np.ndarray(p.shape, x.dtype, x, 0, [0] * front + own)
    y.flags.writeable = False
    return (y,)


VIEWS: dict[type[Primitive], Compute] = {
    Reshape: _reshape,
    Transpose: _transpose,
    Slice: _slice,
    Broadcast: _broadcast,
}


@cache
def _made(name: str, threads: int) -> Machine:
    from cortex_compute.backends import get

    return Machine(get(name))


_default: ContextVar[str] = ContextVar("the backend of new tensors", default="auto")


def machine(name: str = "") -> Machine:
    """The machine over the backend of this name, made once for a number of threads; without a name that of
    new tensors.
    """
    return _made(name or _default.get(), threads())


class Anywhere:
    """What arrays that are no Tensors yet are on: they go where the Tensors are that they meet, else where
    new ones are.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(machine(), name)


ANYWHERE: Any = Anywhere()


@contextmanager
def using(backend: str) -> Iterator[None]:
    """Tensors that are made inside, of numbers that are none yet, are on this backend."""
    machine(backend)
    token = _default.set(backend)
    try:
        yield
    finally:
        _default.reset(token)
