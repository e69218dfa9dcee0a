"""Inputs of every data type: onnxruntime gives the same numbers, also where it has no kernel of that type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import CortexError, SpecError
from cortex_compute.types import dtype
from cortex_core.exchange.to_onnx.exported import to_onnx
from cortex_core.exchange.to_onnx.kernels import KERNELS, running
from cortex_core.exchange.to_onnx.unsaid import Unsaid
from cortex_core.network import Network
from cortex_core.spec import read
from tests.exchange.to_onnx.support import TOLERANCE, difference, predicted, session

WHOLE = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool")
LAYERS: dict[str, Any] = {
    **{kind: kind for kind in ("relu", "flip", "global_max_pool1d", "global_avg_pool1d", "layer_norm")},
    **{kind: kind for kind in ("sigmoid", "softmax", "gelu", "elu")},
    "padding": {"padding1d": 1},
    "pool": {"max_pool1d": 2},
    "means": {"avg_pool1d": 2},
    "products": {"multiply": {"from": ["x", "x"]}},
    "sums": {"add": {"from": ["x", "x"]}},
    "largest": {"maximum": {"from": ["x", "x"]}},
    "convolution": {"conv1d": {"filters": 2, "kernel": 2}},
    **{name: {"compare": {"operation": name, "value": 2}} for name in ("less", "not_equal")},
}
REFUSED = {
    ("uint64", "global_max_pool1d"),
    *(("float64", name) for name in ("global_avg_pool1d", "means", "gelu")),
}


def made(given: str, layer: Any) -> Network | None:
    """None where Cortex has no such layer of such inputs."""
    inputs = {"x": {"shape": [4, 3], "dtype": given}}
    try:
        return Network(read({"cortex": 1, "inputs": inputs, "layers": [layer]}), seed=1)
    except CortexError:
        return None


@pytest.mark.peers
@pytest.mark.parametrize("given", [*WHOLE, "float16", "float64"])
def test_layers_of_inputs_of_a_type(given: str) -> None:
    pytest.importorskip("onnxruntime")
    x = np.random.default_rng(0).integers(0, 2 if given == "bool" else 5, (2, 4, 3)).astype(given)
    compared = 0
    for name, layer in LAYERS.items():
        net = made(given, layer)
        if net is None:
            continue
        if (given, name) in REFUSED:
            with pytest.raises(SpecError, match=rf"onnxruntime has no \w+ of {given}; cast to"):
                to_onnx(net)
            continue
        (theirs,), (ours,) = session(to_onnx(net)).run(None, {"x": x}), predicted(net, {"x": x}).values()
        assert (theirs.dtype, theirs.shape) == (ours.dtype, ours.shape), name
        rounding = 0 if given in WHOLE and ours.dtype == given else 2e-3 if given == "float16" else TOLERANCE
        assert difference(ours, theirs) <= rounding, name
        compared += 1
    assert compared >= 5


@pytest.mark.peers
@pytest.mark.parametrize(
    "op", ["Abs", "Floor", "Max", "Where", "Pad", "ReduceMax", "GlobalAveragePool", "Erf"]
)
def test_the_table_is_that_of_onnxruntime(op: str) -> None:
    """A session over each type opens if the table has it, and else does not."""
    onnx: Any = pytest.importorskip("onnx")
    ort: Any = pytest.importorskip("onnxruntime")
    helper = onnx.helper
    for given in (*WHOLE, "float16", "float32", "float64"):
        code = helper.np_dtype_to_tensor_dtype(np.dtype(given))
        infos = {
            name: helper.make_tensor_value_info(name, t, shape)
            for name, t, shape in (
                ("x", code, [2, 4, 3]),
                ("c", 9, [2, 4, 3]),
                ("p", 7, [6]),
                ("v", code, []),
            )
        }
        names = {"Max": "xx", "Where": "cxx", "Pad": "xpv"}.get(op, "x")
        node = helper.make_node(op, [*names], ["y"], **({"axes": [1]} if op == "ReduceMax" else {}))
        made = helper.make_tensor_value_info("y", code, [None] * 3)
        graph = helper.make_graph([node], "g", [infos[name] for name in dict.fromkeys(names)], [made])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        try:
            ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
            runs = True
        except Exception:  # onnxruntime has no common base of its errors
            runs = False
        assert runs == (given in KERNELS[op]), given


def test_a_wider_type_holds_all_numbers() -> None:
    found = {name: running("Softmax", dtype(name)).name for name in ("int8", "uint16", "int32", "float16")}
    assert found == {"int8": "float32", "uint16": "float32", "int32": "float64", "float16": "float16"}
    assert [running("ReduceMax", dtype(name)).name for name in ("bool", "int16", "uint32")] == [
        *("int32", "int32", "int64")
    ]
    for name in ("int64", "uint64"):
        with pytest.raises(Unsaid, match=f"onnxruntime has no Softmax of {name}"):
            running("Softmax", dtype(name))
