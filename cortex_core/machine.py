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

KEPT = 8192  # kinds of applications that are kept ready

Compute = Callable[[Any, Sequence[Any]], Any]
Types = tuple[TensorType, ...]


class Machine:
    """A backend for eager use.  ``ready[key]`` is (types of the results, function) for a kind of application.

    The key is the primitive, without the values of its literals, and the types of the operands.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.name = backend.name
        self.stream = backend.devices()[0].stream()
        self.ready: dict[Any, tuple[Types, Compute]] = {}

    def prepare(self, key: Any, primitive: Primitive, types: Types) -> tuple[Types, Compute]:
        """Makes and keeps what runs this kind of application.  Raises what `infer` raises."""
        results = primitive.infer(*types)
        compute = VIEWS.get(type(primitive)) or self._direct(primitive, types) or self._bound(types, results)
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
            outputs: list[Any] = [np.empty(t.shape, t.dtype.storage) for t in results]
            if primitive.residual:
                outputs[-1] = kept = Residual(offer.residual, np.uint8)
                kept.layout = offer.residual_layout
            self._launch(offer, arrays, outputs)
            return tuple(outputs)

        return compute

    def _offer(
        self, primitive: Primitive, types: Types, arrays: Sequence[Any]
    ) -> tuple[Offer, Sequence[Any]]:
        """The offer for operands as they lie, or for dense copies where it wants these."""
        layouts = tuple(map(_layout, arrays))
        offer = self.backend.offer(primitive, tuple(map(Operand, types, layouts)))
        if isinstance(offer, Offer) and _accepts(offer, layouts):
            return offer, arrays
        arrays = [a if isinstance(a, Residual) else np.asarray(a, order="C") for a in arrays]
        offer = self.backend.offer(primitive, tuple(map(Operand, types, map(_layout, arrays))))
        if not isinstance(offer, Offer):
            raise BackendError(f"{self.name}: {primitive}: {offer.reason}")
        return offer, arrays

    def _launch(self, offer: Offer, arrays: Sequence[Any], outputs: Sequence[Any]) -> None:
        workspace = np.empty(offer.workspace, np.uint8)
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


def _accepts(offer: Offer, layouts: Sequence[Layout]) -> bool:
    """Whether the offer takes the operands as they were proposed."""
    return offer.layouts is None or offer.layouts[: len(layouts)] == tuple(layouts)


class Residual(np.ndarray):
    """What a forward keeps for its gradient; ``layout`` says who can read it."""

    layout: Layout


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
    return (np.broadcast_to(arrays[0], p.shape),)


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


@contextmanager
def using(backend: str) -> Iterator[None]:
    """Tensors that are made inside, of numbers that are none yet, are on this backend."""
    machine(backend)
    token = _default.set(backend)
    try:
        yield
    finally:
        _default.reset(token)
