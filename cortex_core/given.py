"""Whether the arrays of a batch suit a network: shapes, data types, labels, tokens, lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from cortex_compute.errors import DataError, DTypeError
from cortex_compute.types import TensorType, dtype
from cortex_core.network import Network
from cortex_core.registry import streams_of
from cortex_core.trace import has_free_axes


def check_input(x: Any, array: np.ndarray) -> None:
    """Raises an error where an array cannot be the input ``x`` of a description, batch axis included."""
    fits = array.ndim == 1 + len(x.shape) and all(n in (None, m) for n, m in zip(x.shape, array.shape[1:]))
    if not fits:
        expected = ", ".join("any" if n is None else str(n) for n in ("examples", *x.shape))
        raise DataError(f"input {x.name!r} has shape {array.shape}, expected ({expected})")
    if not np.can_cast(array.dtype, dtype(x.dtype).storage, "same_kind"):
        raise DTypeError(f"input {x.name!r} holds {array.dtype}, expected {x.dtype}")


MANY = 2**31  # the length of an axis of any length


def check_target(
    network: Network, node: Any, arrays: Mapping[str, np.ndarray], rows: np.ndarray | None = None
) -> None:
    """A target that the loss ``node`` cannot take is a `DataError`.

    ``rows``: which examples these are, where they are not the first ones.
    """
    if not node.target or node.derive is not None or not hasattr(node.loss, "wrong"):
        return
    if not arrays[node.target].size:
        return
    x = network.types[node.of]
    if x.rank > 2 and has_free_axes(network.description):
        x = TensorType((*x.shape[:1], MANY, *x.shape[2:]), x.dtype)
    used = streams_of(node.loss)
    given = {field: arrays[stream] for field, stream in used.items() if isinstance(stream, str)}
    found = node.loss.wrong(x, arrays[node.target], **given)
    if found is not None:
        index, told = found
        index = index if rows is None else int(rows[index])
        raise DataError(f"stream {node.target!r}: example {index} {told}")


class Lookup(NamedTuple):
    """An embedding that looks up the numbers of a stream: its id, and how many tokens it has."""

    stream: str
    id: str
    tokens: int


MOVES = "concatenate", "flatten", "permute", "reshape"  # layers whose result is made of their inputs' numbers


def lookups(description: Any) -> Iterator[Lookup]:
    """What looks up the numbers of an input: itself, or behind layers that move them."""
    nodes = {node.id: node for node in description.layers}

    def streams(source: str) -> Iterator[str]:
        node = nodes.get(source)
        if node is None:
            yield source
        elif getattr(_innermost(node.layer), "kind", "") in MOVES:
            for moved in node.positional:
                yield from streams(moved)

    for node in description.layers:
        layer = _innermost(node.layer)
        if getattr(layer, "kind", "") == "embedding":  # (None after a mistake)
            for stream in streams(node.sources[0]):
                yield Lookup(stream, node.id, layer.tokens)


def _innermost(layer: Any) -> Any:
    """The layer that works inside others, such as time_distributed."""
    held = getattr(layer, "layer", None)
    return layer if held is None else _innermost(held)


class WholeNumbers:
    """The inputs of a network in which not every whole number is right: tokens, and lengths.

    What there is to check is found once, for it is asked at each step.
    """

    def __init__(self, network: Network) -> None:
        description, types = network.description, network.types
        self._tokens = tuple(lookups(description))
        self._lengths: list[tuple[str, Any, int | None]] = []  # stream, layer, how many steps it reads
        free = has_free_axes(description)
        for node in description.layers:
            name = dict(node.keywords).get("lengths")
            if isinstance(name, str):
                self._lengths.append((name, node, None if free else types[node.sources[0]].shape[1]))
        named = {lookup.stream for lookup in self._tokens} | {name for name, *_ in self._lengths}
        self.streams = named & {x.name for x in description.inputs}

    def check(self, arrays: Mapping[str, np.ndarray], rows: np.ndarray | None = None) -> None:
        """A token that an embedding does not have, or a length of no step or of too many, is a `DataError`;
        ``rows`` as for `check_target`."""
        check_tokens(self._tokens, arrays, rows)
        for name, node, steps in self._lengths:
            lengths, sequence = arrays.get(name), arrays.get(node.sources[0])
            if lengths is None or not lengths.size:
                continue
            steps = steps if sequence is None else sequence.shape[1]
            bad = (lengths < 1) | (False if steps is None else lengths > steps)
            if bad.any():
                first = int(np.flatnonzero(bad.reshape(len(lengths), -1).any(axis=1))[0])
                worst = lengths.reshape(len(lengths), -1)[first][0]
                most = f"1 to {steps}, as many steps as {node.id!r} reads"
                expected = "at least 1" if steps is None else most
                index = first if rows is None else int(rows[first])
                told = f"input {name!r}: example {index} has length {worst}"
                raise DataError(f"{told}; expected {expected}")


def check_tokens(
    found: Iterable[Lookup], arrays: Mapping[str, np.ndarray], rows: np.ndarray | None = None
) -> None:
    """A token that an embedding does not have is a `DataError`; ``rows`` as for `check_target`."""
    for name, id_, count in found:
        tokens = arrays.get(name)
        if tokens is None or not tokens.size:
            continue
        bad = (tokens < 0) | (tokens >= count)
        if bad.any():
            first = int(np.flatnonzero(bad.reshape(len(tokens), -1).any(axis=1))[0])
            worst = tokens.reshape(-1)[int(np.flatnonzero(bad.reshape(-1))[0])]
            raise DataError(
                f"input {name!r}: example {first if rows is None else int(rows[first])} has token {worst}, "
                f"the tokens of {id_!r} are 0 to {count - 1}"
            )
