"""The sources that the cases of the conformance kit ask for; no GPU is needed to make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from cortex_compute.primitives.base import OPAQUE, Primitive
from cortex_compute.protocol import ROW_MAJOR, Layout, Offer, Operand
from cortex_compute.types import DType
from cortex_compute.verify.case import Case, cases_of
from cortex_compute.verify.placement import backwards, spaced, turned
from cortex_compute.verify.run import primitives
from cortex_compute.verify.trial import Strides, Trial
from cortex_gpu.backend import CupyBackend, Gpu
from cortex_gpu.kernels import Source

Wanted = Callable[[str], bool]
WAYS: tuple[Strides | None, ...] = (None, turned, spaced, backwards)  # to lay operands into memory


class Offline:
    """The backend, with a device of no use."""

    def __init__(self) -> None:
        self.backend = CupyBackend(Gpu())

    def devices(self) -> Sequence[None]:
        return (None,)

    def sources(self, case: Case, d: DType, ways: Sequence[Strides | None]) -> Iterator[Source]:
        """What a case asks for, its operands row-major or in other ways where that is not refused."""
        types = Trial(self, case, d, (None, None)).types  # type: ignore[arg-type]
        residual = ROW_MAJOR
        if case.forward is not None:
            forward, which = case.forward
            offer = self._offer(forward, [Operand(types[k]) for k in which])
            assert offer is not None, forward
            residual = offer.residual_layout
            yield from offer.build().sources  # type: ignore[attr-defined]
        for strides in ways:
            layouts = [residual if t == OPAQUE else Layout(strides and strides(t.shape)) for t in types]
            offer = self._offer(case.primitive, list(map(Operand, types, layouts)))
            if offer is not None:
                yield from offer.build().sources  # type: ignore[attr-defined]

    def _offer(self, primitive: Primitive, operands: Sequence[Operand]) -> Offer | None:
        answer = self.backend.offer(primitive, operands)
        return answer if isinstance(answer, Offer) else None


def collected(
    all_types: bool = True,
    ways: Sequence[Strides | None] = WAYS,
    wanted: Wanted = lambda name: True,
) -> dict[str, str]:
    """Each distinct text, with the case that asked for it; in one data type of each case, or in all.

    ``wanted`` is asked with ``Primitive/case/dtype``.
    """
    offline, found = Offline(), dict[str, str]()
    for primitive in primitives():
        for case in () if primitive.view else cases_of(primitive):
            for d in case.dtypes if all_types else case.dtypes[:1]:
                name = f"{primitive.__name__}/{case.name}/{d}"
                for source in offline.sources(case, d, ways) if wanted(name) else ():
                    found.setdefault(source.text, f"{source.name} of {name}")
    return found
