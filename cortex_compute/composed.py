"""Several backends over the same memory as one: the cheapest offer is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache

from cortex_compute.primitives.base import Primitive
from cortex_compute.protocol import Backend, Device, Offer, Operand, Refusal
from cortex_compute.types import DType


class Composed:
    """What the first backend refuses or does dearer, the others take.

    Bears the first one's name, devices and facts; an offer's ``implementation`` says who runs it.
    """

    def __init__(self, *parts: Backend) -> None:
        self.parts = parts
        self.name = parts[0].name
        self.choices, self.asynchronous = parts[0].choices, parts[0].asynchronous
        self._cached = lru_cache(maxsize=4096)(self._offer)

    def devices(self) -> Sequence[Device]:
        return self.parts[0].devices()

    def offer(self, primitive: Primitive, operands: Sequence[Operand]) -> Offer | Refusal:
        return self._cached(primitive, tuple(operands))

    def single(self) -> Composed:
        return self._single

    @cached_property
    def _single(self) -> Composed:
        parts = [part.single() for part in self.parts]
        return self if all(a is b for a, b in zip(parts, self.parts)) else Composed(*parts)

    def _offer(self, primitive: Primitive, operands: tuple[Operand, ...]) -> Offer | Refusal:
        answers = [part.offer(primitive, operands) for part in self.parts]
        offers = [answer for answer in answers if isinstance(answer, Offer)]
        if offers:
            best = min(offers, key=lambda offer: offer.cost)
            return replace(best, direct=lambda: next(filter(None, (o.direct() for o in offers)), None))
        return Refusal("; ".join(a.reason for a in answers if isinstance(a, Refusal)))

    def precision(self, dtype: DType) -> str:
        return self.parts[0].precision(dtype)

    def describe(self) -> dict[str, str]:
        facts = self.parts[0].describe()
        return facts | {"for the rest": ", ".join(part.name for part in self.parts[1:])}
