"""Training in bfloat16: what is rounded, what is not, and where it is refused.

The numbers are such that both types can be told apart: 1 + 2^-9 is a float32, and 1 in bfloat16, which has
eight bits.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute import backends
from cortex_compute.types import bfloat16
from cortex_core.compiled import Compiled
from cortex_core.network import network

present = "onednn" in {row.name for row in backends.available() if row.present}
needs = pytest.mark.skipif(
    not present or bool(backends.get("onednn").precision(bfloat16)), reason="oneDNN has no bfloat16 here"
)
EXACT = 1 + 2.0**-9


def line(precision: str = "bfloat16", layers: Any = None, **train: Any) -> dict[str, Any]:
    """y = w x for one number x, and the squared error to a target."""
    return {
        "name": "line",
        "inputs": {"x": [1]},
        "layers": layers or [{"dense": {"units": 1, "use_bias": False, "id": "out"}}],
        "loss": {"mse": {"of": "out", "target": "y"}},
        "train": {"precision": precision, "optimizer": {"sgd": {"learning_rate": 2.0**-12}}, **train},
    }


def trained(precision: str, x: float = 1.0, w: float = EXACT, y: float = 0.0) -> tuple[float, float]:
    """The loss of one step, and w after it."""
    made = network(line(precision))
    made.parameters["out/kernel"] = np.array([[w]])
    step = Compiled(made, backends.get("onednn"))
    batch = {"x": np.array([[x]], np.float32), "y": np.array([[y]], np.float32)}
    return float(step.run(batch)["loss"]), float(made.parameters["out/kernel"][0, 0])


@needs
def test_layers_see_rounded_parameters_and_inputs() -> None:
    assert trained("float32")[0] == EXACT**2
    assert trained("bfloat16")[0] == 1.0
    assert trained("bfloat16", x=EXACT, w=1.0)[0] == 1.0


@needs
def test_losses_are_computed_in_float32() -> None:
    assert trained("bfloat16", w=1.0, y=2.0**-9)[0] == (1 - 2.0**-9) ** 2


@needs
def test_parameters_keep_what_bfloat16_would_lose() -> None:
    """dL/dw = 2 (y - t) x = 2 with the rounded w; the update is applied to the exact one."""
    assert trained("bfloat16")[1] == EXACT - 2.0**-12 * 2


@needs
def test_prediction_and_evaluation_are_in_float32() -> None:
    made = network(line())
    made.parameters["out/kernel"] = np.array([[EXACT]])
    assert made.predict(np.ones((1, 1), np.float32)) == EXACT
    evaluate = Compiled(made, backends.get("onednn"), "evaluate")
    batch = {"x": np.ones((1, 1), np.float32), "y": np.zeros((1, 1), np.float32)}
    assert float(evaluate.run(batch)["loss"]) == EXACT**2


@needs
def test_penalties_and_norms_see_the_parameters_as_they_are() -> None:
    layers = [
        {"batch_norm": {"id": "norm"}},
        {"dense": {"units": 1, "use_bias": False, "id": "out", "penalty": {"l2": 1.0}}},
    ]
    made = network(line(layers=layers))
    made.parameters["norm/shift"] = np.array([EXACT])
    made.parameters["out/kernel"] = np.array([[EXACT]])
    types = {i.primitive.name: [t.dtype.name for t in i.types] for i in plan(made).instructions}
    assert types["BatchNorm"] == ["bfloat16", "float32", "float32"]
    batch = {"x": np.array([[1.0], [2.0]], np.float32), "y": np.array([[0.0], [2.0]], np.float32)}
    loss = float(Compiled(made, backends.get("onednn")).run(batch)["loss"])
    h = 0.5 / np.sqrt(0.25 + 1e-5)  # x is 1.5 -+ h after the norm
    y = np.array([round_bfloat16(EXACT - h), round_bfloat16(EXACT + h)])
    assert loss == pytest.approx(np.mean((y - [0, 2]) ** 2) + EXACT**2, rel=1e-6)


def round_bfloat16(x: float) -> float:
    """The nearest of eight bits, for a number in whose neighbourhood no tie is."""
    exponent = np.floor(np.log2(abs(x)))
    return float(np.round(x / 2.0 ** (exponent - 7)) * 2.0 ** (exponent - 7))


def plan(made: Any) -> Any:
    compiled = Compiled(made, backends.get("onednn"))
    return compiled.entry(compiled.types(2)).program.plan


@needs
def test_a_network_learns_as_well_as_in_float32() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 300)
    x = rng.standard_normal((300, 8, 8, 1)).astype(np.float32) * 0.3
    for i, n in enumerate(label):
        x[i, 2 * n : 2 * n + 3] += 1
    layers = [
        {"conv2d": {"filters": 8, "kernel": 3}}, {"batch_norm": {}}, {"relu": {}}, {"max_pool2d": 2},
        {"dropout": 0.1}, {"flatten": {}}, {"layer_norm": {}}, {"dense": {"units": 16, "activation": "gelu"}},
        {"dense": {"units": 3, "id": "class"}},
    ]  # fmt: skip
    found = {}
    for precision in ("float32", "bfloat16"):
        made = network(
            {
                "name": "bands",
                "inputs": {"x": [8, 8, 1]},
                "layers": layers,
                "loss": {"softmax_cross_entropy": {"of": "class", "target": "label"}},
                "train": {"precision": precision, "optimizer": {"adam": {"learning_rate": 0.01}}},
            }
        )
        step = Compiled(made, backends.get("onednn"))
        losses = [float(step.run({"x": x, "label": label})["loss"]) for _ in range(20)]
        found[precision] = losses
        assert (made.predict(x).argmax(-1) == label).mean() > 0.98
    assert found["bfloat16"][0] == pytest.approx(found["float32"][0], rel=0.02)
    assert found["bfloat16"] != found["float32"]


@pytest.mark.skipif(not present, reason="oneDNN is not installed")
def test_a_cpu_without_it_is_told() -> None:
    code = "import cortex; cortex.compile('examples/digits.yaml', batch_size=8, backend='onednn')"
    limited = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
    spoiled = code.replace(
        "'examples/digits.yaml'", "cortex.network('examples/digits.yaml', ['train.precision=bfloat16'])"
    )
    done = subprocess.run([sys.executable, "-c", spoiled], env=limited, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert "precision bfloat16: this CPU" in last
    assert "AVX512_BF16" in last
    assert subprocess.run([sys.executable, "-c", code], env=limited).returncode == 0


def test_other_precisions_are_refused() -> None:
    for name in ("float64", "tf32", "float16"):
        with pytest.raises(cortex.SpecError, match=f"'{name}' is text: expected float32 or bfloat16"):
            cortex.network(line(name))


def test_short_names_stand_for_the_long_ones() -> None:
    for short, long in (("bf16", "bfloat16"), ("fp32", "float32")):
        made = cortex.network(line(short))
        assert made.training.precision == long
        assert made.description.canonical["train"]["precision"] == long
