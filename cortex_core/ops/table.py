"""The table of the language: every public op with what its tests, its documentation and its faces need.

An op is written in one place.  The decorated function computes it, its docstring derives its gradient, and
the decorator says which calls the tests make and which function of PyTorch must agree.  From the table come
the methods of `Array`, the names of the package's face, the tests, the page of docs, and `explain`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
# PyTorch's word: NumPy's, in which the ops are written
SPELLINGS = {"dim": "axis", "dims": "axis", "keepdim": "keepdims"}


class Draw(NamedTuple):
    """An array that a test draws: its shape, and what its numbers are like."""

    shape: tuple[int, ...]
    domain: str
    below: int = 0


class Sample(NamedTuple):
    """One call that the tests make: a `Draw` becomes an array, the rest stays as it is."""

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


class Op(NamedTuple):
    """A row of the table.

    ``torch`` is the peer: a name below ``torch``, a function that gets the module ``torch`` and then the
    arguments of the sample, or None.  ``methods`` are the names under which an Array has it.  An op is
    ``symbolic`` unless the shape of its result depends on numbers.
    """

    name: str
    function: Callable[..., Any]
    samples: tuple[Sample, ...]
    torch: str | Callable[..., Any] | None
    aliases: tuple[str, ...]
    methods: tuple[str, ...]
    gradient: bool
    symbolic: bool


OPS: dict[str, Op] = {}


def normal(*shape: int) -> Draw:
    """Normal numbers."""
    return Draw(shape, "normal")


def positive(*shape: int) -> Draw:
    """Numbers above 0, and not close to it."""
    return Draw(shape, "positive")


def unit(*shape: int) -> Draw:
    """Numbers inside (0, 1)."""
    return Draw(shape, "unit")


def distinct(*shape: int) -> Draw:
    """Numbers of which no two are close to each other, in no order."""
    return Draw(shape, "distinct")


def integers(*shape: int, below: int) -> Draw:
    """Whole numbers from 0 to ``below`` - 1."""
    return Draw(shape, "integers", below)


def booleans(*shape: int) -> Draw:
    """True and False."""
    return Draw(shape, "booleans")


def sample(*arguments: Any, **keywords: Any) -> Sample:
    """One call of an op, in PyTorch's spelling where it differs from NumPy's (``dim``, ``keepdim``)."""
    return Sample(arguments, keywords)


def op(
    *samples: Sample,
    name: str | None = None,
    torch: str | Callable[..., Any] | None = "",
    aliases: tuple[str, ...] = (),
    method: bool = True,
    gradient: bool = True,
    symbolic: bool = True,
) -> Callable[[F], F]:
    """Registers a function of the language.

    Args:
        samples: the calls that the tests make.
        name: what users call it, if that is not the function's name.
        torch: the peer in PyTorch, by default of the same name; None where there is none.
        aliases: other names that users know it by.
        method: whether it is a method of Tensors, under its name and its aliases.
        gradient: whether anything flows back through it; its docstring then derives how.
        symbolic: whether it works in programs: the shape of its result depends on shapes alone.

    A function with ``axis`` or ``keepdims`` then takes ``dim`` and ``keepdim`` too; others stay as they are.
    """

    def register(f: F) -> F:
        known = name or f.__name__
        if known in OPS:
            raise ValueError(f"two ops are called {known!r}")
        code = getattr(f, "__code__", None)
        parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if code else ()
        function: Any = _with_dim(known, f, parameters) if "axis" in parameters else f
        names = (known, *aliases)
        peer = known if torch == "" else torch
        OPS[known] = Op(known, function, samples, peer, aliases, names if method else (), gradient, symbolic)
        return function  # type: ignore[no-any-return]

    return register


def _with_dim(name: str, f: Callable[..., Any], parameters: tuple[str, ...]) -> Callable[..., Any]:
    """``f``, that also understands PyTorch's words, and rejects what it does not know by name."""

    @functools.wraps(f)
    def call(*args: Any, **keywords: Any) -> Any:
        for word in keywords:
            if word not in parameters:
                return f(*args, **_translated(name, args, keywords, parameters))
        return f(*args, **keywords)

    return call


def _translated(
    name: str, args: tuple[Any, ...], keywords: dict[str, Any], parameters: tuple[str, ...]
) -> dict[str, Any]:
    result = {}
    for word, value in keywords.items():
        own = SPELLINGS.get(word, word)
        if own not in parameters:
            takes = ", ".join(
                f"{p} (or {d})" if (d := _torch_word(p)) else p for p in parameters if not p.startswith("_")
            )
            numpys = "; a function of NumPy's takes x.numpy()" if "out" in keywords else ""
            raise TypeError(f"{name}: there is no argument {word!r}; it takes {takes}{numpys}")
        if own in result or (own != word and (own in keywords or parameters.index(own) < len(args))):
            raise TypeError(f"{name}: {own} and {_torch_word(own)} are one argument; give one of them")
        result[own] = value
    return result


def _torch_word(word: str) -> str | None:
    return next((d for d, own in SPELLINGS.items() if own == word), None)


def face() -> dict[str, Callable[..., Any]]:
    """Every op by each name that users know it by."""
    return {name: row.function for row in OPS.values() for name in (row.name, *row.aliases)}


def methods() -> dict[str, Callable[..., Any]]:
    """Every method of an Array that is an op."""
    return {name: row.function for row in OPS.values() for name in row.methods}
