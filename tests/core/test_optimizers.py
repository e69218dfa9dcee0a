"""Optimisers against PyTorch's, and Lion against its paper, driven as one pointwise kernel."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import SpecError
from cortex_compute.expression import build
from cortex_compute.primitives.elementwise import Elementwise
from cortex_core.compiled import compile
from cortex_core.network import network
from cortex_core.ops.apply import apply
from cortex_core.optimizers import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lion,
    Nadam,
    RAdam,
    RMSprop,
)
from cortex_core.registry import OPTIMIZERS, fields_of
from cortex_core.tensor import Tensor

STEPS = 20


def gradient(p: np.ndarray, step: int) -> np.ndarray:
    """Some gradient that depends on the parameter and on the step."""
    return np.sin(3 * p + 0.7 * step) + 0.3 * p


def start() -> np.ndarray:
    return np.linspace(-1.5, 2.0, 7)


def stepper(optimizer: Any, rate: float, p: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Takes gradients, and gives the parameter after each step, which is one Elementwise kernel."""
    names = list(optimizer.scalars(1, rate))
    n = len(optimizer.state)
    built = build(
        lambda p, g, *rest: optimizer.update(p, g, *rest[:n], **dict(zip(names, rest[n:]))),
        2 + n + len(names),
    )
    states, steps = [p, *(np.zeros_like(p) for _ in range(n))], itertools.count(1)

    def step(g: np.ndarray) -> np.ndarray:
        scalars = optimizer.scalars(next(steps), rate)
        assert list(scalars) == names
        operands = [states[0], g, *states[1:], *(np.array(v, p.dtype) for v in scalars.values())]
        new = apply(Elementwise(built.code, built.literals), *map(Tensor, operands))
        states[:] = [x.numpy() for x in (new if isinstance(new, tuple) else (new,))]
        return states[0]

    return step


def run(optimizer: Any, rate: float, dtype: str = "float64") -> np.ndarray:
    """The parameter after the steps."""
    p = start().astype(dtype)
    step = stepper(optimizer, rate, p)
    for i in range(1, STEPS + 1):
        p = step(gradient(p, i).astype(dtype))
    return p


CASES: list[tuple[Any, str, dict[str, Any]]] = [
    (SGD(), "SGD", {}),
    (SGD(momentum=0.9), "SGD", {"momentum": 0.9}),
    (SGD(momentum=0.9, nesterov=True), "SGD", {"momentum": 0.9, "nesterov": True}),
    (SGD(momentum=0.5, weight_decay=0.1), "SGD", {"momentum": 0.5, "weight_decay": 0.1}),
    (Adam(), "Adam", {}),
    (
        Adam(beta1=0.8, beta2=0.95, epsilon=1e-4, weight_decay=0.1),
        "Adam",
        {"betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1},
    ),
    (AdamW(), "AdamW", {}),
    (AdamW(weight_decay=0.3), "AdamW", {"weight_decay": 0.3}),
    (RMSprop(), "RMSprop", {"alpha": 0.9}),
    (
        RMSprop(rho=0.95, momentum=0.9, epsilon=1e-3, weight_decay=0.1),
        "RMSprop",
        {"alpha": 0.95, "momentum": 0.9, "eps": 1e-3, "weight_decay": 0.1},
    ),
    (Adadelta(), "Adadelta", {"rho": 0.95, "eps": 1e-6}),
    (Adadelta(rho=0.8, weight_decay=0.1), "Adadelta", {"rho": 0.8, "eps": 1e-6, "weight_decay": 0.1}),
    (SGD(momentum=0.9, dampening=0.3), "SGD", {"momentum": 0.9, "dampening": 0.3}),
    (
        RMSprop(rho=0.95, momentum=0.5, centered=True),
        "RMSprop",
        {"alpha": 0.95, "momentum": 0.5, "centered": True},
    ),
    (RMSprop(centered=True), "RMSprop", {"alpha": 0.9, "centered": True}),
    (Adagrad(), "Adagrad", {}),
    (
        Adagrad(learning_rate_decay=0.1, initial_accumulator_value=0.2, weight_decay=0.1, epsilon=1e-4),
        "Adagrad",
        {"lr_decay": 0.1, "initial_accumulator_value": 0.2, "weight_decay": 0.1, "eps": 1e-4},
    ),
    (RAdam(), "RAdam", {}),
    (
        RAdam(beta2=0.9, epsilon=1e-3, weight_decay=0.1),
        "RAdam",
        {"betas": (0.9, 0.9), "eps": 1e-3, "weight_decay": 0.1},
    ),
    (Adamax(epsilon=1e-30), "Adamax", {"eps": 1e-30}),  # which PyTorch adds to each gradient
    (
        Adamax(beta1=0.8, beta2=0.7, epsilon=1e-30, weight_decay=0.1),
        "Adamax",
        {"betas": (0.8, 0.7), "eps": 1e-30, "weight_decay": 0.1},
    ),
]


@pytest.mark.peers
@pytest.mark.parametrize(
    ("ours", "name", "options"), CASES, ids=lambda x: repr(x) if isinstance(x, dict) else ""
)
def test_twenty_steps_are_pytorchs(ours: Any, name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    rate = 0.05
    p = torch.nn.Parameter(torch.tensor(start()))
    optimizer = getattr(torch.optim, name)([p], lr=rate, **options)
    for step in range(1, STEPS + 1):
        p.grad = torch.tensor(gradient(p.detach().numpy(), step))
        optimizer.step()
    np.testing.assert_allclose(run(ours, rate), p.detach().numpy(), rtol=1e-12)


# Elements 0, 3 and 6 of each case as PyTorch 2.13 gave them, for where it is not installed.
KNOWN = [
    [-1.17499116953, 0.0365711775589, 1.38670510917],
    [0.23219351021, -0.113336376319, -2.09222718291],
    [-0.0450227782599, -0.538203638281, -2.27558888088],
    [-0.699842816236, -0.045044257061, 0.371079812985],
    [-1.03296553411, 0.0220989336708, 1.30905802057],
    [-0.968084238499, 0.0517757452436, 1.28917534336],
    [-1.02107580107, 0.0215201050438, 1.29294682804],
    [-0.723309819013, 0.00791685122588, 0.892420930079],
    [-1.10925288703, -0.171401013204, 1.04796212714],
    [-0.328076149652, -0.182740959832, -2.23248357649],
    [-1.49728341892, 0.249234613069, 1.99749412626],
    [-1.4983834646, 0.249508137212, 1.99842475023],
    [-0.0348221024291, -0.145540229577, -2.42652663567],
    [-0.718374625432, -1.42400185469, -1.92685471576],
    [-1.0897733163, -0.215387653865, 0.706156730418],
    [-1.33705970218, 0.145484495557, 1.75346184095],
    [-1.34496368768, 0.17003258977, 1.81131118936],
    [-1.36799811166, 0.0517029556494, 1.66056093426],
    [-1.09822676416, 0.0313653951852, 1.33354446445],
    [-1.22348511012, 0.0502372910171, 1.48948059774],
    [-0.911248969072, 0.0202516365051, 1.04131902713],
]


@pytest.mark.parametrize("i", range(len(CASES)))
def test_twenty_steps_are_what_pytorch_gave(i: int) -> None:
    np.testing.assert_allclose(run(CASES[i][0], 0.05)[[0, 3, 6]], KNOWN[i], rtol=1e-11)


NADAMS: list[tuple[Any, dict[str, Any]]] = [
    (Nadam(), {}),
    (
        Nadam(beta1=0.8, beta2=0.9, momentum_decay=1.0, epsilon=1e-3, weight_decay=0.1),
        {"betas": (0.8, 0.9), "momentum_decay": 1.0, "eps": 1e-3, "weight_decay": 0.1},
    ),
]


@pytest.mark.peers
@pytest.mark.parametrize(("ours", "options"), NADAMS)
def test_nadam_is_pytorchs(ours: Any, options: dict[str, Any]) -> None:
    """There the product of the momenta is a float32, whatever the parameter is."""
    torch = pytest.importorskip("torch")
    p = torch.nn.Parameter(torch.tensor(start()))
    optimizer = torch.optim.NAdam([p], lr=0.05, **options)
    for step in range(1, STEPS + 1):
        p.grad = torch.tensor(gradient(p.detach().numpy(), step))
        optimizer.step()
    np.testing.assert_allclose(run(ours, 0.05), p.detach().numpy(), rtol=1e-7)


def test_nadam_is_its_papers_program() -> None:
    """The product goes on from step to step here; far on, where it vanishes, too."""
    b1, b2, psi, rate = 0.6, 0.9, 0.1, 0.05
    optimizer = Nadam(beta1=b1, beta2=b2, momentum_decay=psi, epsilon=1e-8)
    p, m, v, product = start(), np.zeros(7), np.zeros(7), 1.0
    step_of = stepper(optimizer, rate, start())
    for t in range(1, 101):
        g = gradient(p, t)
        now, ahead = (b1 * (1 - 0.5 * 0.96 ** (k * psi)) for k in (t, t + 1))
        product *= now
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        looked = ahead * m / (1 - product * ahead) + (1 - now) * g / (1 - product)
        p = p - rate * looked / (np.sqrt(v / (1 - b2**t)) + 1e-8)
        found = step_of(g)
    np.testing.assert_allclose(found, p, rtol=1e-12)


def test_nadam_goes_on_from_the_step_before_also_after_another() -> None:
    """Multiplied anew at each step, these products would take minutes."""
    steps, b1 = 30_000, 0.9998
    optimizer = Nadam(beta1=b1, momentum_decay=1.0)
    walked = [optimizer.scalars(step, 1.0) for step in range(1, steps + 1)]
    momenta = b1 * (1 - 0.5 * 0.96 ** np.arange(1, steps + 1, dtype=np.longdouble))
    expected = (1 - momenta) / (1 - np.cumprod(momenta))
    np.testing.assert_allclose([x["of_gradient"] for x in walked], expected.astype(float), rtol=1e-9)
    for step in (7, steps, 3, steps - 1):  # as a run that is resumed, or goes back
        assert optimizer.scalars(step, 1.0) == walked[step - 1]


def test_lion_is_its_papers_program() -> None:
    b1, b2, rate, decay = 0.9, 0.99, 0.01, 0.2
    p, m = start(), np.zeros(7)
    for step in range(1, STEPS + 1):
        g = gradient(p, step)
        update = b1 * m + g * (1 - b1)
        p = p - rate * (np.sign(update) + p * decay)
        m = b2 * m + g * (1 - b2)
    np.testing.assert_allclose(run(Lion(weight_decay=decay), rate), p, rtol=1e-12)


def test_lion_stands_still_without_a_gradient() -> None:
    built = build(lambda p, g, m, rate, keep: Lion().update(p, g, m, rate, keep), 5)
    zero, one = np.zeros(3), np.array(1.0)
    new = apply(
        Elementwise(built.code, built.literals), *map(Tensor, (np.ones(3), zero, zero, 0.1 * one, one))
    )
    assert new[0].numpy().tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_float32_follows_float64(name: str) -> None:
    optimizer = OPTIMIZERS[name]()
    np.testing.assert_allclose(run(optimizer, 0.01, "float32"), run(optimizer, 0.01), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_padding_of_zeros_stays_zero(name: str) -> None:
    optimizer = OPTIMIZERS[name]()
    n = len(optimizer.state)
    scalars = optimizer.scalars(3, 0.1)
    built = build(
        lambda p, g, *r: optimizer.update(p, g, *r[:n], **dict(zip(scalars, r[n:]))), 2 + n + len(scalars)
    )
    operands = [np.zeros(2)] * (2 + n) + [np.array(v) for v in scalars.values()]
    new = apply(Elementwise(built.code, built.literals), *map(Tensor, operands))
    for x in new if isinstance(new, tuple) else (new,):
        assert not x.numpy().any()


def test_state_is_what_the_fields_need() -> None:
    assert SGD().state == ()
    assert SGD(momentum=0.9).state == ("velocity",)
    assert Adam().state == ("m", "v")
    assert AdamW(amsgrad=True).state == ("m", "v", "largest")
    assert RMSprop().state == ("v",)
    assert RMSprop(momentum=0.9).state == ("v", "velocity")
    assert RMSprop(centered=True, momentum=0.9).state == ("v", "m", "velocity")


def test_a_centered_rmsprop_survives_a_gradient_that_never_changes() -> None:
    optimizer = RMSprop(centered=True, rho=0.3)
    built = build(lambda p, g, v, m, rate: optimizer.update(p, g, v, m, rate=rate), 5)
    p, v, m = (Tensor(np.zeros(400, np.float32)) for _ in range(3))
    g = Tensor(np.linspace(0.1, 3, 400, dtype=np.float32))
    for _ in range(60):  # v and m² become equal to rounding
        p, v, m = apply(Elementwise(built.code, built.literals), p, g, v, m, Tensor(np.float32(1e-12)))
    assert (v.numpy() < m.numpy() ** 2).any()
    assert np.isfinite(p.numpy()).all()


def test_nesterov_takes_no_dampening() -> None:
    with pytest.raises(SpecError, match="dampening of 0"):
        SGD(momentum=0.9, nesterov=True, dampening=0.1)


def test_adams_first_step_is_the_rate_whatever_the_gradients_size() -> None:
    scalars = Adam().scalars(1, 0.001)
    assert scalars["rate"] == pytest.approx(0.01)  # 0.001 / (1 - 0.9)
    assert scalars["correction"] == pytest.approx(1 / np.sqrt(0.001))


FIELDS = {
    "amsgrad": True,
    "dampening": 0.3,
    "momentum": 0.9,
    "centered": True,
    "initial_accumulator_value": 0.2,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_program_makes_the_steps_of_the_formula(name: str) -> None:
    rate, rng = 0.05, np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)).astype(np.float32), rng.normal(size=(8, 1)).astype(np.float32)
    options = {k: v for k, v in FIELDS.items() if k in fields_of(OPTIMIZERS[name])}
    described = {
        "cortex": 1,
        "inputs": {"x": [3]},
        "layers": [{"dense": {"units": 1, "use_bias": False, "id": "d"}}],
        "loss": {"mse": {"of": "d", "target": "y"}},
        "train": {"optimizer": {name: {"learning_rate": rate, **options}}},
    }
    net = network(described)
    program = compile(net, batch_size=8, purpose="train")
    w = net.parameters["d/kernel"].astype(np.float64)
    step = stepper(OPTIMIZERS[name](**options), rate, w)
    for _ in range(12):
        program.run({"x": x, "y": y})
        w = step(2 * x.T @ (x @ w - y) / 8)
    np.testing.assert_allclose(net.parameters["d/kernel"], w, rtol=2e-4, atol=1e-5)
