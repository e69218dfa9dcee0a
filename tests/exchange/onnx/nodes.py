"""ONNX's own tests of its operators, through the importer: each is a graph of one operator with its inputs
and the outputs that must come of them.

As a program it writes the table of docs/onnx.md:  python -m tests.exchange.onnx.nodes
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from cortex_compute.errors import CortexError
from cortex_core.exchange.from_onnx import operators
from cortex_core.exchange.from_onnx.folding import FOLDS
from cortex_core.exchange.from_onnx.imported import Imported, load

PAGE = Path(__file__).parents[3] / "docs" / "onnx.md"
MARKED = re.compile(r"(<!-- node tests -->\n).*?(<!-- end of node tests -->)", re.DOTALL)
ABSOLUTE = 1e-5
"""Beside ONNX's relative 1e-3: it would have 1e-7, below what float32 adds up to."""
REDUCED = ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Sum", "SumSquare")
HELD: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "InstanceNormalization", "GroupNormalization"), (1, 2)),
    **dict.fromkeys(("Clip", "Dropout", "Gemm", "LayerNormalization"), (1, 2)),
    **dict.fromkeys(("PRelu", "Reshape", "Squeeze", "Unsqueeze", "Split", "Upsample", "Expand"), (1,)),
    **dict.fromkeys(("Tile", "Pow", "Gather", "RMSNormalization"), (1,)),
    **dict.fromkeys(("Pad", "Resize"), (1, 2, 3)),
    **{f"Reduce{name}": (1,) for name in REDUCED},
    **{"BatchNormalization": (1, 2, 3, 4), "Slice": (1, 2, 3, 4)},
    **{"LSTM": (1, 2, 3, 7), "GRU": (1, 2, 3), "RNN": (1, 2, 3)},
}
"""The inputs that a description holds as numbers: weights, shapes, axes.  The tests feed them as they feed
the others; here they become initializers, as they are in files that programs export."""
REASONS = {
    r"of (the type|STRING|U?INT[24]|UINT64|FLOAT[48]\w+)\b|to \w*(FLOAT[48]|INT[24]|E8M0)\w*": "other types",
    r"wraps|(?<!and )whole numbers|of u?int\d+|of bool\b|floating numbers": "whole numbers or truths",
    r"shape is \[.*\b0\b|finds nothing|of at least 1": "empty values",
    r"a cast of": "casts that cut",
    r"training_mode|drops at random": "training",
    r"its output .* is not supported": "masks and indices as outputs",
    r"exponents of shape|constant numbers, other|numbers that differ": "arrays of numbers beside values",
    r"expected several, a letter": "one value, or axes without a letter",
    r"dilations|such windows": "windows with holes in volumes",
    r"peepholes": "peepholes",
    r"tf_crop_and_resize|keep_aspect_ratio": "cropping, keeping the aspect",
    r"mode is 'wrap'": "wrapping around",
    r"it is supported of constants|not known|this operator|supported within": "other operators",
    r"stay apart|mix": "examples mixed",
    r"infinite|margin of -inf|to BFLOAT16": "infinite numbers, constants of bfloat16",
}


@dataclass
class Case:
    """A test: its name, its graph, and its only set of inputs and outputs."""

    name: str
    model: onnx.ModelProto
    given: list[Any]
    wanted: list[Any]

    @property
    def kind(self) -> str:
        """The operator; empty where it is written out in several."""
        return self.model.graph.node[0].op_type if len(self.model.graph.node) == 1 else ""

    @property
    def known(self) -> bool:
        """Whether all operators are in our table, or computed at import."""
        table = operators.load()
        names = [*self.model.graph.node]
        if self.kind:
            return not names[0].domain and names[0].op_type in table
        return all(not n.domain and (n.op_type in table or n.op_type in FOLDS) for n in names)


def cases(modules: Sequence[str] = ()) -> list[Case]:
    """All tests of operators, or those of some of onnx's modules alone, which takes less time."""
    from importlib import import_module

    from onnx.backend.test.case import node
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tests compute what overflows
        if not modules:
            found = load_model_tests(kind="node")
        else:
            for name in modules:
                import_module(f"{node.__name__}.{name}")
            found = node._NodeTestCases
    return [Case(t.name, t.model, *map(list, t.data_sets[0])) for t in found]


def check(case: Case, folder: Path) -> None:
    """Imports the graph and compares.  Raises `CortexError` where it is refused, AssertionError where another
    result comes out."""
    held = _held(case)
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    feeds = dict(zip((port.name for port in model.graph.input), case.given))
    _make_initializers(model, held, feeds)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    found = load(path)
    results = _predicted(found, {name: _array(x) for name, x in feeds.items() if name not in held})
    for port, wanted in zip(model.graph.output, case.wanted):
        have = _as_type(results[port.name], port.type.tensor_type.elem_type)
        np.testing.assert_equal(have.shape, np.shape(_array(wanted)), case.name)
        np.testing.assert_allclose(have, _float64(_array(wanted)), 1e-3, ABSOLUTE, err_msg=case.name)


def _held(case: Case) -> set[str]:
    """The names of inputs that become initializers."""
    nodes = case.model.graph.node
    inputs = {port.name for port in case.model.graph.input}
    held = HELD | ({"CastLike": (1,)} if case.kind else {})
    places = ((node.input, place) for node in nodes for place in held.get(node.op_type, ()))
    return {names[place] for names, place in places if place < len(names)} & inputs


def _make_initializers(model: onnx.ModelProto, held: set[str], feeds: dict[str, Any]) -> None:
    left = [port for port in model.graph.input if port.name not in held]
    del model.graph.input[:]
    model.graph.input.extend(left)
    for name in held:
        given = feeds[name]
        proto = onnx.TensorProto()
        proto.CopyFrom(given if isinstance(given, onnx.TensorProto) else onnx.numpy_helper.from_array(given))
        proto.name = name
        model.graph.initializer.append(proto)


def _predicted(found: Imported, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs by their names in ONNX, with the axes that they have there."""
    types = {node.name: str(node.dtype) for node in found.network.description.inputs}
    x = {}
    for name, value in found.inputs.items():
        array = feeds[name] if value.batch is None else np.moveaxis(feeds[name], value.batch, 0)
        x[value.source] = (array[None] if value.batch is None else array).astype(types[value.source])
    y = found.network.predict(x)
    y = y if isinstance(y, dict) else {found.network.description.outputs[0]: y}
    return {
        name: y[value.source][0] if value.batch is None else np.moveaxis(y[value.source], 0, value.batch)
        for name, value in found.outputs.items()
    }


def _array(given: Any) -> np.ndarray:
    return onnx.numpy_helper.to_array(given) if isinstance(given, onnx.TensorProto) else np.asarray(given)


def _float64(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64)


def _as_type(array: np.ndarray, kind: int) -> np.ndarray:
    """What we give, rounded to the type that ONNX gives, where that is a shorter one."""
    short = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    if kind in short:
        array = array.astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
    return _float64(array)


@dataclass
class Row:
    """What became of the tests of an operator."""

    passed: int = 0
    refused: Counter[str] | None = None
    failed: int = 0


def run(found: Iterable[Case]) -> tuple[dict[str, Row], list[str]]:
    """The rows by operator, those of what is written out in several under "", and what failed."""
    rows: dict[str, Row] = {}
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in found:
            row = rows.setdefault(case.kind, Row(refused=Counter()))
            assert row.refused is not None
            try:
                check(case, Path(folder))
                row.passed += 1
            except CortexError as error:
                row.refused[reason(str(error))] += 1
            except AssertionError as error:
                row.failed += 1
                failures.append(f"{case.name}: {error}")
    return rows, failures


def reason(told: str) -> str:
    """Why a test is refused, in a word."""
    return next((word for pattern, word in REASONS.items() if re.search(pattern, told)), told)


def table(rows: dict[str, Row]) -> str:
    """The part of the page."""
    lines = ["| operator | definitions of opset | passed | not supported | failed |", "|---|---|---|---|---|"]
    for name, operator in sorted(operators.load().items()):
        row = rows.get(name, Row(refused=Counter()))
        lines.append(f"| `{name}` | {', '.join(map(str, operator.versions))} | {_counts(row)} |")
    told = rows[""]
    lines.append(f"| written out in several of these | | {_counts(told)} |")
    total = Row(sum(r.passed for r in rows.values()), Counter(), sum(r.failed for r in rows.values()))
    refused = sum(sum((r.refused or {}).values()) for r in rows.values())
    lines.append(f"| **all** | | **{total.passed}** | **{refused}** | **{total.failed}** |")
    return "\n".join(lines)


def _counts(row: Row) -> str:
    told = ", ".join(f"{n} ({word})" for word, n in (row.refused or Counter()).most_common())
    return f"{row.passed} | {told} | {row.failed}"


def known(found: Sequence[Case]) -> Iterator[Case]:
    """The tests whose operators are all in our table."""
    return (case for case in found if case.known)


def page(rows: dict[str, Row]) -> str:
    """docs/onnx.md with the table made anew."""
    return MARKED.sub(lambda m: f"{m[1]}{table(rows)}\n{m[2]}", PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    made, failed = run(known(cases()))
    PAGE.write_text(page(made), encoding="utf-8")
    print(*failed, sep="\n")
