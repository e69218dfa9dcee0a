"""Plans drawn: the values in the arena over time, and the picture of them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from cortex_compute.backends import available, get
from cortex_compute.errors import ArgumentError, SpecError
from cortex_compute.primitives.indexing import Concatenate
from cortex_compute.types import TensorType
from cortex_core.check import check
from cortex_core.compiled import Compiled
from cortex_core.graph.memory import Planner, materialize
from cortex_core.graph.plan import ARENA, Plan
from cortex_core.graph.schedule import schedules
from cortex_core.graph.value import Graph, Update, input_value, state_value
from cortex_core.network import outline
from cortex_core.ops.indexing import concatenate
from cortex_core.ops.linear import matmul
from cortex_core.ops.pointwise import exp, isfinite, tanh
from cortex_core.ops.reduce import sum as total
from cortex_core.program import compile_graph
from cortex_viz.drawing import draw_plan, plan_svg
from cortex_viz.drawing.arena import live, spans
from cortex_viz.drawing.plan import ARENA as WIDE
from cortex_viz.page import page
from tests.core.graph.test_random_programs import Case, cases, graph_of
from tests.viz.browser import open_page, overlaps, small_text

EXAMPLES = Path(__file__).parents[2] / "examples"
LENET = EXAMPLES / "lenet.yaml"
SVG = "{http://www.w3.org/2000/svg}"
BACKENDS = [row.name for row in available() if row.name in ("numpy", "onednn") and row.present]
NUMPY = get("numpy")


def plan_of(path: Path, backend: str, purpose: Any, batch: int = 16) -> Plan:
    compiled = Compiled(outline(path), get(backend), purpose)
    return compiled.plan(compiled.types(batch))[0]


def check_spans(plan: Plan) -> None:
    """No byte has two values at one time, but where the last reader writes over what it reads; each read and
    each write finds its bytes; nothing lies behind the end of the arena, and something at it."""
    found = spans(plan)
    for a, b in combinations(found, 2):
        if a.start < b.end and b.start < a.end and a.first <= b.last and b.first <= a.last:
            assert a.replaced
            assert b.over
            assert a.last == b.first
    assert -(-max((x.end for x in found), default=0) // 64) * 64 == plan.arena
    assert max(live(found, len(plan.instructions)), default=0) <= plan.arena
    for t, x in enumerate(plan.instructions):
        for where in (*x.inputs, *x.outputs, x.workspace):
            if where is not None and where.buffer == ARENA and where.strides is None:
                reached = where.offset
                for span in sorted(found, key=lambda s: s.start):
                    if span.first <= t <= span.last and span.start <= reached:
                        reached = max(reached, span.end)
                assert reached >= where.offset + where.type.nbytes


@pytest.mark.parametrize("purpose", ["train", "evaluate", "predict"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["digits", "mlp"])
def test_the_arena_of_examples(name: str, backend: str, purpose: str) -> None:
    check_spans(plan_of(EXAMPLES / f"{name}.yaml", backend, purpose, batch=2))


@settings(max_examples=60, deadline=None)
@given(cases)
def test_the_arena_of_random_programs(case: Case) -> None:
    """Beside the planner's own account: its slots, which are as many bytes at each time, without the parts of
    concatenations, which are no instructions."""
    graph = materialize(graph_of(case))
    for schedule in schedules(graph):
        planner = Planner(graph, NUMPY, schedule, pooling=True)
        plan = planner.plan()
        check_spans(plan)
        if any(isinstance(node.primitive, Concatenate) for node in planner.nodes):
            continue
        slots = {
            id(s): s for s in [*(s.root()[0] for s in planner.slots.values()), *planner.workspaces.values()]
        }
        taken = live(spans(plan), len(plan.instructions))
        for t in range(len(planner.nodes)):
            here = [s for s in slots.values() if s.home == ARENA and s.start <= t <= s.end]
            assert taken[t] == sum(s.nbytes for s in here)


def test_a_value_lives_from_its_writer_to_its_last_reader() -> None:
    """b = exp(xw), c = bw, y = cb, by hand: 4 x 4 numbers of float32 are 64 bytes."""
    x, w = input_value("x", TensorType((4, 4))), state_value("w", TensorType((4, 4)))
    b = exp(matmul(x, w))
    c = matmul(b, w)
    graph = Graph((x,), {"y": matmul(c, b)})
    plan = compile_graph(graph, NUMPY)
    found = [s for s in spans(plan) if s.kind != "workspace"]
    assert [(s.first, s.last, s.nbytes) for s in found] == [(0, 2, 64), (1, 2, 64), (2, 2, 64)]
    assert {s.kind for s in found} == {"activation"}


def test_what_is_written_over_ends_there() -> None:
    x = input_value("x", TensorType((4, 4)))
    y = total(x, 0)
    graph = Graph((x,), {"y": tanh(y)})
    plan = compile_graph(graph, NUMPY)
    found = [s for s in spans(plan) if s.kind != "workspace"]
    assert [(s.nbytes, s.first, s.last, s.replaced, s.over) for s in found] == [
        (16, 0, 1, True, False),
        (16, 1, 1, False, True),
    ]
    assert found[0].start == found[1].start
    assert live(found, 2) == [16, 16]


def test_parts_between_one_another_are_one_value() -> None:
    a, b = (input_value(name, TensorType((3, 2))) for name in "ab")
    joined = concatenate([a, b], 1)
    plan = compile_graph(Graph((a, b), {"y": matmul(joined, joined.T)}), NUMPY)
    (whole, _) = [s for s in spans(plan) if s.kind != "workspace"]
    assert (whole.start, whole.end, whole.writers, whole.last) == (0, 48, (0, 1), 2)


def test_kinds() -> None:
    """The loss, its gradient, and a sum that neither needs."""
    x, w = input_value("x", TensorType((4, 4))), state_value("segment(plain)", TensorType((4, 4)))
    seen, y = state_value("metric", TensorType(())), matmul(x, w)
    loss, gradient = total(y * y), matmul(x.T, y)
    updates = (Update(w, w - gradient), Update(seen, seen + total(exp(y))))
    plan = compile_graph(Graph((x,), {"loss": loss}, updates, isfinite(loss)), NUMPY)
    kinds = {(s.kind, s.type.shape) for s in spans(plan) if s.kind != "workspace"}
    assert ("activation", (4, 4)) in kinds
    assert ("gradient", (4, 4)) in kinds
    assert ("other", ()) in kinds
    assert ("gradient", ()) not in kinds


def rectangles(svg: str) -> list[ET.Element]:
    return [r for r in ET.fromstring(svg).iter(f"{SVG}rect") if "span" in (r.get("class") or "")]


def test_the_picture_shows_the_plan() -> None:
    svg = plan_svg(LENET, "numpy", 64)
    plan = plan_of(LENET, "numpy", "train", 64)
    found = spans(plan)
    drawn = rectangles(svg)
    assert len(drawn) == len(found)
    left = min(float(r.attrib["x"]) for r in drawn)
    for r, span in zip(drawn, found):
        assert float(r.attrib["x"]) - left == pytest.approx(WIDE * span.start / plan.arena, abs=0.02)
        assert float(r.attrib["width"]) == pytest.approx(max(1.0, WIDE * span.nbytes / plan.arena), abs=0.02)
        assert f"{span.nbytes:,} bytes from byte {span.start:,} on" in (r.findtext(f"{SVG}title") or "")
    first = next(r for r in drawn if "float32[64, 24, 24, 20]" in (r.findtext(f"{SVG}title") or ""))
    assert first.findtext(f"{SVG}title") == (
        "activation float32[64, 24, 24, 20]: 2,949,120 bytes from byte 0 on"
        " | written by kernel 2, Conv + add conv2d | read last by kernel 3"
    )


def test_the_arena_is_what_check_counts() -> None:
    memory = check(str(LENET)).memory
    assert memory is not None
    assert f"an arena of {memory.arena:,} bytes" in draw_plan(LENET, "numpy", 64).title
    assert f"an arena of {memory.predict_arena:,} bytes" in draw_plan(LENET, "numpy", 64, "predict").title


def rows(svg: str) -> list[list[str]]:
    groups = ET.fromstring(svg).iter(f"{SVG}g")
    return [[t.text or "" for t in g.findall(f"{SVG}text")] for g in groups]


def test_kernels_and_layers() -> None:
    svg = plan_svg(LENET, "numpy", 64)
    table = rows(svg)
    assert table[2] == ["2", "Conv + add", "conv2d"]
    assert table[8] == ["8", "Gemm + add, relu", "dense"]
    assert ["11", "SoftmaxCrossEntropy", "softmax_cross_entropy"] in table
    assert "from here only if the loss is finite" in svg
    assert "once for each version" not in svg
    assert ">peak<" in svg
    residual = rows(plan_svg(EXAMPLES / "residual.yaml", "numpy", 8, "predict"))
    assert {"*/relu", "digit"} <= {row[2] for row in residual if len(row) > 2}


def test_the_prologue_is_marked() -> None:
    svg = plan_svg(EXAMPLES / "residual.yaml", "numpy", 8, "predict")
    assert "the above once for each version of the weights" in svg
    assert "only if" not in svg


def test_without_a_loss_a_prediction_is_planned() -> None:
    source = {"cortex": 1, "name": "plain", "inputs": {"x": [4]}, "layers": [{"dense": 3}]}
    assert "kernel" in draw_plan(source, "numpy").title
    assert "to predict on batches of 64 (numpy)" in draw_plan(source, "numpy").title
    with pytest.raises(SpecError, match="to train a network needs a loss"):
        draw_plan(source, "numpy", purpose="train")
    with pytest.raises(SpecError, match="batch_size is 0"):
        draw_plan(source, "numpy", 0)
    with pytest.raises(ArgumentError, match="known are train, evaluate, predict"):
        draw_plan(source, "numpy", purpose="drain")


def test_a_plan_without_kernels() -> None:
    source = {"cortex": 1, "name": "none", "inputs": {"x": [4]}, "layers": ["linear"]}
    assert draw_plan(source, "numpy").title.startswith("none: ")


def test_in_a_browser(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page("plan", [plan_svg(LENET, "numpy")]), encoding="utf-8")
    open_page(browser, tmp_path / "page.html")
    assert overlaps(browser) == []
    assert small_text(browser) == []
