"""The bytes of an ONNX file become plain data.  Nothing is executed, and no other file is opened yet."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from cortex_compute.errors import ArgumentError, SpecError
from cortex_core.exchange.from_onnx.model import File, Graph, Node, Port, Refused
from cortex_core.exchange.from_onnx.tensors import tensor, type_name
from cortex_core.exchange.recognised import advice

LARGEST = 2**31 - 1
"""No protobuf is longer."""
MOST_TOLD = 20
OWN_DOMAINS = ("", "ai.onnx")


def read(path: str | os.PathLike[str]) -> File:
    """The model of a file.  Raises `SpecError` where it is damaged, or of versions that are not known."""
    place = Path(path)
    proto = _parsed(place, _bytes(place))
    faults = [*_unsupported(proto)]
    if faults:
        raise SpecError(f"{place}: {'; '.join(faults)}")
    opset = _opset(proto, place)
    return File(_graph(proto.graph, place.parent), opset, _line(proto.producer_name))


def _bytes(place: Path) -> bytes:
    try:
        if place.stat().st_size > LARGEST:
            raise SpecError(
                f"{place}: it has more than 2 GB; ONNX keeps the numbers of such models beside them"
            )
        return place.read_bytes()
    except OSError as error:
        raise SpecError(f"{place}: cannot be read ({error.strerror or error})") from None


def _parsed(place: Path, content: bytes) -> Any:
    try:
        import onnx
    except ImportError:
        raise ArgumentError(
            "ONNX files are read by the package onnx, which is not installed: pip install 'cortex-nn[onnx]'"
        ) from None
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError:
        told = advice(place, but="onnx") or "it is no ONNX model, or its end is missing; get it again"
        raise SpecError(f"{place}: {told}") from None
    if not proto.HasField("graph") or not proto.graph.output or not proto.opset_import:
        told = "it has no graph with outputs, or does not say the version of its operators"
        raise SpecError(f"{place}: it is no whole ONNX model: {told}")
    return proto


def _unsupported(proto: Any) -> Iterator[str]:
    """What no graph that is supported has."""
    twice = _twice(proto.graph.initializer)
    if twice:
        yield f"several initializers are called {', '.join(twice[:MOST_TOLD])}"
    doubled = ((node, name) for node in proto.graph.node for name in _twice(node.attribute))
    told = [f"{name} (of {_line(node.name or node.op_type)})" for node, name in islice(doubled, MOST_TOLD)]
    if told:
        yield f"attributes are given twice: {', '.join(told)}"
    if proto.graph.sparse_initializer:
        yield "sparse initializers are not supported; write them out (onnx.helper, sparse to dense)"
    if proto.graph.quantization_annotation:
        yield "quantised values are not supported; export the model before it is quantised"
    if proto.training_info:
        yield "its training_info is not supported; export the model for inference"


def _twice(protos: Iterable[Any]) -> list[str]:
    """The names that several of them have."""
    return [name for name, count in Counter(_line(p.name) for p in protos).items() if count > 1]


def _opset(proto: Any, place: Path) -> int:
    """The version of ONNX's own operators."""
    from onnx.defs import onnx_opset_version

    found = [entry.version for entry in proto.opset_import if _text(entry.domain) in OWN_DOMAINS]
    newest = onnx_opset_version()
    if len(found) != 1 or not 0 < found[0] <= newest:
        told = f"its operators are of opset {', '.join(map(str, found)) or 'none'}"
        raise SpecError(f"{place}: {told}; the package onnx that is installed knows 1 to {newest}")
    return int(found[0])


def _graph(proto: Any, folder: Path) -> Graph:
    tensors = {_text(t.name): tensor(t, folder) for t in proto.initializer}
    inputs = [port for x in proto.input if (port := _port(x)).name not in tensors]
    outputs = [_text(x.name) for x in proto.output]
    return Graph([_node(n, folder) for n in proto.node], inputs, outputs, tensors)


def _port(proto: Any) -> Port:
    kind = proto.type.WhichOneof("value")
    if kind != "tensor_type":
        return Port(_text(proto.name), f"the type {kind}", None)
    told = proto.type.tensor_type
    shape = tuple(map(_dimension, told.shape.dim)) if told.HasField("shape") else None
    return Port(_text(proto.name), type_name(told.elem_type), shape)


def _dimension(proto: Any) -> int | str | None:
    """A size, or its name; what is below 0 or empty is not known, as some programs write it."""
    if proto.WhichOneof("value") == "dim_value":
        return int(proto.dim_value) if proto.dim_value >= 0 else None
    return _text(proto.dim_param) or None


def _node(proto: Any, folder: Path) -> Node:
    attributes = {_text(a.name): _attribute(a, folder) for a in proto.attribute}
    domain = "" if _text(proto.domain) in OWN_DOMAINS else _line(proto.domain)
    told = (_line(proto.op_type), domain, _line(proto.name))
    return Node(*told, tuple(map(_text, proto.input)), tuple(map(_text, proto.output)), attributes)


def _attribute(proto: Any, folder: Path) -> Any:
    """The value of an attribute as plain data."""
    import onnx

    kinds = onnx.AttributeProto
    if proto.ref_attr_name:
        return Refused("an attribute of a function")
    if proto.type in (kinds.FLOAT, kinds.INT):
        return proto.f if proto.type == kinds.FLOAT else proto.i
    if proto.type in (kinds.FLOATS, kinds.INTS):
        return [*(proto.floats if proto.type == kinds.FLOATS else proto.ints)]
    if proto.type == kinds.STRING:
        return _line(proto.s)
    if proto.type == kinds.STRINGS:
        return [_line(s) for s in proto.strings]
    if proto.type == kinds.TENSOR:
        return tensor(proto.t, folder)
    names = {value: name for name, value in kinds.AttributeType.items()}
    return Refused(f"a value of the kind {names.get(proto.type, proto.type)}")


def _text(told: str | bytes) -> str:
    """A name; protobuf gives bytes where it is no UTF-8."""
    return told if isinstance(told, str) else told.decode("utf-8", "replace")


def _line(told: str | bytes) -> str:
    """A name on one line, whatever the file says."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", _text(told))[:200]
