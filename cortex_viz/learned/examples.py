"""The examples that a picture is made of, and how a user names a class of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import DataError, SpecError
from cortex_core.network import Network
from cortex_core.probe import scored
from cortex_core.registry import nearest
from cortex_core.training.pieces import lengths_of, shapes_of
from cortex_core.training.source import Source
from cortex_viz.learned.drawing import Array

Examples = dict[str, Array]
"""{input: array (n, ...)}: what `probe.gradients` and `Network.predict` take."""


def picture_input(network: Network) -> str:
    """The name of the first input that holds pictures.  Raises `SpecError` where there is none."""
    inputs = network.description.inputs
    found: str | None = next((x.name for x in inputs if x.shape is not None and len(x.shape) == 3), None)
    if found is None:
        shapes = ", ".join(f"{x.name!r} {list(x.shape)}" for x in inputs)
        raise SpecError(
            f"{network.name}: this needs a picture input (height, width, channels); its inputs are {shapes}"
        )
    return found


def examples_of(network: Network, source: Source, rows: Sequence[int] | Array) -> Examples:
    """The inputs of some examples of a source.

    Raises `DataError` for a row that does not exist, or where their padded lengths differ.
    """
    wanted = np.asarray(rows, np.intp)
    for row in wanted:
        if not 0 <= row < len(source):
            raise DataError(f"there is no example {row}; they are 0 to {len(source) - 1}")
    lengths = lengths_of(source)
    length = None
    if lengths is not None:
        if len(set(lengths[wanted])) > 1:
            raise DataError("these examples differ in length; give one by one")
        length = int(lengths[wanted[0]])
    shapes = shapes_of(source, [x.name for x in network.description.inputs], length)
    arrays = {n: np.empty((len(wanted), *s), source.streams[n].dtype) for n, s in shapes.items()}
    source.gather(wanted, arrays)
    return arrays


def class_names(network: Network, source: Source) -> list[str]:
    """What the scores of a network are called: the names of the classes, else their numbers."""
    of = scored(network)
    count = network.types[of].shape[-1]
    loss = next((x for x in network.description.losses if x.of == of), None)
    stream: Any = source.streams.get(loss.target) if loss is not None else None
    names = (stream.classes or ()) if stream is not None else ()
    return list(names) if len(names) == count else [str(i) for i in range(count)]


def class_of(names: Sequence[str], given: str | int) -> int:
    """The number of the class that is given by its name, or by its number.

    Raises `DataError` for one that does not exist.
    """
    if given in names:
        return list(names).index(str(given))
    if isinstance(given, int) or given.isdecimal():
        if int(given) < len(names):
            return int(given)
        raise DataError(f"there is no class {given}; the classes are 0 to {len(names) - 1}")
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    raise DataError(f"there is no class {given!r:.60}. {nearest(given, names) or f'The classes are {shown}'}")
