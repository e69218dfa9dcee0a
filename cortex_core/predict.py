"""Prediction over examples of any number: whole batches, the last one padded."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from cortex_compute.backends import get
from cortex_compute.errors import DataError
from cortex_core.compiled import Compiled
from cortex_core.given import check_input
from cortex_core.network import Network, check_batch_size
from cortex_core.streams import SCALED

if TYPE_CHECKING:
    from cortex_core.training.examples import Examples
    from cortex_core.training.source import Source

Arrays = dict[str, np.ndarray]


def predict(network: Network, x: Any, batch_size: int, raw: bool = False, backend: str = "auto") -> Any:
    """The outputs for all examples of ``x``; see `Network.predict`."""
    check_batch_size(batch_size)
    if takes_raw(network, x):
        examples = raw_examples(network, x)
        source = encoded(network, examples)
        for note in (*examples.notes, *getattr(source, "notes", ())):
            warnings.warn(note, stacklevel=3)
        found = predict_source(network, source, batch_size, raw, backend)
    else:
        found = _predict(network, as_inputs(network, x), batch_size, raw, backend)
    if not raw:
        found = in_units(network, found)
    outputs = network.description.outputs
    return found[outputs[0]] if len(outputs) == 1 else found


def takes_raw(network: Network, x: Any) -> bool:
    """Whether ``x`` is what the encoding of the network has to turn into numbers first."""
    from cortex_core.training.examples import is_raw

    names = [node.name for node in network.description.inputs]
    return network.encoding is not None and is_raw(network.training.data, x, names)


def raw_examples(network: Network, x: Any) -> Examples:
    """The examples of a file or a table, as the reader of the network's data reads them."""
    from cortex_core.training.examples import finder_beside

    return cast("Examples", network.training.data.read(x, finder_beside(network.description)))


def encoded(network: Network, examples: Examples) -> Source:
    """The inputs that raw examples are, by what the network learned of its data.

    Raises `DataError` where they do not suit it.
    """
    assert network.encoding is not None
    names = [node.name for node in network.description.inputs]
    return network.encoding.encode(examples, np.arange(len(examples)), names)


def predict_source(
    network: Network, source: Source, batch_size: int, raw: bool = False, backend: str = "auto"
) -> Arrays:
    """The outputs by name for the examples of a source, in their order."""
    from cortex_core.training.pieces import pieces

    names = [node.name for node in network.description.inputs]
    whole: Arrays = {}
    for piece in pieces(source, names):
        for name, part in _predict(network, piece.arrays, batch_size, raw, backend).items():
            if name not in whole:
                whole[name] = np.empty((len(source), *part.shape[1:]), part.dtype)
            if whole[name].shape[1:] != part.shape[1:]:
                raise DataError(f"output {name!r} differs in length from example to example; give one by one")
            whole[name][piece.rows] = part
    return whole or _predict(network, _nothing(network), batch_size, raw, backend)


def _nothing(network: Network) -> Arrays:
    return {x.name: np.empty((0, *(n or 1 for n in x.shape)), x.dtype) for x in network.description.inputs}


def _predict(network: Network, arrays: Arrays, batch_size: int, raw: bool, backend: str) -> Arrays:
    lengths = {name: len(a) for name, a in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise DataError(f"the inputs differ in length: {lengths}")
    count = next(iter(lengths.values()))
    engine = get(backend)
    compiled = network._programs.setdefault(
        ("predict", engine, raw), Compiled(network, engine, "predict", raw)
    )
    size = max(1, min(batch_size, count))
    pieces: list[Arrays] = []
    for start in range(0, count, size):
        part = {name: a[start : start + size] for name, a in arrays.items()}
        short = size - len(next(iter(part.values())))
        if short:  # no layer couples samples here, so what pads does not matter
            part = {n: np.concatenate([a, np.repeat(a[-1:], short, axis=0)]) for n, a in part.items()}
        with network.store.lock:  # another thread waits for its turn
            results = compiled.run(part)
        pieces.append({name: r.numpy()[: size - short] for name, r in results.items()})
    outputs = network.description.outputs
    if not pieces:
        pieces = [{name: np.empty((0, *network.types[name].shape[1:]), np.float32) for name in outputs}]
    return {name: np.concatenate([p[name] for p in pieces]) for name in outputs}


def in_units(network: Network, found: Arrays) -> Arrays:
    """The outputs; those that learned a scaled target are in its unit."""
    if network.encoding is None:
        return found
    streams = network.encoding.streams
    targets = {node.of: node.target for node in network.description.compared if node.kind in SCALED}
    scaled = {of: t for of, t in targets.items() if t in streams and streams[t].dtype == "float32"}
    return {
        name: network.encoding.decode(scaled[name], values) if name in scaled else values
        for name, values in found.items()
    }


def as_inputs(network: Network, x: Any) -> Arrays:
    """``x`` as {input: array}; one array where the network has one input."""
    names = [i.name for i in network.description.inputs]
    given = x if isinstance(x, Mapping) else {names[0]: x} if len(names) == 1 else None
    if given is None:
        raise DataError(f"this network has the inputs {', '.join(names)}: give a dict of arrays")
    missing = [n for n in names if n not in given]
    if missing:
        raise DataError(f"missing input {missing[0]!r}; this network takes {', '.join(names)}")
    arrays = {name: np.asarray(given[name]) for name in names}
    for node in network.description.inputs:
        if arrays[node.name].dtype.kind in "OSU" and not isinstance(given[node.name], np.ndarray):
            raise DataError(
                f"input {node.name!r} is a {type(given[node.name]).__name__} without numbers; files, tables "
                "and texts are read by a network that was trained on such, others take arrays"
            )
        check_input(node, arrays[node.name])
    return arrays
