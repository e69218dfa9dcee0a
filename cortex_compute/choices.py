"""Choices of the machine: neither in a description nor in its hash.

``cudnn``: whether a GPU's convolutions go to cuDNN: "auto" where it is installed, "always" (its absence is an
error) or "never".  ``deterministic``: equal runs give equal bits, also where other kernels would be faster.
``tf32``: products of float32 may round their factors to 10 bits, which tensor cores take.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields

from cortex_compute.errors import BackendError
from cortex_compute.frozen import frozen

POLICIES = ("auto", "always", "never")
ON, OFF = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


@frozen
class Choices:
    """One set of them."""

    cudnn: str = "auto"
    deterministic: bool = False
    tf32: bool = False


def choices() -> Choices:
    """What `choose` said, else the environment: CORTEX_CUDNN, CORTEX_DETERMINISTIC, CORTEX_TF32."""
    return Choices(*(_chosen.get(f.name, _from_environment(f.name)) for f in fields(Choices)))  # type: ignore[arg-type]


def choose(cudnn: str | None = None, deterministic: bool | None = None, tf32: bool | None = None) -> None:
    """Sets choices for the rest of the process; None leaves one as it is.  Backends are made anew then.

    ``cudnn``: "auto" (take cuDNN where it is installed and has a kernel), "always" or "never".
    ``deterministic``: True for equal bits in equal runs.  ``tf32``: True lets products of float32 round their
    factors.  A `BackendError` for any other value.
    """
    if cudnn is not None and cudnn not in POLICIES:
        raise BackendError(f"cudnn is {cudnn!r:.40}; known are {', '.join(POLICIES)}")
    for name, value in (("deterministic", deterministic), ("tf32", tf32)):
        if value is not None and not isinstance(value, bool):
            raise BackendError(f"{name} is {value!r:.40}; expected True or False")
    given = {"cudnn": cudnn, "deterministic": deterministic, "tf32": tf32}
    _chosen.update({name: value for name, value in given.items() if value is not None})


def given() -> tuple[object, ...]:
    """What `choices` depends on, whether it is right or not: only who has choices looks at them."""
    return (*sorted(_chosen.items()), *(os.environ.get(_variable(f.name)) for f in fields(Choices)))


@contextmanager
def chosen(
    cudnn: str | None = None, deterministic: bool | None = None, tf32: bool | None = None
) -> Iterator[None]:
    """Choices that hold inside."""
    before = dict(_chosen)
    try:
        choose(cudnn, deterministic, tf32)
        yield
    finally:
        _chosen.clear()
        _chosen.update(before)


_chosen: dict[str, object] = {}


def _variable(name: str) -> str:
    return f"CORTEX_{name.upper()}"


def _from_environment(name: str) -> object:
    variable = _variable(name)
    text = os.environ.get(variable, "")
    if name == "cudnn":
        if text and text not in POLICIES:
            raise BackendError(f"{variable} is {text!r:.40}; known are {', '.join(POLICIES)}")
        return text or "auto"
    if text.lower() not in ON + OFF:
        raise BackendError(f"{variable} is {text!r:.40}; known are {', '.join(ON)} and {', '.join(OFF[1:])}")
    return text.lower() in ON
