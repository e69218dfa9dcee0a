"""A network becomes a model of ONNX."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import CortexError, SpecError
from cortex_compute.types import DType
from cortex_core.exchange.to_onnx.at import has_translator
from cortex_core.exchange.to_onnx.metadata import metadata
from cortex_core.exchange.to_onnx.outputs import put_outputs
from cortex_core.exchange.to_onnx.said import said
from cortex_core.exchange.to_onnx.samples import sampled
from cortex_core.exchange.to_onnx.sizes import Sizes, constant_size
from cortex_core.exchange.to_onnx.translate import translate
from cortex_core.exchange.to_onnx.twins import Size
from cortex_core.exchange.to_onnx.types import code_of
from cortex_core.exchange.to_onnx.unsaid import at_once
from cortex_core.exchange.to_onnx.writer import Writer, build
from cortex_core.network import Network
from cortex_core.network import network as make_network
from cortex_core.training.files import write_atomically

OPSET, IR_VERSION = 17, 8
"""Of 2022: what reads ONNX today reads these."""
MOST = 2**31 - 2**24
"""Bytes of weights: a file of protocol buffers has less than 2 GiB, and the nodes need some of it."""
PACKAGE = "cortex_core.exchange.to_onnx"
MODULES = ("pointwise", "views", "products", "reductions", "indexing", "recurrence")
"""Those that fill the table of translators."""

Shapes = dict[str, tuple[DType, list[int | str | None]]]


def to_onnx(network: Any, path: str | os.PathLike[str] | None = None, raw: bool = False) -> Any:
    """The prediction of a network as an `onnx.ModelProto`, which is also written where there is a ``path``.

    ``network``: a `Network`, or what `cortex.network` makes one of: a .cortex file, the folder of a run.
    Inputs and outputs have the names of the description.  The batch is free, and so are axes of any length;
    images are channels last, as here.  The outputs are those of `Network.predict` for arrays: probabilities,
    and values in the unit of a scaled target; with ``raw`` what the layers give.

    Raises `SpecError` with all that ONNX cannot say, and `CortexError` where ``onnx`` is not installed or the
    file cannot be written.

    Example::

        cortex.to_onnx(run.network, "digits.onnx")
    """
    onnx, network = _library(), make_network(network)
    load_translators()
    _expect_small(network)
    writer, inputs, outputs = _written(network, raw)
    model = _model(onnx, network, writer, inputs, outputs)
    if path is not None:
        write_atomically(Path(path), model.SerializeToString())
    return model


def load_translators() -> None:
    """Makes every primitive known that can be translated."""
    for name in MODULES:
        import_module(f"{PACKAGE}.{name}")


def _library() -> Any:
    try:
        import onnx
    except ModuleNotFoundError:
        raise CortexError("ONNX needs the package onnx: pip install 'cortex-nn[onnx]'") from None
    return onnx


def _expect_small(network: Network) -> None:
    total = sum(slot.type.nbytes for slot in network.slots.values())
    if total > MOST:
        raise CortexError(
            f"{network.name}: its weights take {total / 1e9:.2f} GB, and an ONNX file holds at most "
            f"{MOST / 1e9:.2f}; export parts of it, whose `outputs` are layers in the middle"
        )


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
    put_outputs(network, writer, found, outputs, raw)
    writer.prune([*outputs])
    return writer, taken, {n: (x.dtype, _named(twins.shape(x), free)) for n, x in outputs.items()}


def _named(shape: tuple[Size, ...], free: Mapping[Size, str]) -> list[int | str | None]:
    return [n[0] if constant_size(n) else free.get(n) for n in shape]


def _model(onnx: Any, network: Network, writer: Writer, inputs: Shapes, outputs: Shapes) -> Any:
    helper = onnx.helper
    given, made = (
        [helper.make_tensor_value_info(n, code_of(d), shape) for n, (d, shape) in infos.items()]
        for infos in (inputs, outputs)
    )
    initializers = [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in writer.initializers.items()]
    graph = helper.make_graph(build(writer.nodes, code_of), network.name, given, made, initializers)
    opset = [helper.make_operatorsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, producer_name="cortex", ir_version=IR_VERSION)
    helper.set_model_props(model, metadata(network))
    return model
