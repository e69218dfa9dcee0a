"""Where a number stopped being finite: a step that failed is run again, eagerly, and looked at layer by
layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cortex_compute.errors import CortexError, DataError
from cortex_core.machine import using
from cortex_core.network import Network
from cortex_core.ops.differentiate import differentiate
from cortex_core.probe import recorded
from cortex_core.step import loss_values, total_loss
from cortex_core.tensor import Tensor
from cortex_core.training.feed import Batch


class NonFiniteError(CortexError):
    """The loss of a training is not finite."""


def explain(network: Network, batch: Batch, when: str) -> CortexError:
    """The error for a step whose loss is not finite; ``network`` is in the state before it.

    It names the first thing that is not finite: an example of the batch (`DataError`), a parameter, the
    output of a layer, a loss, or, from the loss backwards, the gradient of a layer's output or of a
    parameter.
    """
    for name, array in batch.arrays.items():
        row = _first_bad_row(array)
        if row is not None:
            return DataError(
                f"{when}: stream {name!r} holds a number that is not finite, in example "
                f"{int(batch.rows[row])}; fill or drop such examples"
            )
    with using("numpy"):  # whose kernels keep to the letter what becomes of infinities
        where = _search(network, batch.arrays)
    return NonFiniteError(
        f"{when}: the loss or a gradient is not finite; the first in the step: {where}. The state before it "
        "is kept. Try a smaller learning_rate, or clip_norm"
    )


def bad_parameter(network: Network) -> str | None:
    """The first parameter that is not finite, by name."""
    bad = (name for name, array in network.parameters.items() if not np.isfinite(array).all())
    return next(bad, None)


def _first_bad_row(array: np.ndarray) -> int | None:
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return None
    return int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0])


def _search(network: Network, arrays: Mapping[str, np.ndarray]) -> str:
    bad = bad_parameter(network)
    if bad is not None:
        return f"parameter {bad!r}, by the step before"
    description = network.description
    traced, streams, parameters = recorded(network, arrays, training=True)
    for node in description.layers:
        if not _finite(traced.values[node.id]):
            return _named(node, "the output")
    losses = loss_values(network, traced, streams)
    for node, loss in zip(description.losses, losses):
        if not _finite(loss.mean):
            return f"the loss {node.name!r} ({node.place})"
    total = total_loss(losses, traced.penalties)
    if not _finite(total):
        return "the sum of the losses and penalties"
    return _search_gradients(description, total, parameters)


def _search_gradients(description: Any, total: Any, parameters: Mapping[str, Tensor]) -> str:
    found: list[str] = []

    def visit(array: Any, gradient: Any) -> None:
        if not found and not _finite(gradient):
            node = next((n for n in description.layers if n.place == array.node.place), None)
            place = array.node.place
            found.append(_named(node, "a gradient") if node is not None else f"a gradient at {place}")

    wanted = list(parameters.values())
    gradients = differentiate([total], [Tensor(np.ones((), np.float32))], wanted, visit=visit)
    for name, p in parameters.items():
        g = next((g for q, g in zip(wanted, gradients) if q is p), None)
        if not found and g is not None and not _finite(g):
            return f"the gradient of parameter {name!r}"
    return found[0] if found else "nothing when the step is run again; the numbers lie at the edge of float32"


def _named(node: Any, what: str) -> str:
    return f"{what} of layer {node.id!r} ({node.kind}, {node.place})"


def _finite(x: Any) -> bool:
    return x is None or bool(np.isfinite(np.asarray(x.data)).all())
