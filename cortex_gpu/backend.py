"""The backend object: the table from primitives to offers, over a GPU's memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeVar

from cortex_compute.primitives.base import OPAQUE, Primitive
from cortex_compute.protocol import ROW_MAJOR, Device, Kernel, Offer, Operand, Refusal
from cortex_compute.types import DType
from cortex_gpu.device import CudaDevice
from cortex_gpu.kernels import RESIDUAL, GpuKernel
from cortex_gpu.modules import begin

P = TypeVar("P", bound=Primitive)
WAYS = ("cudnn", "cublaslt", "cupy")  # libraries, and what is generated here
FAMILIES = (
    "elementwise", "reduce", "matrix", "convolution", "cudnn_convolution", "pooling", "cudnn_window",
    "normalization", "softmax", "indexing",
    "scatter", "top_k", "scan", "random", "recurrence", "recurrence_grad",
    "cudnn_recurrence", "attention",
)  # fmt: skip


@dataclass(frozen=True)
class Gpu:
    """What offers may know of the machine.

    ``cudnn`` and ``cublaslt`` are the loaded libraries or None; ``policy`` says whether cuDNN's kernels are
    taken: auto, always, never.  ``deterministic``: equal runs give equal bits.  ``tf32``: products of float32
    may round their factors to 10 bits.  ``workspace``: the most bytes of scratch that a kernel may want.
    ``facts``: what `cortex backends` prints.
    """

    device: Device | None = None
    capability: tuple[int, int] = (8, 0)
    processors: int = 108  # streaming multiprocessors
    cudnn: Any = None
    cublaslt: Any = None
    policy: str = "auto"
    deterministic: bool = False
    tf32: bool = False
    workspace: int = 1 << 28
    facts: tuple[tuple[str, str], ...] = ()

    def current(self) -> AbstractContextManager[Any]:
        """Makes the GPU CuPy's current device."""
        raw: AbstractContextManager[Any] | None = getattr(self.device, "raw", None)
        return nullcontext() if raw is None else raw


class Lacking(Refusal):
    """A library has no kernel for what it should have one for; another way's offer tells it."""


OfferFunction = Callable[[Any, Sequence[Operand], Gpu], "Offer | Refusal"]
OFFERS: dict[type[Primitive], dict[str, OfferFunction]] = {}


def offers(*primitives: type[P], way: str = "cupy") -> Callable[[OfferFunction], OfferFunction]:
    """Registers the function that answers for some classes of primitives in one of the `WAYS`."""

    def register(function: OfferFunction) -> OfferFunction:
        for primitive in primitives:
            OFFERS.setdefault(primitive, {})[way] = function
        return function

    return register


class CupyBackend:
    """Runs every primitive of the vocabulary on an NVIDIA GPU.

    ``taken`` counts the kernels that were built, by (primitive, way); what a library lacked stands behind the
    way that was taken instead.
    """

    name = "cupy"
    choices = frozenset({"cudnn", "deterministic", "tf32"})
    asynchronous = True

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.taken: Counter[tuple[str, str]] = Counter()
        for family in FAMILIES:
            import_module(f"cortex_gpu.{family}")
        self._cached = lru_cache(maxsize=8192)(self._offer)

    def devices(self) -> Sequence[Device]:
        return () if self.gpu.device is None else (self.gpu.device,)

    def offer(self, primitive: Primitive, operands: Sequence[Operand]) -> Offer | Refusal:
        return self._cached(primitive, tuple(operands))

    def single(self) -> CupyBackend:
        return self

    def _offer(self, primitive: Primitive, operands: tuple[Operand, ...]) -> Offer | Refusal:
        ways = OFFERS.get(type(primitive), {})
        if not ways:
            return Refusal(f"cupy has no kernel for {primitive.name}")
        for operand in operands:
            if operand.layout.key and operand.type != OPAQUE:
                return Refusal(f"cupy cannot read the layout {operand.layout.key}")
        answers = [ways[way](primitive, operands, self.gpu) for way in self._wanted(ways)]
        good = [x for x in answers if isinstance(x, Offer)]
        if not good:
            return Refusal("; ".join(x.reason for x in answers if isinstance(x, Refusal)))
        best = min(good, key=lambda x: x.cost)
        lacking = [x.reason for x in answers if isinstance(x, Lacking)]
        if lacking and best.implementation == "cupy":
            best = replace(best, implementation=f"cupy ({'; '.join(lacking)})")
        return self._counted(primitive, _with_residual(best, primitive, operands))

    def _wanted(self, ways: dict[str, OfferFunction]) -> list[str]:
        """The ways that the policy allows and the libraries permit."""
        if self.gpu.policy == "always" and "cudnn" in ways:
            return ["cudnn"]
        absent = {"cudnn": self.gpu.cudnn is None or self.gpu.policy == "never",
                  "cublaslt": self.gpu.cublaslt is None}  # fmt: skip
        return [way for way in WAYS if way in ways and not absent.get(way, False)]

    def _counted(self, primitive: Primitive, offer: Offer) -> Offer:
        def build() -> Kernel:
            self.taken[primitive.name, offer.implementation] += 1
            made = offer.build()
            if isinstance(self.gpu.device, CudaDevice) and isinstance(made, GpuKernel):
                for source in made.sources:
                    begin(source, self.gpu.device.index)
            return made

        return replace(offer, build=build)

    def precision(self, dtype: DType) -> str:
        return ""

    def describe(self) -> dict[str, str]:
        return dict(self.gpu.facts)


def _with_residual(offer: Offer, primitive: Primitive, operands: Sequence[Operand]) -> Offer:
    """The offer with the layout of its residual, where the offer itself does not say it."""
    if not primitive.residual or offer.layouts is not None:
        return offer
    outputs = len(primitive.infer(*(o.type for o in operands)))
    visible = (*(o.layout for o in operands), *(ROW_MAJOR,) * (outputs - 1))
    return replace(offer, layouts=(*visible, RESIDUAL))
