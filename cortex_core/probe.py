"""Looking inside a network: what its inner layers give, and how a score hangs on them.

Activations come from compiled prediction, over any number of examples.  Gradients come from the eager
interpreter, for the few examples that somebody looks at.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from cortex_compute.errors import DataError, ShapeError, SpecError
from cortex_compute.types import dtype
from cortex_core.autograd import grad
from cortex_core.declared import KEY
from cortex_core.layers.scope import Parameter
from cortex_core.network import Network, check_batch_size
from cortex_core.predict import Arrays, as_inputs, predict, predict_source
from cortex_core.registry import nearest
from cortex_core.spec.description import owner
from cortex_core.step import loss_values, total_loss
from cortex_core.tensor import Tensor
from cortex_core.trace import Declaration, Traced, trace
from cortex_core.training.pieces import pieces
from cortex_core.training.source import Source


class Activations(NamedTuple):
    """Which examples of a source these are, and the outputs of layers for them, by id."""

    rows: np.ndarray
    outputs: Arrays


class Gradients(NamedTuple):
    """Scores (B,), and by id: the values of inputs or layers, and what d score / d value is there."""

    scores: np.ndarray
    values: Arrays
    gradients: Arrays


def activations(
    network: Network, x: Any, layers: Sequence[str], batch_size: int = 256, backend: str = "auto"
) -> Arrays:
    """The outputs of inner layers for all examples of ``x``, in order: {id: array (examples, ...)}.

    ``x``: a source, or what `Network.predict` takes.  A layer is named by its id, one of its other outputs as
    ``ID.OUTPUT``; inputs may be named too.  As in prediction nothing falls to dropout; nothing is added, so
    logits stay logits.  Raises `SpecError` for a layer that does not exist.
    """
    with _opened(network, layers) as view:
        if hasattr(x, "gather"):
            return predict_source(view, x, batch_size, raw=True, backend=backend)
        found = predict(view, x, batch_size, raw=True, backend=backend)
    return found if isinstance(found, dict) else {layers[0]: found}


def each(
    network: Network, source: Source, layers: Sequence[str], batch_size: int = 256, backend: str = "auto"
) -> Iterator[Activations]:
    """The same batch by batch, for what is summed up and need not be kept."""
    check_batch_size(batch_size)
    names = [x.name for x in network.description.inputs]
    with _opened(network, layers) as view:
        for piece in pieces(source, names):
            for start in range(0, len(piece.rows), batch_size):
                part = {name: array[start : start + batch_size] for name, array in piece.arrays.items()}
                found = predict(view, part, batch_size, raw=True, backend=backend)
                outputs = found if isinstance(found, dict) else {layers[0]: found}
                yield Activations(piece.rows[start : start + batch_size], outputs)


@contextmanager
def _opened(network: Network, layers: Sequence[str]) -> Iterator[Network]:
    """The same network, over the same parameters, whose outputs are these layers."""
    if not layers:
        raise SpecError("name at least one layer to look at")
    _expect_layers(network, layers)
    view = copy.copy(network)
    view.description = replace(network.description, outputs=tuple(dict.fromkeys(layers)))
    view._programs = {}
    try:
        yield view
    finally:
        for compiled in view._programs.values():
            compiled.close()


def _expect_layers(network: Network, names: Sequence[str]) -> None:
    if isinstance(names, str):
        raise SpecError(f"{names!r:.80} is one name where a list of layers is expected: [{names!r:.80}]")
    for name in names:
        expect_layer(network, name)


def expect_layer(network: Network, name: str) -> None:
    """Raises `SpecError` where a network has no such layer, input or other output of a layer."""
    if not isinstance(name, str) or name not in network.types:
        ids = [node.id for node in network.description.layers]
        shown = ", ".join(ids[:40]) + (", ..." if len(ids) > 40 else "")
        hint = nearest(str(name), network.types)
        raise SpecError(f"{network.name} has no layer {name!r:.80}. {hint or f'Its layers are {shown}'}")


def scored(network: Network) -> str:
    """The id of the layer that gives the scores: what the first loss with a target is of, else the first
    output.

    For a cross entropy these are the logits.
    """
    description = network.description
    return next((str(x.of) for x in description.losses if x.target), str(description.outputs[0]))


def last_hidden(network: Network) -> str | None:
    """What the output layer reads, as `activations` names it; None where that is an input, or there is no
    such layer.

    The output layer is the last one on the way to the scores that weights its inputs: one with a kernel, or
    with the table of another layer, not a norm behind it.
    """
    kernels = [
        d for d in network.declared.values() if isinstance(d.declaration, Parameter) and len(d.type.shape) > 1
    ]
    layers = network.description.layers
    weighting = {kernel.layer.id for kernel in kernels}
    weighting |= {node.id for node in layers if "table" in dict(node.keywords)}
    ids = {node.id for node in layers}
    on_the_way = {owner(scored(network), ids)}
    for node in reversed(layers):  # sources stand before who reads them
        if node.id in on_the_way and node.id in weighting:
            return node.sources[0] if owner(node.sources[0], ids) in ids else None
        if node.id in on_the_way:
            on_the_way |= {owner(source, ids) for source in node.sources}
    return None


def gradients(
    network: Network,
    x: Any,
    by: Sequence[str],
    classes: Sequence[int] | None = None,
    of: str | None = None,
) -> Gradients:
    """d score / d value for each example of ``x`` by itself, as in prediction.

    ``x``: an array or {input: array}, a batch that fits memory.  ``by``: inputs or layers.  The score is the
    output of the layer ``of`` (default: `scored`, the logits) at the class that ``classes`` names for each
    example, by default the highest.  Raises `SpecError` where ``of`` is no vector of scores, or does not
    depend on ``by``, and `DataError` for a class that does not exist.
    """
    of = scored(network) if of is None else of
    expect_layer(network, of)
    _expect_layers(network, by)
    arrays = as_inputs(network, x)
    values: Any = recorded(network, arrays, training=False).traced.values
    scores = values[of]
    if len(scores.shape) != 2:
        told = f"{list(scores.shape[1:])} for each example"
        raise SpecError(f"the scores of {network.name} come from {of!r}, which is {told}; expected [classes]")
    chosen = _chosen(scores.numpy(), classes)
    for name in by:
        if not values[name].requires_grad:
            raise SpecError(
                f"{name!r} holds {values[name].dtype}, which has no gradient; name a layer behind it"
            )
    picked = np.arange(scores.shape[1]) == chosen[:, None]
    seed = Tensor(picked.astype(scores.numpy().dtype))
    found = grad([scores], [values[name] for name in by], [seed], allow_unused=True)
    for name, g in zip(by, found):
        if g is None:
            raise SpecError(f"the scores of {of!r} do not depend on {name!r}")
    return Gradients(
        scores.numpy()[picked],
        {name: values[name].numpy() for name in by},
        {name: g.numpy() for name, g in zip(by, found) if g is not None},
    )


def parameter_gradients(network: Network, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """The gradients of the training loss over one batch, {input or target: array}, by each parameter's name.

    They are those of the next step, with its dropout, in float32 and before any clipping.
    """
    batch = recorded(network, arrays, training=True)
    losses = loss_values(network, batch.traced, batch.streams)
    total: Any = total_loss(losses, batch.traced.penalties)
    found = grad(total, list(batch.parameters.values()), allow_unused=True)
    return {
        name: np.zeros(p.shape, np.float32) if g is None else g.numpy()
        for (name, p), g in zip(batch.parameters.items(), found)
    }


class Recorded(NamedTuple):
    """A batch as the eager interpreter saw it: all values, the inputs and targets, the parameters by name."""

    traced: Traced
    streams: dict[str, Any]
    parameters: dict[str, Tensor]


def recorded(network: Network, arrays: Mapping[str, np.ndarray], training: bool) -> Recorded:
    """Runs a network over a batch, {input or target: array}, op by op, recording everything.

    It reads copies of the parameters and of the random key, and changes no state.  Inputs and parameters
    require gradients.  Raises `ShapeError` where a layer does not suit the shapes that are really given.
    """
    description = network.description
    floats = {x.name: dtype(x.dtype).kind == "float" for x in description.inputs}
    streams: dict[str, Any] = {name: Tensor(array.copy()) for name, array in arrays.items()}
    for x in description.inputs:
        streams[x.name] = Tensor(arrays[x.name], dtype=x.dtype, requires_grad=floats[x.name])
    parameters: dict[str, Tensor] = {}

    def fetch(name: str, declaration: Declaration, layer: Any) -> Any:
        if name not in network.slots:
            return Tensor(network.store.array(name).copy())
        if name not in parameters:
            parameters[name] = Tensor(network.store.array(name).copy(), requires_grad=True)
        return parameters[name]

    inputs = {x.name: streams[x.name] for x in description.inputs}
    key: Any = Tensor(network.store.array(KEY).copy())
    traced = trace(description, inputs, fetch, key, training)
    if traced.problems:
        raise ShapeError("\n".join(map(str, traced.problems)))
    return Recorded(traced, streams, parameters)


def _chosen(scores: np.ndarray, classes: Sequence[int] | None) -> np.ndarray:
    if classes is None:
        return np.asarray(scores.argmax(axis=1), np.int64)
    chosen = np.asarray(classes)
    if chosen.dtype.kind not in "iu":
        raise DataError(f"classes hold {chosen.dtype}; expected whole numbers, one for each example")
    bad = chosen[(chosen < 0) | (chosen >= scores.shape[1])]
    if chosen.shape != scores.shape[:1]:
        raise DataError(f"{len(scores)} examples need as many classes, not {list(chosen.shape)}")
    if bad.size:
        raise DataError(f"there is no class {bad[0]}; the classes are 0 to {scores.shape[1] - 1}")
    return chosen
