"""Stored plans of a fork, a residual block and a frozen trunk.

A change of the compiler shows here as a change of text.  If it is meant, write the files anew:

    python -m tests.core.graph.test_golden
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.backends import get
from cortex_core.compiled import Compiled
from cortex_core.graph.plan import ARENA, Instruction, Location, Plan
from cortex_core.network import network

FOLDER = Path(__file__).parent / "golden"
BATCH = 8


def _description(name: str, layers: list[Any], **extra: Any) -> dict[str, Any]:
    return {
        "cortex": 1,
        "name": name,
        "inputs": {"image": [8, 8, 3]},
        "layers": layers,
        "loss": {"softmax_cross_entropy": {"of": "digit", "target": "label"}},
        "train": {"optimizer": {"sgd": {"learning_rate": 0.1, "momentum": 0.9}}},
        **extra,
    }


def conv(filters: int, **fields: Any) -> dict[str, Any]:
    return {"conv2d": {"filters": filters, "kernel": 3, "padding": "same", **fields}}


DESCRIPTIONS = {
    "fork": _description(
        "fork",
        [
            conv(4, id="trunk", activation="relu"),
            conv(4, id="left", **{"from": "trunk"}),
            conv(4, id="right", **{"from": "trunk"}),
            {"concatenate": {"from": ["left", "right"]}},
            "global_avg_pool2d",
            {"dense": {"units": 10, "id": "digit"}},
        ],
    ),
    "residual": _description(
        "residual",
        [
            conv(4, id="stem"),
            conv(4, use_bias=False),
            {"batch_norm": {"id": "main"}},
            {"add": {"from": ["stem", "main"]}},
            "relu",
            "flatten",
            {"dense": {"units": 10, "id": "digit"}},
        ],
    ),
    "frozen_trunk": _description(
        "frozen_trunk",
        [
            conv(4, trainable=False, activation="relu"),
            {"dense": {"units": 6, "trainable": False, "activation": "tanh"}},
            "flatten",
            {"dense": {"units": 10, "id": "digit"}},
        ],
    ),
}


def plan_of(name: str) -> tuple[Plan, Compiled]:
    compiled = Compiled(network(DESCRIPTIONS[name]), get("numpy"))
    return compiled.plan(compiled.types(BATCH))[0], compiled


def shown(plan: Plan) -> str:
    """One line per instruction: what it computes, reads and writes, without offsets, which may move."""
    lines = [f"arena {plan.arena}"]
    for i, instruction in enumerate(plan.instructions):
        if i == plan.tail:
            lines.append("if the loss is finite:")
        lines.append(_line(instruction))
    return "\n".join(lines) + "\n"


def _line(x: Instruction) -> str:
    return (
        f"{', '.join(map(_place, x.outputs))} = {_primitive(x.primitive)}({', '.join(map(_place, x.inputs))})"
    )


def _primitive(p: Any) -> str:
    code = next(
        (c for c in (getattr(p, n, None) for n in ("code", "epilogue", "body")) if c is not None), None
    )
    kind = f" {p.kind}" if p.name == "Reduce" else ""
    return f"{p.name}{kind}" + (f"[{' '.join(i[0] for i in code.instructions)}]" if code is not None else "")


def _place(where: Location | None) -> str:
    if where is None:
        return "-"
    size = "x".join(map(str, where.type.shape)) or "scalar"
    return size if where.buffer == ARENA else f"{where.buffer} {size}"


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_the_plan_is_the_stored_one(name: str) -> None:
    plan, _ = plan_of(name)
    assert shown(plan) == (FOLDER / f"{name}.txt").read_text()


def test_what_the_trunk_of_a_fork_gets_back_is_a_sum() -> None:
    """Both branches' gradients reach the trunk: half of one of them is missing if either is cut."""
    plan, _ = plan_of("fork")
    assert sum(x.primitive.name == "ConvInputGrad" for x in plan.instructions) == 2


def test_a_frozen_trunk_has_no_backward() -> None:
    plan, compiled = plan_of("frozen_trunk")
    assert not any(x.primitive.name.startswith("Conv") for x in plan.instructions[plan.tail :])
    frozen = {k: v.copy() for k, v in compiled.network.parameters.items() if not k.startswith("digit")}
    generator = np.random.default_rng(0)
    compiled.run({"image": generator.random((BATCH, 8, 8, 3), np.float32), "label": np.arange(BATCH)})
    for name, value in frozen.items():
        np.testing.assert_array_equal(compiled.network.parameters[name], value)


if __name__ == "__main__":
    for each in DESCRIPTIONS:
        (FOLDER / f"{each}.txt").write_text(shown(plan_of(each)[0]))
