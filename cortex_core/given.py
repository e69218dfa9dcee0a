"""Whether the arrays of a batch suit a network: shapes, data types, labels, tokens, lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from cortex_compute.errors import DataError, DTypeError
from cortex_compute.types import TensorType, dtype
from cortex_core.losses.common import first_wrong
from cortex_core.network import Network
from cortex_core.ops.lift import as_array
from cortex_core.registry import name_of_stream, streams_of
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


CHUNK = 256  # examples of which a stream is made at once


def check_numbers(
    network: Network, node: Any, arrays: Mapping[str, np.ndarray], rows: np.ndarray | None = None
) -> None:
    """Numbers that the loss ``node`` cannot take, as target or as weights, are a `DataError`.

    ``rows``: which examples these are, where they are not the first ones.
    """
    looks = hasattr(node.loss, "wrong") or hasattr(node.derive, "wrong")
    if node.sample_weight is None and not (node.target and looks and arrays[node.target].size):
        return
    used = streams_of(node.loss)
    made = any(not isinstance(x, str) for x in (node.derive or "", node.sample_weight or "", *used.values()))
    count = len(arrays[node.streams[0]])
    size = CHUNK if made else count
    for start in range(0, count, max(1, size)):
        part = {name: arrays[name][start : start + size] for name in node.streams}
        for name, found in _wrong(network, node, used, part):
            if found is not None:
                index = start + found[0] if rows is None else int(rows[start + found[0]])
                raise DataError(f"stream {name!r}: example {index} {found[1]} (for {node.of!r})")


def _wrong(
    network: Network, node: Any, used: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, tuple[int, str] | None]]:
    """The streams of a loss that may have wrong numbers, each with the first such example, or None."""
    weights = None if node.sample_weight is None else _read(node.sample_weight, arrays)
    if weights is not None:
        what = "expected a number from 0 on"
        yield name_of_stream(node.sample_weight), first_wrong(weights < 0, weights, "the weight", what)
    if hasattr(node.derive, "wrong"):
        yield node.target, node.derive.wrong(arrays[node.target])
    if node.target and hasattr(node.loss, "wrong"):
        x = network.types[node.of]
        if x.rank > 2 and has_free_axes(network.description):
            x = TensorType((*x.shape[:1], MANY, *x.shape[2:]), x.dtype)
        given = {field: _read(stream, arrays) for field, stream in used.items()}
        yield node.target, node.loss.wrong(x, _read(node.derive or node.target, arrays), **given)


def _read(used: Any, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """A stream, or what is made of it."""
    array = arrays[name_of_stream(used)]
    return array if isinstance(used, str) else np.asarray(used.derive(as_array(array)))


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
        ``rows`` as for `check_numbers`."""
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
    """A token that an embedding does not have is a `DataError`; ``rows`` as for `check_numbers`."""
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
