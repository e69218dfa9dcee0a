"""Each name of the stand-in is one of CuPy's, with parameters of the same names in the same places.

CuPy's extension classes have no signatures; their docstrings begin with one.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gpu.standin import machine, package

pytestmark = pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed")
OWN = {"nodes", "detail"}  # what the stand-in alone has


def things() -> Iterator[tuple[str, Any]]:
    """The dotted name of everything public in the stand-in, with the thing."""
    for module, made in package.modules().items():
        for name, thing in vars(made).items():
            if not name.startswith("_") and not inspect.ismodule(thing):
                yield f"{module}.{name}", thing
                for member, value in vars(thing).items() if inspect.isclass(thing) else ():
                    if not member.startswith("_") and member not in OWN:
                        yield f"{module}.{name}.{member}", value


def real(name: str) -> Any:
    parts = name.split(".")
    for k in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:k]))
        except ImportError:
            continue
        for part in parts[k:]:
            found = getattr(found, part)
        return found
    raise AssertionError(name)


def parameters(thing: Any) -> list[str] | None:
    """The names of what a callable takes, without self; None where nothing says."""
    try:
        listed = list(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        first = (inspect.getdoc(thing) or "").split("\n")[0]
        found = re.match(r"[\w.]+\((.*)\)", first)
        if not found:
            return None
        listed = [re.split(r"[=:]", p)[0].split()[-1].lstrip("*") for p in found[1].split(",") if p.strip()]
    return [p for p in listed if p not in ("self", "")]


def differences(name: str, ours: Any) -> Iterator[str]:
    try:
        theirs = real(name)
    except AttributeError:
        yield f"{name} is not in CuPy"
        return
    mine, its = (parameters(ours), parameters(theirs)) if callable(ours) else (None, None)
    if mine is not None and its is not None and "args" not in its:
        shared = [p for p in its if p in mine]
        if [p for p in mine if p not in OWN] != shared:
            yield f"{name} takes {mine}, in CuPy {its}"


def test_names_and_parameters_are_cupys() -> None:
    found = [line for name, ours in things() for line in differences(name, ours)]
    assert not found, "\n".join(found)


def test_the_words_of_errors() -> None:
    from cupy.cuda.memory import OutOfMemoryError
    from cupy_backends.cuda.api.runtime import CUDARuntimeError

    from tests.gpu.standin import errors

    for status in errors.STATUS:
        assert str(errors.CUDARuntimeError(status)) == str(CUDARuntimeError(status))
    assert str(errors.OutOfMemoryError(1024, 512, 2048)) == str(OutOfMemoryError(1024, 512, 2048))
    assert machine.ALIGNMENT == 512
