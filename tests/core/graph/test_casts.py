"""Casts of the parts of one state become one."""

from __future__ import annotations

import numpy as np

from cortex_compute.backends import get
from cortex_compute.types import TensorType, bfloat16, float32
from cortex_core.graph.casts import join_casts
from cortex_core.graph.value import Graph, Value, state_value
from cortex_core.ops.pointwise import cast
from cortex_core.ops.views import reshape, slice_, transpose
from cortex_core.program import Program, compile_graph
from cortex_core.store import Store

STATE = state_value("w", TensorType((10,)))


def part(start: int, size: int) -> Value:
    value: Value = slice_(STATE, (start,), (size,))
    return value


def casts(graph: Graph) -> list[str]:
    return [str(n.types[0]) for n in graph.nodes() if str(n.primitive).startswith("Elementwise(cast")]


def test_parts_of_one_state() -> None:
    matrix = transpose(reshape(part(0, 6), (2, 3)), (1, 0))
    graph = Graph((), {"a": cast(matrix, bfloat16), "b": cast(part(6, 4), bfloat16)})
    joined = join_casts(graph)
    assert casts(joined) == ["bfloat16[10]"]
    numbers = np.arange(10, dtype=np.float32) / 4  # no number is rounded
    found = []
    for g in (graph, joined):
        g = Graph((), {name: cast(x, float32) for name, x in g.outputs.items()})
        store = Store(get("numpy").devices()[0])
        program = Program(compile_graph(g, get("numpy")), get("numpy"), store)
        store.write("w", numbers)
        found.append({name: r.numpy() for name, r in program.run().items()})
    for name, x in found[0].items():
        np.testing.assert_array_equal(found[1][name], x)
    assert found[0]["a"].shape == (3, 2)


def test_one_part_alone_is_cast_by_itself() -> None:
    graph = Graph((), {"a": cast(part(0, 6), bfloat16), "b": part(6, 4)})
    assert casts(join_casts(graph)) == ["bfloat16[6]"]


def test_casts_to_two_types_stay_apart() -> None:
    graph = Graph((), {"a": cast(part(0, 6), bfloat16), "b": cast(part(6, 4), "float64")})
    assert sorted(casts(join_casts(graph))) == ["bfloat16[6]", "float64[4]"]
