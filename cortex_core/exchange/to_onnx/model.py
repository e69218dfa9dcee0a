"""What was written becomes a model of the library, which its checker has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import CortexError
from cortex_compute.types import DType, dtype
from cortex_core.exchange.to_onnx.types import code_of
from cortex_core.exchange.to_onnx.writer import Body, Writer, Written

OPSET, IR_VERSION = 17, 8
"""Of 2022: what reads ONNX today reads these."""
MOST = 2**31 - 2**24
"""Bytes: a file of protocol buffers has less than 2 GiB."""
LARGE = 1024
"""Elements: initializers with more of them are weights, and no shapes, which the checker computes with."""

Shapes = dict[str, tuple[DType, list[int | str | None]]]


def library() -> Any:
    """The package ``onnx``; raises `CortexError` where it is not installed."""
    try:
        import onnx
    except ModuleNotFoundError:
        raise CortexError("ONNX needs the package onnx: pip install 'cortex-nn[onnx]'") from None
    return onnx


def expect_small(name: str, size: int) -> None:
    """Raises `CortexError` where a model takes more bytes than a file holds."""
    if size > MOST:
        raise CortexError(
            f"{name}: it takes {size / 1e9:.2f} GB, and an ONNX file holds at most {MOST / 1e9:.2f}; export "
            "parts of it, whose `outputs` are layers in the middle"
        )


def made_model(name: str, writer: Writer, inputs: Shapes, outputs: Shapes, texts: Mapping[str, str]) -> Any:
    """An `onnx.ModelProto`.  Initializers leave the writer one by one, so that they are not held twice.

    The checker sees the model while its weights are still inputs: it would copy them.
    """
    onnx = library()
    helper, arrays = onnx.helper, writer.initializers
    weights: Shapes = {n: (dtype(a.dtype), [*a.shape]) for n, a in arrays.items() if a.size > LARGE}
    small = [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items() if n not in weights]
    given, made = _infos(helper, inputs | weights), _infos(helper, outputs)
    model = helper.make_model(
        helper.make_graph(_nodes(helper, writer.nodes), name, given, made, small),
        opset_imports=[helper.make_operatorsetid("", OPSET)],
        producer_name="cortex",
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, texts)
    _expect_valid(onnx, name, model)
    del model.graph.input[len(inputs) :]
    expect_small(name, model.ByteSize() + sum(arrays[n].nbytes for n in weights))
    for n in weights:
        model.graph.initializer.append(onnx.numpy_helper.from_array(arrays.pop(n), n))
    return model


def _expect_valid(onnx: Any, name: str, model: Any) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        told = "the checker of onnx refuses what was made of it, which is our fault: please report it"
        raise CortexError(f"{name}: {told}: {error}") from None


def _infos(helper: Any, shapes: Shapes) -> list[Any]:
    return [helper.make_tensor_value_info(n, code_of(d), shape) for n, (d, shape) in shapes.items()]


def _nodes(helper: Any, nodes: Sequence[Written]) -> list[Any]:
    return [helper.make_node(x.op, x.inputs, x.outputs, x.name, **_attributes(helper, x)) for x in nodes]


def _attributes(helper: Any, node: Written) -> dict[str, Any]:
    return {k: _body(helper, v) if isinstance(v, Body) else v for k, v in node.attributes.items()}


def _body(helper: Any, body: Body) -> Any:
    inputs, outputs = (
        [helper.make_tensor_value_info(name, code_of(d), None) for name, d in infos]
        for infos in (body.inputs, body.outputs)
    )
    return helper.make_graph(_nodes(helper, body.nodes), body.name, inputs, outputs)
