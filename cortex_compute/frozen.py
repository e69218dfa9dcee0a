"""Frozen dataclasses that share their methods.

``dataclass(frozen=True)`` writes and compiles six methods for each class.  For all classes of a vocabulary
that is a good part of the time from the start of a process to its first result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: object) -> Callable[[Any], Any]:
        return lambda decorator: decorator


T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def frozen(cls: type[T]) -> type[T]:
    """What ``dataclass(frozen=True)`` makes, but for ``default_factory``."""
    cls.__doc__ = cls.__doc__ or cls.__name__  # else dataclass writes out the signature, which takes longest
    made: Any = dataclass(init=False, repr=False, eq=False)(cls)
    made._defaults = {f.name: f.default for f in fields(made)}
    for method in (_init, _repr, _eq, _hash, _getstate, _setattr, _delattr):
        setattr(made, f"_{method.__name__}__", method)
    if hasattr(cls, "__post_init__"):
        made.__init__ = _init_and_check
    return made  # type: ignore[no-any-return]


def _init(self: Any, *values: object, **named: object) -> None:
    names: dict[str, object] = self._defaults
    if not named and len(values) == len(names):  # the common case
        self.__dict__.update(zip(names, values))
        return
    given = dict(zip(names, values))
    wrong = [n for n in named if n not in names or n in given]
    if wrong or len(values) > len(names):
        takes = f"{type(self).__name__} takes {', '.join(names) or 'nothing'}"
        raise TypeError(
            f"{takes}; {wrong[0]!r} is unknown or given twice" if wrong else f"{takes}, once each"
        )
    given.update(named)
    missing = [n for n, default in names.items() if default is MISSING and n not in given]
    if missing:
        raise TypeError(f"{type(self).__name__} needs {', '.join(missing)}")
    self.__dict__.update({**names, **given})


def _init_and_check(self: Any, *values: object, **named: object) -> None:
    _init(self, *values, **named)
    self.__post_init__()


def _values(self: Any) -> tuple[Any, ...]:
    known: tuple[Any, ...] | None = self.__dict__.get("_key")
    if known is None:
        known = self.__dict__["_key"] = tuple(map(self.__dict__.__getitem__, self._defaults))
    return known


def _repr(self: Any) -> str:
    listed = ", ".join(f"{name}={value!r}" for name, value in zip(self._defaults, _values(self)))
    return f"{type(self).__name__}({listed})"


def _eq(self: Any, other: Any) -> bool:
    return self is other or (type(self) is type(other) and _values(self) == _values(other))


def _hash(self: Any) -> int:
    known: int | None = self.__dict__.get("_hashed")
    if known is None:
        known = self.__dict__["_hashed"] = hash((type(self), _values(self)))
    return known


def _getstate(self: Any) -> dict[str, Any]:
    """The fields alone: a hash holds in one process only."""
    return dict(zip(self._defaults, _values(self)))


def _setattr(self: Any, name: str, value: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field '{name}': use dataclasses.replace")


def _delattr(self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field '{name}'")
