"""Names and numbers of what a file says of training, where anything may stand: it changes no prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from reprlib import repr as shown
from typing import Any

import numpy as np

Config = Mapping[str, Any]


class Unsaid(Exception):
    """What our language cannot say, or what is not as Keras writes it: the message says why."""


def named(said: Any) -> tuple[str | None, Config]:
    """The class and the configuration of what stands in a file as a name, or as both."""
    if not isinstance(said, Mapping):
        return (said if isinstance(said, str) else None), {}
    inner = said.get("config")
    name = said.get("class_name") or said.get("name")
    if isinstance(inner, str):  # a function: {"class_name": "function", "config": its name}
        return inner, {}
    return (str(name) if name else None), inner if isinstance(inner, Mapping) else said


def short(name: str) -> str:
    """A name without its package, as all versions write it: "meansquarederror"."""
    return name.rpartition(">")[2].replace("_", "").lower()


def shortest(x: float) -> float:
    """The shortest number that is the same in float32, as which files have many: 0.01 of 0.00999999978."""
    with np.errstate(over="ignore"):
        small = np.float32(x)
    return float(str(small)) if float(small) == x else float(x)


def number(said: Any, what: str, above: float = -math.inf) -> float:
    """A finite number, of ``what``.  Raises `Unsaid`."""
    try:
        found = math.nan if isinstance(said, (bool, str)) else float(said)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not (math.isfinite(found) and found > above):
        raise Unsaid(f"{what} is {shown(said)}")
    return shortest(found)


def flag(said: Any, what: str) -> bool:
    """Yes or no; none is no.  Raises `Unsaid`."""
    if said not in (None, False, True, 0, 1):
        raise Unsaid(f"{what} is {shown(said)}")
    return bool(said)
