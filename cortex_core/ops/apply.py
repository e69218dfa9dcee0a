"""The one way to apply a primitive.  The operands decide the interpreter: there is no ambient mode.

Where an application happens (which line of a description) is known through `at`; a node stores it, and a
shape error gets it once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from cortex_compute.errors import CortexError, DTypeError, ShapeError
from cortex_compute.primitives.base import Primitive
from cortex_core.ops.array import Array
from cortex_core.place import Place

PLACE: ContextVar[Place | None] = ContextVar("PLACE", default=None)


class at:
    """Nodes made inside come from ``place``."""

    __slots__ = ("_place", "_token")

    def __init__(self, place: Place | None) -> None:
        self._place = place

    def __enter__(self) -> None:
        self._token = PLACE.set(self._place)

    def __exit__(self, *error: object) -> None:
        PLACE.reset(self._token)


@contextmanager
def told_at(place: Place | None) -> Iterator[None]:
    """As `at`; an error of shapes or data types says where it is, also where no primitive has raised it."""
    with at(place):
        try:
            yield
        except (ShapeError, DTypeError) as error:
            raise _placed(error, place) from None


def apply(primitive: Primitive, *operands: Any) -> Any:
    """Applies ``primitive``: one result, or a tuple of them.

    If any operand is symbolic the result is; else it is a Tensor.  ndarrays are lifted: a Tensor shares their
    memory, in a graph they become constants.
    """
    kind = interpreter(operands)
    lifted = [x if isinstance(x, kind) else kind.lift(x) for x in operands]
    place = PLACE.get()
    try:
        out = kind.run(primitive, lifted, place)
    except (ShapeError, DTypeError) as error:
        raise _placed(error, place) from None
    return out[0] if len(out) == 1 else out


def interpreter(operands: tuple[Any, ...]) -> type[Array]:
    """The class whose `run` an application over these operands uses."""
    best: type[Array] | None = None
    for x in operands:
        if isinstance(x, Array):
            kind = x.kind
            if best is None or (kind is not best and kind.rank_of_kind > best.rank_of_kind):
                best = kind
    if best is None:
        from cortex_core.tensor import Tensor

        return Tensor
    return best


def _placed(error: CortexError, place: Place | None) -> CortexError:
    if place is None or getattr(error, "place", None) is not None:
        return error
    placed = type(error)(f"{place}: {error}")
    placed.place = place  # type: ignore[attr-defined]
    placed.reason = getattr(error, "reason", str(error))  # type: ignore[attr-defined]
    return placed
