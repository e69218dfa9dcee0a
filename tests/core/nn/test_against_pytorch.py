"""Every module and loss against PyTorch's of the same name, in float64, with the same state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_core import nn
from cortex_core.autograd import grad
from cortex_core.tensor import Tensor
from tests.core.nn.rows import LOSSES, MODULES, inputs_of, target_of

pytestmark = pytest.mark.peers


def ours(numbers: Any) -> Tensor:
    return Tensor(np.array(numbers, np.float64))


def theirs(numbers: Any) -> Any:
    return pytest.importorskip("torch").tensor(numbers, dtype=pytest.importorskip("torch").float64)


def pair(x: np.ndarray) -> tuple[Tensor, Any]:
    torch = pytest.importorskip("torch")
    wants = x.dtype.kind == "f"
    return Tensor(x, requires_grad=wants), torch.tensor(x, requires_grad=wants)


def equal(a: Any, b: Any, rtol: float, what: str) -> None:
    assert (a is None) == (b is None), what
    if a is not None:
        b = b.detach().numpy()
        assert a.shape == b.shape, what
        atol = rtol * max(1.0, np.abs(b).max(initial=0))
        np.testing.assert_allclose(a.numpy(), b, rtol=rtol, atol=atol, err_msg=what)


def same_states(m: Any, t: Any) -> None:
    mine, other = m.state_dict(), t.state_dict()
    assert {k: v.shape for k, v in mine.items()} == {k: tuple(v.shape) for k, v in other.items()}
    assert list(mine) == list(other)
    for key, value in other.items():
        equal(mine[key], value, 1e-10, key)
        assert mine[key].numpy().dtype == value.numpy().dtype, key


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", MODULES)
def test_modules(name: str) -> None:
    torch = pytest.importorskip("torch")
    rng, row = np.random.default_rng(5), MODULES[name]
    m, t = row.make(nn, ours).double(), row.make(torch.nn, theirs).double()
    for p in t.parameters():
        p.data += 0.3 * torch.tensor(rng.standard_normal(tuple(p.shape)))
    m.load_state_dict(t.state_dict())
    for step in range(4):
        if step == 3:
            m.eval()
            t.eval()
        inputs = [pair(x) for x in inputs_of(row, rng)]
        y, z = m(*(a for a, _ in inputs)), t(*(b for _, b in inputs))
        equal(y, z, 1e-10, "values")
        if y.requires_grad:
            weights = rng.standard_normal(y.shape)
            (y * Tensor(weights)).sum().backward()
            (z * torch.tensor(weights)).sum().backward()
        for i, (a, b) in enumerate(inputs):
            equal(a.grad, b.grad, 1e-8, f"gradient of input {i}")
        for (key, p), (other, q) in zip(m.named_parameters(), t.named_parameters()):
            assert key == other
            equal(p.grad, q.grad, 1e-8, f"gradient of {key}")
        same_states(m, t)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    torch = pytest.importorskip("torch")
    rng, row = np.random.default_rng(6), LOSSES[name]
    m, t = row.make(nn, ours), row.make(torch.nn, theirs)
    inputs = [pair(x) for x in inputs_of(row, rng)]
    u, v = pair(target_of(row, rng))
    u, v = u.detach(), v.detach()
    y, z = m(*(a for a, _ in inputs), u), t(*(b for _, b in inputs), v)
    equal(y, z, 1e-10, "values")
    weights = rng.standard_normal(y.shape)
    (y * Tensor(weights)).sum().backward()
    (z * torch.tensor(weights)).sum().backward()
    for i, (a, b) in enumerate(inputs):
        equal(a.grad, b.grad, 1e-8, f"gradient of input {i}")


def second(grad: Any, y: Any, wanted: Any, directions: Any) -> list[Any]:
    """Gradients of the gradient of sum(y^2) along some directions."""
    first = grad((y * y).sum(), wanted, create_graph=True, allow_unused=True)
    along = sum((g * d).sum() for g, d in zip(first, directions) if g is not None)
    if not along.requires_grad:
        return [None] * len(wanted)
    return list(grad(along, wanted, allow_unused=True))


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", [n for n in (*MODULES, *LOSSES) if n != "hardsigmoid"])  # PyTorch has none
def test_second_derivatives(name: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(8)
    row = MODULES.get(name) or LOSSES[name]
    m, t = row.make(nn, ours).double(), row.make(torch.nn, theirs).double()
    m.load_state_dict(t.state_dict())
    inputs = [pair(x) for x in inputs_of(row, rng)]
    targets = [] if name in MODULES else [pair(target_of(row, rng))]
    arguments = [*inputs, *((u.detach(), v.detach()) for u, v in targets)]
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):  # others have no second ones
        y, z = m(*(a for a, _ in arguments)), t(*(b for _, b in arguments))
    mine = [*(a for a, _ in inputs if a.requires_grad), *m.parameters()]
    other = [*(b for _, b in inputs if b.requires_grad), *t.parameters()]
    directions = [rng.standard_normal(p.shape) for p in mine]
    found = second(grad, y, mine, [Tensor(d) for d in directions])
    expected = second(torch.autograd.grad, z, other, [torch.tensor(d) for d in directions])
    for i, (a, b, p) in enumerate(zip(found, expected, other)):
        zeros = torch.zeros_like(p)  # what does not flow may be told as None or as zeros
        equal(Tensor(np.zeros(p.shape)) if a is None else a, zeros if b is None else b, 1e-6, f"argument {i}")


def test_gradients_of_targets() -> None:
    """Of those losses whose target may be learnt too."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    for name in ("mse", "huber", "bce", "bce with logits", "kl_div sum", "kl_div of logs"):
        row = LOSSES[name]
        (a, b), (u, v) = pair(inputs_of(row, rng)[0]), pair(target_of(row, rng))
        row.make(nn, ours)(a, u).sum().backward()
        row.make(torch.nn, theirs)(b, v).sum().backward()
        equal(u.grad, v.grad, 1e-8, name)
