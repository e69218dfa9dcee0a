"""A network becomes a model of ONNX."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from cortex_compute.errors import SpecError
from cortex_core.exchange.to_onnx.at import has_translator
from cortex_core.exchange.to_onnx.metadata import metadata
from cortex_core.exchange.to_onnx.model import Shapes, expect_small, library, made_model
from cortex_core.exchange.to_onnx.outputs import put_outputs
from cortex_core.exchange.to_onnx.said import said
from cortex_core.exchange.to_onnx.samples import sampled
from cortex_core.exchange.to_onnx.sizes import Sizes, constant_size
from cortex_core.exchange.to_onnx.translate import translate
from cortex_core.exchange.to_onnx.twins import Size
from cortex_core.exchange.to_onnx.unsaid import at_once
from cortex_core.exchange.to_onnx.writer import Writer
from cortex_core.network import Network
from cortex_core.network import network as make_network
from cortex_core.training.files import expect_path, write_atomically

PACKAGE = "cortex_core.exchange.to_onnx"
MODULES = ("pointwise", "views", "products", "reductions", "indexing", "recurrence")
"""Those that fill the table of translators."""


def to_onnx(network: Any, path: str | os.PathLike[str] | None = None, raw: bool = False) -> Any:
    """The prediction of a network as an `onnx.ModelProto`, which is also written where there is a ``path``.

    ``network``: a `Network`, or what `cortex.network` makes one of: a .cortex file, the folder of a run.
    Inputs and outputs have the names of the description.  The batch is free, and so are axes of any length;
    images are channels last, as here.  The outputs are those of `Network.predict` for arrays: probabilities,
    and values in the unit of a scaled target (float64); with ``raw`` what the layers give.

    The model has been seen by onnx's own checker.

    Raises `SpecError` with all that ONNX cannot say, `DTypeError` for a ``path`` that is none, and
    `CortexError` where ``onnx`` is not installed, the model is too large or the file cannot be written.

    Example::

        cortex.to_onnx(run.network, "digits.onnx")
    """
    library()
    file = None if path is None else expect_path(path, "to_onnx", 'to_onnx(network, "model.onnx")')
    network = make_network(network)
    load_translators()
    expect_small(network.name, sum(slot.type.nbytes for slot in network.slots.values()))
    writer, inputs, outputs = _written(network, raw)
    model = made_model(network.name, writer, inputs, outputs, metadata(network))
    if file is not None:
        write_atomically(file, model.SerializeToString())
    return model


def load_translators() -> None:
    """Makes every primitive known that can be translated."""
    for name in MODULES:
        import_module(f"{PACKAGE}.{name}")


def _written(network: Network, raw: bool) -> tuple[Writer, Shapes, Shapes]:
    """The nodes of a network, and the types of what it takes and gives."""
    samples = sampled(network, raw, lambda graph: said(graph, has_translator))
    twins = samples.twins
    names, outputs = [x.name for x in network.description.inputs], samples.graphs[0].outputs
    if both := sorted({*names} & {*outputs}):
        raise SpecError(f"{both[0]!r} is an input and an output; ONNX needs two names: put a layer between")
    writer = Writer(taken={*names, *outputs})
    sizes = Sizes(writer)
    free: dict[Size, str] = {}
    taken: Shapes = {}
    for name, values in zip(names, zip(*(graph.inputs for graph in samples.graphs))):
        shape = tuple(zip(*(x.shape for x in values)))
        sizes.note(name, shape)
        free |= {n: samples.names[name, i] for i, n in enumerate(shape) if (name, i) in samples.names}
        taken[name] = values[0].dtype, _named(shape, free)
    arrays = {**dict(network.parameters), **dict(network.variables)}
    found, problems = translate(twins, writer, sizes, dict(zip(names, names)), arrays)
    if problems:
        at_once(problems)
    types = put_outputs(network, writer, found, outputs, raw)
    writer.prune([*outputs])
    return writer, taken, {n: (types[n], _named(twins.shape(x), free)) for n, x in outputs.items()}


def _named(shape: tuple[Size, ...], free: Mapping[Size, str]) -> list[int | str | None]:
    return [n[0] if constant_size(n) else free.get(n) for n in shape]
