"""The backend object: the table from primitives to offers, over NumPy's memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from importlib import import_module
from typing import Any, TypeVar

from cortex_compute.numpy_backend.backend import HostDevice
from cortex_compute.onednn_backend.constants import DTYPES
from cortex_compute.onednn_backend.descriptors import Unimplemented
from cortex_compute.onednn_backend.epilogue import Untranslatable
from cortex_compute.onednn_backend.library import load
from cortex_compute.onednn_backend.team import Team
from cortex_compute.primitives.base import OPAQUE, Primitive
from cortex_compute.primitives.convolution import Conv
from cortex_compute.primitives.elementwise import Copy
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_compute.types import DType, bfloat16, float32

OfferFunction = Callable[[Any, Sequence[Operand]], "Offer | Refusal"]
P = TypeVar("P", bound=Primitive)

OFFERS: dict[type[Primitive], OfferFunction] = {}
FAMILIES = (
    "packing", "matrix", "convolution", "pooling", "normalization", "softmax", "reduce", "elementwise",
    "recurrence", "attention",
)  # fmt: skip
ISA = {
    0x1: "SSE4.1", 0x3: "AVX", 0x7: "AVX2", 0xF: "AVX2 VNNI", 0x1F: "AVX2 VNNI 2", 0x27: "AVX-512",
    0x67: "AVX-512 VNNI", 0xE7: "AVX-512 VNNI BF16", 0x1EF: "AVX-512 FP16", 0xFEF: "AMX", 0x1FEF: "AMX FP16",
}  # fmt: skip
BFLOAT16 = 0x80  # the bit of AVX512_BF16, which AMX includes; AVX2 VNNI 2 has no gradients in bfloat16


def offers(*primitives: type[P]) -> Callable[[OfferFunction], OfferFunction]:
    """Registers the function that answers for some classes of primitives."""

    def register(function: OfferFunction) -> OfferFunction:
        OFFERS.update(dict.fromkeys(primitives, function))
        return function

    return register


def _answering(primitive: type[Primitive]) -> OfferFunction | None:
    """What answers for a class of primitives; its family is imported when the first of it is met."""
    family = "packing" if primitive is Copy else primitive.__module__.rpartition(".")[2]
    if primitive not in OFFERS and family in FAMILIES:
        import_module(f"cortex_compute.onednn_backend.{family}")
    return OFFERS.get(primitive)


class OneDnnBackend:
    """Runs in float32 and bfloat16 what oneDNN has fast kernels for; the rest it refuses.

    Its kernels are made for ``threads`` threads and run on them.
    """

    name = "onednn"
    choices = frozenset({"deterministic"})  # as it always is, for one number of threads
    asynchronous = False

    def __init__(self, threads: int) -> None:
        self.library = load()
        self._team = Team(self.library, threads)
        self._devices = (HostDevice(self._team.settings),)
        self._cached = lru_cache(maxsize=4096)(self._offer)

    def devices(self) -> Sequence[HostDevice]:
        return self._devices

    def offer(self, primitive: Primitive, operands: Sequence[Operand]) -> Offer | Refusal:
        return self._cached(primitive, tuple(operands))

    def single(self) -> OneDnnBackend:
        return self._single

    @cached_property
    def _single(self) -> OneDnnBackend:
        return self if self._team.size == 1 else OneDnnBackend(threads=1)

    def _offer(self, primitive: Primitive, operands: tuple[Operand, ...]) -> Offer | Refusal:
        answer = _answering(type(primitive))
        if answer is None:
            return Refusal(f"oneDNN has no kernel for {primitive.name}")
        types = [o.type for o in operands if o.type != OPAQUE]
        if types and types[0].dtype not in (float32, bfloat16):
            return Refusal(f"oneDNN computes in float32 and bfloat16, not in {types[0].dtype}")
        if any(t.dtype not in DTYPES for t in types):
            return Refusal(
                f"oneDNN reads no {', '.join(t.dtype.name for t in types if t.dtype not in DTYPES)}"
            )
        results = primitive.infer(*(o.type for o in operands))
        if not self._has_bfloat16 and bfloat16 in (t.dtype for t in (*types, *results)):
            return Refusal(self.precision(bfloat16))
        if any(0 in t.shape for t in types):
            return Refusal("oneDNN wants at least one element")
        opaque = [k for k, o in enumerate(operands) if o.layout.key and o.type != OPAQUE]
        if opaque and not (opaque == [1] and isinstance(primitive, (Gemm, Conv))):
            return Refusal("oneDNN chooses the layout of weights alone")
        self._team.gather()  # the descriptions that an offer makes are for so many threads
        try:
            return answer(primitive, operands)
        except (Unimplemented, Untranslatable) as refusal:
            return Refusal(str(refusal))

    def precision(self, dtype: DType) -> str:
        if dtype is not bfloat16 or self._has_bfloat16:
            return ""
        return (
            f"this CPU ({self._instructions}) has neither AVX512_BF16 nor AMX, which bfloat16 wants: "
            "train in float32"
        )

    @property
    def _has_bfloat16(self) -> bool:
        return bool(self.library.instructions & BFLOAT16)

    @property
    def _instructions(self) -> str:
        isa = self.library.instructions
        return ISA.get(isa, hex(isa))

    def describe(self) -> dict[str, str]:
        version = self.library.version
        return {
            "version": f"{version.major}.{version.minor}.{version.patch}",
            "instructions": self._instructions,
            "threads": str(self._team.size),
            "library": self.library.path,
        }
