"""Networks in safetensors files: parameters and variables by name, and in the metadata what they belong to.

The arrays have the names, shapes and layout of `Network.parameters` and `Network.variables`; all are float32.
The metadata are ``format`` (cortex), ``name``, ``description`` (the canonical data as JSON) and ``hash``
(that of `Description.hash`).  What was learned of raw data, and the state of an optimiser, are in .cortex
files alone.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import CheckpointError, DTypeError
from cortex_compute.types import TensorType
from cortex_core.declared import declare
from cortex_core.exchange.safetensors import Stored, opened, save_safetensors
from cortex_core.network import Network, outline
from cortex_core.registry import nearest
from cortex_core.spec.description import hash_of
from cortex_core.training.checkpoint import Header, describe
from cortex_core.training.files import expect_path

FLOATS = ("F32", "F16", "BF16", "F64")  # what an array of a network may be in a file
SHOWN = 200  # lines of a kind in a message
LEARNED = (
    "what it learned of its data (scales, classes, vocabularies) is not in this file: keep the .cortex file"
)

EXPECTED = 'a Network and then the path: to_safetensors(network, "weights.safetensors")'

Name = str | os.PathLike[str]


def to_safetensors(network: Network, path: Name) -> None:
    """Writes the parameters and variables of a network by name, whole or not at all.

    The metadata hold its description, so that `from_safetensors` makes the network again.  A warning says
    what a file has no place for.
    """
    for note in write(network, path):
        warnings.warn(f"{os.fspath(path)}: {note}", stacklevel=2)


def write(network: Network, path: Name) -> list[str]:
    """As `to_safetensors`; returns what it would warn of."""
    expect_path(path, "to_safetensors", EXPECTED)
    if not isinstance(network, Network):
        raise DTypeError(f"to_safetensors: got a {type(network).__name__}, expected {EXPECTED}")
    metadata = {
        "format": "cortex",
        "name": network.name,
        "description": json.dumps(network.description.canonical),
        "hash": network.description.hash,
    }
    with network.store.lock:
        save_safetensors(path, {**network.parameters, **network.variables}, metadata)
    return [] if network.encoding is None else [LEARNED]


def from_safetensors(path: Name, description: Any = None) -> Network:
    """A network with the arrays of a file, which have the names of its parameters and variables.

    ``description`` is what `cortex.network` takes; of a network that has numbers only its description is
    taken, and what it learned of its data.  Where none is given, it is the one in the file, where
    `to_safetensors` wrote it.

    Example::

        cortex.to_safetensors(network, "digits.safetensors")
        again = cortex.from_safetensors("digits.safetensors")

    float16 and bfloat16 are the same numbers in float32; float64 is rounded, and ``network.origin["notes"]``
    says so.  A `CheckpointError` names all arrays that are missing, that the description does not know, that
    have another shape, or that hold no such numbers; or the place where the file is damaged.
    """
    expect_path(path, "from_safetensors", 'from_safetensors("weights.safetensors")')
    with opened(path) as stored:
        if description is None:
            outlined = Network.outline(describe(_header(path, stored)))
        else:
            outlined = outline(description)
        wanted = {name: outlined.declared[name].type for name in (*outlined.parameters, *outlined.variables)}
        _expect_none(path, _misfits(stored, wanted))
        made = Network.blank(outlined.description, declare(outlined.description))
        _fill(path, stored, made, wanted)
        rounded = [name for name in wanted if stored.entries[name].dtype == "F64"]
    made.encoding = outlined.encoding
    made.origin = {"file": Path(path).name, "proof": "every name and shape fits"}
    if rounded:
        made.origin["notes"] = [f"float64 is rounded to float32: {', '.join(rounded)}"]
    return made


def _header(path: Name, stored: Stored) -> Header:
    """What the metadata say of the network."""
    text = stored.metadata.get("description")
    if text is None:
        raise CheckpointError(
            f"{os.fspath(path)}: it has no description in its metadata; give one{_hint(stored)}"
        )
    try:
        data = json.loads(text)
        intact = isinstance(data, dict) and hash_of(data) == stored.metadata.get("hash")
    except (ValueError, RecursionError):
        intact = False
    if not intact:
        told = "the description in its metadata is not the one that was written: the hash is another"
        raise CheckpointError(f"{os.fspath(path)}: {told}; give the description")
    return Header(Path(path), data, run=None, encoding=None, home=".", origin=None)


def _misfits(stored: Stored, wanted: Mapping[str, TensorType]) -> Iterator[str]:
    """Where the entries of a file are not the arrays that are wanted; none of them is read."""
    found = stored.entries
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    yield from _some("missing", (f"{name} {wanted[name].shape}" for name in missing))
    told = (f"{name!r:.100} {found[name].shape}. {nearest(name, missing)}".rstrip(". ") for name in extra)
    yield from _some("unknown", told)
    for name in (name for name in wanted if name in found):
        shape, dtype = found[name].shape, found[name].dtype
        if shape != wanted[name].shape:
            yield f"{name} is {shape} in the file, {wanted[name].shape} in the description"
        if dtype not in FLOATS:
            yield f"{name} holds {dtype}; expected {', '.join(FLOATS)}"
    if len(missing) == len(wanted) and _hint(stored):
        yield f"no name is known{_hint(stored)}"


def _some(kind: str, told: Iterable[str]) -> Iterator[str]:
    """The first lines of a kind, and how many more there are."""
    lines = iter(told)
    yield from (f"{kind}: {line}" for line in islice(lines, SHOWN))
    if more := sum(1 for _ in lines):
        yield f"{kind}: {more} more"


def _hint(stored: Stored) -> str:
    """What to do with the weights of a PyTorch module, whose names end so."""
    if not any(name.endswith(("weight", "weight_ih_l0")) for name in stored.entries):
        return ""
    return ". Its names look like PyTorch's: nn.load_safetensors reads it for the same module of cortex.nn"


def _fill(path: Name, stored: Stored, network: Network, names: Iterable[str]) -> None:
    """Takes the numbers over, one array after the other."""
    beyond = []
    for name in names:
        given = stored.read(name)
        with np.errstate(over="ignore"):
            numbers = given.astype(np.float32, copy=False)
        if given.dtype == np.float64 and (np.isinf(numbers) & np.isfinite(given)).any():
            beyond.append(f"{name} holds numbers that are finite in float64 alone")
        network.store.write(name, numbers)
    _expect_none(path, beyond)


def _expect_none(path: Name, faults: Iterable[str]) -> None:
    lines = "".join(f"\n  {fault}" for fault in faults)
    if lines:
        raise CheckpointError(
            f"{os.fspath(path)}: its arrays do not fit the description; nothing was loaded:{lines}"
        )
