"""What is wrong with a file is told, all at once; nothing is executed, or read elsewhere."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import cortex
from cortex_compute.errors import ArgumentError, SpecError
from tests.exchange.onnx.handmade import made, node, perceptron, saved, written

RELU = [node("Relu", ["x"], ["y"])]
INPUT = {"x": ["n", 3]}


def refused(path: Path) -> str:
    """What is said of the file, without its name."""
    with pytest.raises(SpecError) as caught:
        cortex.from_onnx(path)
    return str(caught.value).removeprefix(f"{path}: ")


# Operators


def test_all_that_is_not_supported_is_told_at_once(tmp_path: Path) -> None:
    nodes = [
        node("Det", ["x"], ["a"], "volume"),
        node("Gelu", ["x"], ["b"], "custom", domain="com.microsoft"),
        node("NoSuch", ["x"], ["c"]),
        node("Sign", ["x"], ["d"], "sign"),
        node("Sum", ["a", "b", "c", "d"], ["y"]),
    ]
    assert refused(saved(tmp_path, nodes, INPUT, ["y"])).splitlines() == [
        "4 of the graph's nodes cannot be imported:",
        "  volume (Det): this operator is not supported",
        "  custom (com.microsoft::Gelu): operators of com.microsoft are not known; export without them",
        "  the node that gives c (NoSuch): ONNX has no such operator in opset 17",
        "  sign (Sign): this operator is not supported",
    ]


def test_wrong_attributes_are_told_at_once(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", ["x"], ["a"], "turn", perm=[0, 0]),
        node("Softmax", ["x"], ["b"], "soft", axis=5),
        node("Relu", ["x"], ["c"], "relu", slope=3.0),
        node("Concat", ["a", "b", "c"], ["y"], axis=1),
    ]
    assert refused(saved(tmp_path, nodes, INPUT, ["y"])).splitlines() == [
        "3 of the graph's nodes cannot be imported:",
        "  turn (Transpose): perm is [0, 0] of 2 axes",
        "  soft (Softmax): axis 5 of [batch, 3]; expected -2 to 1",
        "  relu (Relu): its attributes slope are not supported",
    ]


def test_an_attribute_of_another_kind(tmp_path: Path) -> None:
    path = saved(tmp_path, [node("Concat", ["x", "x"], ["y"], axis="last")], INPUT, ["y"])
    assert "axis 'last' of [batch, 3]" in refused(path)


def test_definitions_that_are_not_known(tmp_path: Path) -> None:
    path = saved(tmp_path, [node("Add", ["x", "x"], ["y"])], INPUT, ["y"], opset=6)
    told = "its definition of opset 6 is not supported; those of 7, 13, 14 are"
    assert told in refused(path)


@pytest.mark.parametrize("opset", [0, 9999])
def test_opsets_that_are_not_known(tmp_path: Path, opset: int) -> None:
    model = made(RELU, INPUT, ["y"])
    model.opset_import[0].version = opset
    told = refused(written(tmp_path, model))
    assert re.match(
        rf"its operators are of opset {opset}; the package onnx that is installed knows 1 to", told
    )


def test_graphs_within_the_graph(tmp_path: Path) -> None:
    body = helper.make_graph(RELU, "body", [], [helper.make_tensor_value_info("y", 1, None)])
    nodes = [node("If", ["c"], ["y"], then_branch=body, else_branch=body)]
    path = saved(tmp_path, nodes, {"x": ["n", 3]}, ["y"], {"c": np.array(True)})
    assert "(If): graphs within the graph are not supported" in refused(path)


def test_functions_of_the_file(tmp_path: Path) -> None:
    model = made([node("Mine", ["x"], ["y"], domain="own")], INPUT, ["y"])
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "Mine", ["x"], ["y"], RELU, opsets))
    assert "(own::Mine): operators of own are not known" in refused(written(tmp_path, model))


# Graphs


def test_circles(tmp_path: Path) -> None:
    nodes = [node("Add", ["x", "b"], ["a"], "one"), node("Relu", ["a"], ["b"], "two")]
    told = "these nodes take what they give, or follow such: one, two"
    assert refused(saved(tmp_path, nodes, INPUT, ["b"])) == told


def test_lacking_and_double_values(tmp_path: Path) -> None:
    path = saved(tmp_path, [node("Add", ["x", "gone"], ["y"], "add")], INPUT, ["y", "other"])
    assert refused(path) == "nothing gives 'gone' (of add), the output 'other'"
    path = saved(tmp_path, [*RELU, node("Tanh", ["x"], ["y"])], INPUT, ["y"])
    assert refused(path) == "several nodes or inputs give y"


def test_an_output_that_is_constant(tmp_path: Path) -> None:
    path = saved(tmp_path, [node("Shape", ["x"], ["y"])], INPUT, ["y"])
    assert "the output 'y': it is constant; take it out of the outputs" in refused(path)


@pytest.mark.parametrize("kind", ["STRING", "COMPLEX64", "FLOAT8E4M3FN", "UINT64"])
def test_types_of_inputs(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path, RELU, INPUT, ["y"], dtype=TensorProto.DataType.Value(kind))
    assert f"the input 'x': it is of {kind}; supported: FLOAT, INT64" in refused(path)


def test_sequences_and_sparse_numbers(tmp_path: Path) -> None:
    model = made(RELU, INPUT, ["y"])
    model.graph.input[0].type.CopyFrom(
        helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [3]))
    )
    assert "it is of the type sequence_type" in refused(written(tmp_path, model))
    model = made(RELU, INPUT, ["y"])
    values = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    places = helper.make_tensor("p", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [10]))
    assert "sparse initializers are not supported" in refused(written(tmp_path, model))


# Sizes


@pytest.mark.parametrize("shape", [["n", 2**40], ["n", 0], ["n", 2**31, 2**20]])
def test_absurd_shapes(tmp_path: Path, shape: list[Any]) -> None:
    assert refused(saved(tmp_path, RELU, {"x": shape}, ["y"]))


@pytest.mark.parametrize(
    ("nodes", "held"),
    [
        ([node("ConstantOfShape", ["s"], ["k"])], {"s": np.array([2**20, 2**20])}),
        (
            [node("Expand", ["one", "s"], ["k"])],
            {"one": np.ones((1, 1), np.float32), "s": np.array([2**20] * 2)},
        ),
        (
            [node("Tile", ["one", "s"], ["k"])],
            {"one": np.ones((1, 1), np.float32), "s": np.array([2**30, 9])},
        ),
        (
            [node("Range", ["a", "b", "a"], ["k"])],
            {"a": np.float32(1), "b": np.float32(1e12)},
        ),
    ],
)
def test_constants_that_would_take_the_memory(tmp_path: Path, nodes: list[Any], held: dict[str, Any]) -> None:
    path = saved(tmp_path, [*nodes, node("Add", ["x", "k"], ["y"])], INPUT, ["y"], held)
    assert "at most 16,777,216 are computed at import" in refused(path)


def test_layers_that_would_take_the_memory(tmp_path: Path) -> None:
    held = {"pads": np.array([0, 2**33, 0, 0])}
    path = saved(tmp_path, [node("Pad", ["x", "pads"], ["y"])], INPUT, ["y"], held)
    assert "for each example: more than 2147483648 numbers" in refused(path)
    held = {"scales": np.array([1, 1, 1e9, 1], np.float32)}
    path = saved(tmp_path, [node("Resize", ["x", "", "scales"], ["y"])], {"x": ["n", 1, 4, 4]}, ["y"], held)
    assert "an axis of 4 elements becomes one of 4,000,000,000" in refused(path)


def test_numbers_that_the_file_does_not_have(tmp_path: Path) -> None:
    model = perceptron()
    model.graph.initializer[0].dims[:] = [2**30, 2**30]
    told = refused(written(tmp_path, model))
    assert (
        "the tensor 'hidden.weight' has 48 bytes; its shape [1073741824, 1073741824] of FLOAT needs" in told
    )


def test_too_many_axes_copies_and_places(tmp_path: Path) -> None:
    path = saved(tmp_path, RELU, {"x": [f"n{i}" for i in range(200)]}, ["y"])
    assert "the input 'x': it has 200 axes; at most 32 are supported" in refused(path)
    held = {"s": np.array([1, 2**31])}
    path = saved(tmp_path, [node("Expand", ["x", "s"], ["y"])], {"x": ["n", 1]}, ["y"], held)
    assert "2147483648 times along axis 1; at most 65,536 places" in refused(path)
    held = {"places": np.zeros(2**16 + 1, np.int64)}
    path = saved(tmp_path, [node("Gather", ["x", "places"], ["y"], axis=1)], INPUT, ["y"], held)
    assert "it gathers 65,537 places; at most 65,536 are supported" in refused(path)


def test_initializers_of_one_name(tmp_path: Path) -> None:
    model = perceptron()
    model.graph.initializer.append(model.graph.initializer[0])
    assert refused(written(tmp_path, model)) == "several initializers are called hidden.weight"


def test_a_matrix_with_more_axes_than_the_value(tmp_path: Path) -> None:
    """The product would have one more axis."""
    held = {"w": np.ones((1, 3, 4), np.float32)}
    told = refused(saved(tmp_path, [node("MatMul", ["x", "w"], ["y"])], INPUT, ["y"], held))
    assert "a product of [batch, 3] along axis 1 with a matrix [1, 3, 4] is not supported" in told


def test_attributes_that_are_given_twice(tmp_path: Path) -> None:
    model = made([node("Softmax", ["x"], ["y"], "soft", axis=1)], INPUT, ["y"])
    model.graph.node[0].attribute.append(helper.make_attribute("axis", 0))
    assert refused(written(tmp_path, model)) == "attributes are given twice: axis (of soft)"


# Files


def nested(depth: int) -> bytes:
    """A model whose graph is a node with a graph, and so on."""
    content = b""
    for _ in range(depth):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            size, left = bytearray(), len(content)
            while left > 127:
                size.append(left % 128 + 128)
                left //= 128
            content = tag + bytes([*size, left]) + content
    model = onnx.ModelProto(opset_import=[helper.make_opsetid("", 17)])
    outer = b"\x3a" + bytes([len(content) % 128 + 128, len(content) // 128]) + content
    return model.SerializeToString() + outer


def test_graphs_a_thousand_deep(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(nested(1000))
    assert refused(path) == "it is no ONNX model, or its end is missing; get it again"


def test_what_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for content in (b"", b"<html>", b"\x08\x08", os.urandom(100)):
        path.write_bytes(content)
        assert "no ONNX model" in refused(path) or "no whole ONNX model" in refused(path)
    assert "cannot be read" in refused(tmp_path / "none.onnx")


def test_every_truncation_is_refused_or_whole(tmp_path: Path) -> None:
    content = perceptron().SerializeToString()
    path = tmp_path / "model.onnx"
    for end in range(0, len(content) - 1, 7):
        path.write_bytes(content[:end])
        with pytest.raises(SpecError):
            cortex.from_onnx(path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_changed_bytes_never_crash(tmp_path: Path, seed: int) -> None:
    """Nothing but a `SpecError` comes of a damaged file; some damage is none."""
    content = [perceptron(), choosing()][seed % 2].SerializeToString()
    path, draw = tmp_path / "model.onnx", np.random.default_rng(seed)
    for _ in range(200):
        changed = bytearray(content)
        for place in draw.integers(0, len(content), 1 + seed):
            changed[place] = int(draw.integers(0, 256))
        path.write_bytes(bytes(changed))
        with suppress(SpecError):
            cortex.from_onnx(path)


def choosing() -> onnx.ModelProto:
    """Comparisons, choices, shapes and places, which hold numbers of several kinds."""
    nodes = [
        node("Less", ["x", "limit"], ["low"], "less"),
        node("Where", ["low", "x", "limit"], ["chosen"], "where"),
        node("Gather", ["chosen", "places"], ["some"], "gather", axis=1),
        node("Reshape", ["some", "shape"], ["square"], "reshape"),
        node("Einsum", ["square", "square"], ["product"], "einsum", equation="bij,bkj->bik"),
        node("ReduceSum", ["product", "axes"], ["y"], "sum", keepdims=0),
    ]
    held = {"places": [2, 0, 1, 1], "shape": [0, 2, -1], "axes": [2]}
    return made(nodes, INPUT, ["y"], {"limit": np.float32([0.5, 1, 2]), **held})


# Numbers in other files


def external(folder: Path, change: Callable[[Path, onnx.TensorProto], None]) -> Path:
    """A perceptron whose first matrix lies in weights.bin, after a change."""
    model = perceptron()
    tensor = model.graph.initializer[0]
    content = b"\0" * 8 + tensor.raw_data
    (folder / "weights.bin").write_bytes(content)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("offset", "8"), ("length", "48")):
        tensor.external_data.add(key=key, value=value)
    change(folder, tensor)
    return written(folder, model)


def test_numbers_beside_the_model(tmp_path: Path) -> None:
    x = np.ones((2, 3), np.float32)
    there = cortex.from_onnx(external(tmp_path, lambda folder, tensor: None)).predict(x)
    np.testing.assert_array_equal(there, cortex.from_onnx(written(tmp_path, perceptron())).predict(x))


def told(key: str, value: str) -> Callable[[Path, onnx.TensorProto], None]:
    def change(folder: Path, tensor: onnx.TensorProto) -> None:
        (entry,) = (e for e in tensor.external_data if e.key == key)
        entry.value = value

    return change


@pytest.mark.parametrize(
    "location", ["../weights.bin", "/etc/passwd", "a/../../x", "..\\x", "C:\\x", "C:x", "", ".", "a\0b"]
)
def test_files_outside_the_folder(tmp_path: Path, location: str) -> None:
    said = refused(external(tmp_path, told("location", location)))
    assert "supported are files in the folder of the model" in said or "which is no file" in said


def test_links(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()

    def link(folder: Path, tensor: onnx.TensorProto) -> None:
        (folder / "weights.bin").rename(tmp_path / "secret.bin")
        (folder / "weights.bin").symlink_to(tmp_path / "secret.bin")

    assert "is a link; put the file itself there" in refused(external(inside, link))

    def folder_link(folder: Path, tensor: onnx.TensorProto) -> None:
        (folder / "more").symlink_to(tmp_path)
        told("location", "more/secret.bin")(folder, tensor)

    (inside / "weights.bin").unlink()
    assert "'more' is a link" in refused(external(inside, folder_link))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("offset", "9", "lies at 9 to 57 of weights.bin, which has 56 bytes"),
        ("offset", "-8", "has the offset '-8'; expected a whole number"),
        ("offset", "99999999999999999999", "expected a whole number"),
        ("length", "47", "its shape [4, 3] needs 48"),
        ("length", "9999999999", "its shape [4, 3] needs 48"),
        ("location", "gone.bin", "which is no file beside the model; get it too"),
    ],
)
def test_places_in_a_file(tmp_path: Path, key: str, value: str, said: str) -> None:
    assert said in refused(external(tmp_path, told(key, value)))


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, perceptron())
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ArgumentError, match=r"which is not installed: pip install 'cortex-nn\[onnx\]'"):
        cortex.from_onnx(path)
