"""Small ONNX models, made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shapes = Mapping[str, Sequence[int | str | None]]


def made(
    nodes: Sequence[onnx.NodeProto],
    inputs: Shapes,
    outputs: Sequence[str],
    numbers: Mapping[str, Any] | None = None,
    opset: int = 17,
    dtype: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model of these nodes; ``numbers`` are its initializers."""
    graph = helper.make_graph(
        nodes,
        "handmade",
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (numbers or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="hand")
    model.ir_version = 8
    return model


def saved(folder: Path, *given: Any, **how: Any) -> Path:
    """The file of such a model."""
    return written(folder, made(*given, **how))


def written(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


node = helper.make_node


def perceptron() -> onnx.ModelProto:
    """Two dense layers, as they are exported: the first as Gemm, the second as MatMul and Add."""
    draw = np.random.default_rng(0)
    numbers = {
        "hidden.weight": draw.normal(size=(4, 3)).astype(np.float32),
        "hidden.bias": draw.normal(size=4).astype(np.float32),
        "out.weight": draw.normal(size=(4, 2)).astype(np.float32),
        "out.bias": draw.normal(size=2).astype(np.float32),
    }
    nodes = [
        node("Gemm", ["x", "hidden.weight", "hidden.bias"], ["h"], "hidden", transB=1),
        node("Relu", ["h"], ["r"], "relu"),
        node("MatMul", ["r", "out.weight"], ["m"], "out"),
        node("Add", ["m", "out.bias"], ["y"], "out_bias"),
    ]
    return made(nodes, {"x": ["batch", 3]}, ["y"], numbers)


def forward(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """What the perceptron gives."""
    w, b, v, c = (numpy_helper.to_array(t) for t in model.graph.initializer)
    result: np.ndarray = np.maximum(x @ w.T + b, 0) @ v + c
    return result
