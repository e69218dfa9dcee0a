"""Every op by its row in the table: derivatives, both interpreters and spellings, PyTorch, documentation."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from typing import Any

import numpy as np
import pytest

from cortex_compute.backends import get
from cortex_compute.types import TensorType, dtype
from cortex_core import ops
from cortex_core.graph.value import Graph, input_value
from cortex_core.ops.array import Array
from cortex_core.ops.differentiate import differentiate
from cortex_core.ops.table import OPS, Op, Sample
from cortex_core.program import Program, compile_graph
from cortex_core.store import Store
from cortex_core.tensor import Tensor
from tests.core.ops.gradients import check_gradients
from tests.core.ops.samples import NAMES, ROWS, arrays, call, numpys, peer

each_row = pytest.mark.parametrize(("op", "sample"), ROWS, ids=NAMES)
PEERED = [i for i, (op, _) in enumerate(ROWS) if op.torch is not None]
each_peered_row = pytest.mark.parametrize(
    ("op", "sample"), [ROWS[i] for i in PEERED], ids=[NAMES[i] for i in PEERED]
)


def leaves(given: list[np.ndarray]) -> list[Tensor]:
    return [Tensor(a, requires_grad=a.dtype.kind == "f") for a in given]


@each_row
def test_derivatives(op: Op, sample: Sample) -> None:
    given = arrays(sample)
    if op.gradient:
        check_gradients(lambda *xs: call(op.function, sample, xs), *given, tolerance=1e-6)
        return
    tensors = leaves(given)
    wanted = [x for x in tensors if x.requires_grad]
    results = call(op.function, sample, tensors)
    found = differentiate(results, [Tensor(np.ones(y.shape)) for y in results], wanted)
    for g in found:
        assert g is None or not np.asarray(g).any()


@pytest.mark.parametrize(("op", "sample"), [(o, s) for o, s in ROWS if o.symbolic])
def test_a_program_computes_what_eager_code_does(op: Op, sample: Sample) -> None:
    given = arrays(sample)
    inputs = [input_value(f"x{i}", TensorType(a.shape, dtype(a.dtype))) for i, a in enumerate(given)]
    outputs = call(op.function, sample, inputs)
    graph = Graph(tuple(inputs), {f"y{i}": y for i, y in enumerate(outputs)})
    backend = get("numpy")
    results = Program(compile_graph(graph, backend), backend, Store(backend.devices()[0])).run(
        {f"x{i}": a for i, a in enumerate(given)}
    )
    for i, y in enumerate(call(op.function, sample, leaves(given))):
        found = results[f"y{i}"].numpy()
        assert found.dtype == y.dtype.storage
        np.testing.assert_allclose(found, y.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("op", "sample"), [(o, s) for o, s in ROWS if numpys(s) != s.keywords])
def test_both_spellings(op: Op, sample: Sample) -> None:
    tensors = leaves(arrays(sample))
    for a, b in zip(call(op.function, sample, tensors), call(op.function, sample, tensors, **numpys(sample))):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_methods_are_the_ops(op: Op) -> None:
    for name in op.methods:
        assert getattr(Array, name) is op.function


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_the_docstring_derives_the_gradient(op: Op) -> None:
    text = inspect.getdoc(op.function) or ""
    if op.gradient:
        assert re.search(r"\bd\w+ = ", text), text
    else:
        assert "No gradient: " in text, text
    assert op.samples


@pytest.mark.peers
@each_peered_row
def test_as_pytorch(op: Op, sample: Sample) -> None:
    """Values, gradients, and the gradients of the sum of the gradients' squares."""
    torch = pytest.importorskip("torch")
    given = arrays(sample, seed=1)
    ours = leaves(given)
    theirs = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in given]
    results = call(op.function, sample, ours), call(peer(op, torch), sample, theirs)
    assert len(results[0]) == len(results[1])
    for y, z in zip(*results):
        assert y.shape == tuple(z.shape)
        assert str(z.dtype) == f"torch.{y.dtype}"
        close(y, z, 1e-10)
    floating = [(y, z) for y, z in zip(*results) if y.dtype.kind == "float" and y.requires_grad]
    if not op.gradient or not floating:
        return
    mine, others = ([x for x in xs if x.requires_grad] for xs in (ours, theirs))
    first = differentiate([total(y) for y, _ in floating], [Tensor(1.0, "float64")] * len(floating), mine)
    first_other = torch.autograd.grad(
        sum(total(z) for _, z in floating), others, create_graph=True, allow_unused=True
    )
    compare(mine, first, first_other, 1e-8)
    pairs = [(g, h) for g, h in zip(first, first_other) if h is not None and h.requires_grad]
    if pairs:
        second = differentiate([total(g) for g, _ in pairs], [Tensor(1.0, "float64")] * len(pairs), mine)
        compare(
            mine,
            second,
            torch.autograd.grad(sum(total(h) for _, h in pairs), others, allow_unused=True),
            1e-6,
        )


def total(y: Any) -> Any:
    """A number in which each element counts differently, in Cortex or PyTorch."""
    return (y * y * y).sum() + (y * 0.7).sum()


def compare(wanted: list[Any], found: list[Any], others: Any, tolerance: float) -> None:
    for x, g, h in zip(wanted, found, others):
        zeros = np.zeros(x.shape)
        close(zeros if g is None else g, zeros if h is None else h.detach(), tolerance)


def close(a: Any, b: Any, tolerance: float) -> None:
    np.testing.assert_allclose(
        np.asarray(a), b.detach().numpy() if hasattr(b, "detach") else b, rtol=tolerance, atol=tolerance
    )


# Public functions of the modules that are no rows of the table, and why.
EXCEPTIONS = {
    "apply": "how an op is applied",
    "array": "how an op is applied",
    "differentiate": "how a gradient is found",
    "lift": "how an operand is understood",
    "table": "the table itself",
    "operators": "Python's operators, by the ops of the table",
    "convolution": "channels last: see test_convolution.py",
    "pooling": "channels last: see test_pooling.py",
    "normalization": "over the last axis: see test_normalization.py",
    "random": "of a key: see test_random.py; people draw by `cortex_core.creation`",
    "attention": "of heads: see test_attention.py",
    "recurrence": "over time: see test_recurrence.py",
    "pointwise.steep_sigmoid": "an activation, and gates: see test_recurrence.py",
    "boxes": "of detectors: see tests/core/test_detection.py",
    "ctc": "a loss: see test_ctc.py",
    "distance": "of losses: see tests/core/nn",
    "losses": "formulas of losses: see tests/core/test_losses_of_numbers.py",
    "padding": "channels last: see tests/core/layers/test_pictures.py",
    "resize": "channels last: see test_resize.py",
    "pointwise.scalar": "makes an op of a scalar function",
    "pointwise.pointwise": "makes an op of a formula",
    "pointwise.reads": "what a change in place asks of a rule",
    "reduce.reduce": "makes a reduction",
    "reduce.sum_to": "what broadcasting does to a gradient",
    "views.slice_": "what indexing is made of",
    "views.index": "the part of getitem that makes views",
    "indexing.top_k": "topk, in the words of the descriptions",
    "indexing.unslice": "the gradient of a slice",
    "indexing.scatter_add": "index_add, in the order of arguments of the descriptions",
    "indexing.check_places": "rejects what is out of range",
    "indexing.corner": "the part of a source that is scattered",
    "indexing.elements": "an axis and an index, checked",
    "indexing.several": "what an op that joins arrays is given",
    "softmax.softmax_cross_entropy": "a loss: see test_softmax.py",
    "softmax.binary_cross_entropy_with_logits": "a loss: see test_softmax.py",
}


def test_the_table_is_complete() -> None:
    known = {id(row.function) for row in OPS.values()}
    missing, used = [], set()
    for module in pkgutil.iter_modules(ops.__path__):
        home = importlib.import_module(f"{ops.__name__}.{module.name}")
        for name, f in vars(home).items():
            place = f"{module.name}.{name}"
            if name.startswith("_") or not inspect.isfunction(f) or f.__module__ != home.__name__:
                continue
            if id(f) in known:
                continue
            excused = {module.name, place} & EXCEPTIONS.keys()
            used |= excused
            if not excused:
                missing.append(place)
    assert not missing
    assert EXCEPTIONS.keys() - used <= {"array"}
