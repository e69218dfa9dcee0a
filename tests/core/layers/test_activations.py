"""Activations: values, derivatives, and what happens far out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cortex_compute.backends import available, get
from cortex_compute.errors import SpecError
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.protocol import Offer, Operand
from cortex_compute.types import TensorType, float32
from cortex_core.graph.value import Graph, input_value
from cortex_core.layers.activations import activate
from cortex_core.ops.differentiate import differentiate
from cortex_core.program import Program, compile_graph
from cortex_core.registry import LAYERS
from cortex_core.store import Store
from cortex_core.tensor import Tensor

NAMES = [name for name, cls in LAYERS.items() if cls.is_activation]
SOFT = ("softmax", "log_softmax")
FAR = np.array([-1e4, -1000.0, -100.0, -30.0, -6.5, 30.0, 100.0, 1000.0, 1e4])
NEAR = np.array([-5.0, -2.9, -1.0, -0.3, -1e-8, 1e-8, 0.3, 1.0, 2.9, 5.0, 7.0])

long = np.longdouble
FORMULAS: dict[str, Any] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, x / long(100)),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: (
        long("1.0507009873554804934")
        * np.where(x > 0, x, long("1.6732632423543772848") * np.expm1(np.minimum(x, 0)))
    ),
    "gelu": lambda x: x * np.array([long(0.5) * (1 + math.erf(float(v) / math.sqrt(2))) for v in x]),
    "gelu_tanh": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / long(math.pi)) * (x + long("0.044715") * x**3))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "softplus": lambda x: np.where(x > 200, x, np.log1p(np.exp(np.minimum(x, 200)))),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hard_sigmoid": lambda x: np.clip(x / 6 + long(0.5), 0, 1),
    "hard_swish": lambda x: x * np.clip(x / 6 + long(0.5), 0, 1),
    "mish": lambda x: x * np.tanh(np.where(x > 200, x, np.log1p(np.exp(np.minimum(x, 200))))),
    "exponential": np.exp,
    "clipped_relu": lambda x: np.maximum(x, 0),
    "celu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "log_sigmoid": lambda x: np.where(x < -200, x, -np.log1p(np.exp(-np.maximum(x, -200)))),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - long(0.5), 0),
    "hard_shrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
    "squareplus": lambda x: np.where(x < 0, 2 / (np.sqrt(x * x + 4) - x), (x + np.sqrt(x * x + 4)) / 2),
    "sparse_plus": lambda x: np.where(x >= 1, x, np.maximum(x + 1, 0) ** 2 / 4),
}


def values(name: str, x: np.ndarray) -> Any:
    return LAYERS[name]().forward(None, Tensor(x, requires_grad=True))


@pytest.mark.parametrize("name", [n for n in NAMES if n not in SOFT])
def test_formula(name: str) -> None:
    x = np.concatenate([NEAR, [0.0], FAR if name != "exponential" else FAR[:5]])
    with np.errstate(over="ignore"):
        wanted = FORMULAS[name](x.astype(long)).astype(np.float64)
    np.testing.assert_allclose(values(name, x).numpy(), wanted, rtol=1e-13, atol=1e-15)


def test_other_numbers_than_the_defaults() -> None:
    ends = Tensor(np.array([-np.inf, np.inf, 1.0, 0.5]))
    found = LAYERS["clipped_relu"](maximum=4, threshold=1).forward(None, ends)
    np.testing.assert_array_equal(found.numpy(), [0, 4, 0, 0])
    x = Tensor(np.array([-2.0, 0.5, 1.0, 3.0, 9.0]))
    clipped = LAYERS["clipped_relu"](maximum=4, slope=0.5, threshold=1).forward(None, x)
    np.testing.assert_array_equal(clipped.numpy(), [-1.5, -0.25, 0, 3, 4])
    steep = LAYERS["hard_sigmoid"](slope=0.2).forward(None, x)
    np.testing.assert_allclose(steep.numpy(), [0.1, 0.6, 0.7, 1, 1], rtol=1e-15)
    smooth = LAYERS["celu"](alpha=2).forward(None, x)
    np.testing.assert_allclose(smooth.numpy(), [2 * np.expm1(-1), 0.5, 1, 3, 9], rtol=1e-15)
    with pytest.raises(SpecError, match=r"0\.5 is below the threshold"):
        LAYERS["clipped_relu"](maximum=0.5, threshold=1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_derivatives_are_finite_far_out(name: str, dtype: str) -> None:
    x = np.concatenate([FAR, [0.0, -0.0], NEAR]).astype(dtype)
    x = np.minimum(x, 80) if name == "exponential" else x
    tensor = Tensor(x, requires_grad=True)
    y = LAYERS[name]().forward(None, tensor)
    assert y.numpy().dtype == dtype
    assert np.isfinite(y.numpy()).all()
    y.backward(Tensor(np.ones_like(x)))
    assert tensor.grad is not None
    assert np.isfinite(tensor.grad.numpy()).all()


@pytest.mark.parametrize("name", [n for n in NAMES if n not in (*SOFT, "linear")])
def test_one_kernel(name: str) -> None:
    x = Tensor(NEAR, requires_grad=True)
    y = LAYERS[name]().forward(None, x)
    assert isinstance(y.node.primitive, Elementwise)
    assert y.node.inputs == (x,)


@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_nan(name: str) -> None:
    assert np.isnan(values(name, np.array([1.0, np.nan, 2.0])).numpy()[1])


def test_softmax_along_an_axis_far_out() -> None:
    x = np.array([[1000.0, 1001.0, -1000.0], [0.0, 0.0, 0.0]])
    e = math.exp(1.0)
    rows = [[1 / (1 + e), e / (1 + e), 0.0], [1 / 3] * 3]
    np.testing.assert_allclose(values("softmax", x).numpy(), rows, rtol=1e-14)
    np.testing.assert_allclose(
        LAYERS["softmax"](axis=0).forward(None, Tensor(x.T)).numpy(), np.transpose(rows)
    )
    logs = [[-math.log(1 + e), 1 - math.log(1 + e), -2000 - math.log(1 + e) + 0.0], [-math.log(3)] * 3]
    np.testing.assert_allclose(values("log_softmax", x).numpy()[1], logs[1], rtol=1e-14)
    np.testing.assert_allclose(values("log_softmax", x).numpy()[0], logs[0], rtol=1e-14)


def test_derivatives_of_softplus_at_0() -> None:
    from cortex_core.ops.differentiate import differentiate

    x = Tensor(np.zeros(1), requires_grad=True)
    one = Tensor(np.ones(1))
    (first,) = differentiate([values_of(x)], [one], [x])
    (second,) = differentiate([first], [one], [x])
    assert first.numpy() == 0.5
    assert second.numpy() == 0.25


def values_of(x: Tensor) -> Any:
    return LAYERS["softplus"]().forward(None, x)


def test_the_field_of_a_layer() -> None:
    x = Tensor(NEAR)
    assert activate(None, x) is x
    assert activate(LAYERS["relu"](), x).numpy().min() == 0


@pytest.mark.peers
@pytest.mark.parametrize("name", NAMES)
def test_values_and_derivatives_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    peers = {
        "linear": lambda x: x * 1,
        "gelu_tanh": lambda x: f.gelu(x, approximate="tanh"),
        "softmax": lambda x: f.softmax(x, -1),
        "log_softmax": lambda x: f.log_softmax(x, -1),
        "hard_sigmoid": f.hardsigmoid,
        "hard_swish": f.hardswish,
        "exponential": torch.exp,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "clipped_relu": f.relu,
        "hard_tanh": f.hardtanh,
        "log_sigmoid": f.logsigmoid,
        "tanh_shrink": f.tanhshrink,
        "soft_shrink": f.softshrink,
        "hard_shrink": f.hardshrink,
        "squareplus": lambda x: (x + torch.sqrt(x * x + 4)) / 2,
        "sparse_plus": lambda x: torch.where(x >= 1, x, torch.clamp(x + 1, min=0) ** 2 / 4),
    }
    x = np.concatenate([NEAR, FAR / 100 if name == "exponential" else FAR])
    theirs = torch.tensor(x, requires_grad=True)
    y = peers.get(name, getattr(f, name, None))(theirs)
    g = np.cos(np.arange(len(x)))
    y.backward(torch.tensor(g))
    ours = Tensor(x, requires_grad=True)
    out = LAYERS[name]().forward(None, ours) * 1.0
    out.backward(Tensor(g))
    np.testing.assert_allclose(out.numpy(), y.detach().numpy(), rtol=1e-12, atol=1e-12)
    assert ours.grad is not None
    rtol = 1e-7 if name == "hard_sigmoid" else 1e-11  # PyTorch's derivative has 1 / 6 in float32
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=rtol, atol=1e-12)


ONEDNN = next(row for row in available() if row.name == "onednn")


@pytest.mark.skipif(not ONEDNN.present, reason=ONEDNN.reason)
@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "silu"])
def test_onednn_knows_the_formulas(name: str) -> None:
    """It finds them by their code: a formula that is written in another way would be six times as slow."""
    large = TensorType((4096, 512))
    x, g = (Tensor(np.ones((2, 3), np.float32), requires_grad=True) for _ in range(2))
    y = LAYERS[name]().forward(None, x)
    (dx,) = differentiate([y], [g], [x])
    for node in (y.node, dx.node):
        offer = get("onednn").offer(node.primitive, [Operand(large)] * len(node.inputs))
        assert isinstance(offer, Offer)
        assert offer.implementation.startswith("onednn ")


@pytest.mark.skipif(not ONEDNN.present, reason=ONEDNN.reason)
def test_onednn_takes_the_gradient_of_relu6_as_a_whole() -> None:
    """In NumPy it is eight calls, and a third of a step of MobileNetV2."""
    x = np.array([-np.inf, -1, 0, 1e-30, 3, np.nextafter(np.float32(6), 0), 7, np.inf, np.nan], np.float32)
    x = np.tile(x, (100_000, 1))  # of few numbers NumPy would be faster
    values = [input_value(name, TensorType(x.shape, float32)) for name in "xg"]
    y = LAYERS["relu6"]().forward(None, values[0])
    (dx,) = differentiate([y], [values[1]], [values[0]])
    backend = get("onednn")
    plan = compile_graph(Graph(tuple(values), {"dx": dx}), backend)
    assert [i.offer.implementation.split(":")[0] for i in plan.instructions] == ["onednn jit"]
    program = Program(plan, backend, Store(backend.devices()[0]))
    found = program.run({"x": x, "g": np.full(x.shape, 5, np.float32)})["dx"]
    assert (np.asarray(found) == [0, 0, 0, 5, 5, 5, 0, 0, 0]).all()
