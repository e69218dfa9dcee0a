"""The backend object: its device, and the table from primitives to offers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeVar

import numpy as np

from cortex_compute.numpy_backend.bfloat16 import converted, half_type
from cortex_compute.numpy_backend.memory import HostBuffer, HostInbox
from cortex_compute.numpy_backend.streams import InlineStream, Settings, WorkerStream, settings
from cortex_compute.primitives.base import OPAQUE, Primitive
from cortex_compute.protocol import ROW_MAJOR, Launch, Layout, Offer, Operand, Refusal
from cortex_compute.types import DType, TensorType, bfloat16

Bind = Callable[[Sequence[Any], Sequence[Any], Any], Callable[[], None]]
OfferFunction = Callable[[Any, Sequence[Operand]], "Offer | Refusal"]
P = TypeVar("P", bound=Primitive)

RESIDUAL = Layout(key="numpy")  # what a forward keeps is read by this backend alone

OFFERS: dict[type[Primitive], OfferFunction] = {}
FAMILIES = (
    "elementwise", "reduce", "matrix", "convolution", "pooling", "normalization", "softmax", "indexing",
    "random", "attention", "recurrence",
)  # fmt: skip


class NumpyKernel:
    """A kernel made of a function that binds arrays and returns a call without arguments."""

    def __init__(self, bind: Bind) -> None:
        self._bind = bind

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        call = self._bind(inputs, outputs, workspace)
        return lambda stream: stream.launch(call)


def offers(primitive: type[P]) -> Callable[[OfferFunction], OfferFunction]:
    """Registers the function that answers for one class of primitives."""

    def register(function: OfferFunction) -> OfferFunction:
        OFFERS[primitive] = function
        return function

    return register


def _answering(primitive: type[Primitive]) -> OfferFunction | None:
    """What answers for a class of primitives; its family is imported when the first of it is met."""
    family = primitive.__module__.rpartition(".")[2]
    if primitive not in OFFERS and family in FAMILIES:
        import_module(f"cortex_compute.numpy_backend.{family}")
    return OFFERS.get(primitive)


def kernel(bind: Bind, **facts: Any) -> Offer:
    """An offer whose kernel is ``bind``, with the facts that `Offer` names."""
    return Offer(build=lambda: NumpyKernel(bind), implementation="numpy", **facts)


class HostDevice:
    """The memory and the cores of this machine.  Kernels run within ``settings`` of their thread."""

    name = "cpu"

    def __init__(self, settings: Settings = settings) -> None:
        self._settings = settings

    def memory(self) -> tuple[int, int]:
        page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
        if not page:
            return 0, 0
        return page * os.sysconf("SC_AVPHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES")

    def empty(self, nbytes: int) -> HostBuffer:
        return HostBuffer(nbytes)

    def stream(self, worker: bool = False) -> InlineStream | WorkerStream:
        return (WorkerStream if worker else InlineStream)(self._settings)

    def inbox(self, types: Mapping[str, TensorType]) -> HostInbox:
        return HostInbox(types)


class NumpyBackend:
    """Runs every primitive of the vocabulary in float16, float32, float64, and bfloat16 by way of float32."""

    name = "numpy"
    choices = frozenset({"deterministic"})  # as it always is
    asynchronous = False

    def __init__(self) -> None:
        self._devices = (HostDevice(),)
        self._cached = lru_cache(maxsize=4096)(self._offer)

    def devices(self) -> Sequence[HostDevice]:
        return self._devices

    def offer(self, primitive: Primitive, operands: Sequence[Operand]) -> Offer | Refusal:
        return self._cached(primitive, tuple(operands))

    def single(self) -> NumpyBackend:
        return self  # BLAS itself decides what is worth sharing out

    @staticmethod
    def _offer(primitive: Primitive, operands: tuple[Operand, ...]) -> Offer | Refusal:
        answer = _answering(type(primitive))
        if answer is None:
            return Refusal(f"numpy has no kernel for {primitive.name}")
        for operand in operands:
            if operand.layout.key and (operand.type != OPAQUE or operand.layout != RESIDUAL):
                return Refusal(f"numpy cannot read the layout {operand.layout.key}")
        half = half_type(primitive, [o.type for o in operands])
        offer = converted(primitive, operands, half, answer) if half else answer(primitive, operands)
        if isinstance(offer, Refusal) or not primitive.residual:
            return offer
        outputs = len(primitive.infer(*(o.type for o in operands)))
        visible = (*(o.layout for o in operands), *(ROW_MAJOR,) * (outputs - 1))
        return replace(offer, layouts=(*visible, RESIDUAL))

    def precision(self, dtype: DType) -> str:
        if dtype is not bfloat16:
            return ""
        return (
            "numpy computes bfloat16 in float32, slower than float32 itself: use the onednn backend on a CPU "
            "with AVX512_BF16 or AMX"
        )

    def describe(self) -> dict[str, str]:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return {
            "version": np.__version__,
            "blas": f"{blas.get('name')} {blas.get('version')}",
            "cores": str(os.cpu_count()),
        }
