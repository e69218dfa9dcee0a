"""Prediction over arrays of any length: whole batches, the last one padded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cortex_compute.backends import get
from cortex_compute.errors import DataError
from cortex_core.compiled import Compiled, check_input
from cortex_core.network import Network, check_batch_size


def predict(network: Network, x: Any, batch_size: int, raw: bool = False, backend: str = "auto") -> Any:
    """The outputs for all examples of ``x``; see `Network.predict`."""
    check_batch_size(batch_size)
    arrays = as_inputs(network, x)
    lengths = {name: len(a) for name, a in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise DataError(f"the inputs differ in length: {lengths}")
    count = next(iter(lengths.values()))
    engine = get(backend)
    compiled = network._programs.setdefault(
        ("predict", engine, raw), Compiled(network, engine, "predict", raw)
    )
    size = max(1, min(batch_size, count))
    pieces: list[dict[str, np.ndarray]] = []
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
    joined = {name: np.concatenate([p[name] for p in pieces]) for name in outputs}
    return joined[outputs[0]] if len(outputs) == 1 else joined


def as_inputs(network: Network, x: Any) -> dict[str, np.ndarray]:
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
        check_input(node, arrays[node.name])
    return arrays
