"""Recurrences: derivatives against central differences and PyTorch, masks, directions, decompositions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.primitives import recurrence
from cortex_compute.types import TensorType, bfloat16, bool_, float32
from cortex_core.graph.value import input_value
from cortex_core.ops.differentiate import DECOMPOSITIONS
from cortex_core.ops.recurrence import gru, lstm, rnn
from cortex_core.ops.reduce import sum as total
from cortex_core.tensor import Tensor
from tests.core.ops.gradients import check_gradients

SIZES = (3, 5, 4, 2)  # batch, steps, features, units
LENGTHS = (5, 2, 4)
MASK = np.arange(5) < np.array(LENGTHS)[:, None]
HOLES = np.array([[1, 1, 0, 1, 1], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)


def drawn(gates: int, *others: tuple[int, ...], sizes: tuple[int, ...] = SIZES) -> list[np.ndarray]:
    """x, w, u, b, h0 and others; sizes in ``others`` are exact."""
    b, t, i, h = sizes
    rng = np.random.default_rng(5)
    rows = others[1][1] if len(others) > 1 else h
    shapes = [(b, t, i), (i, gates * h), (rows, gates * h), (gates * h,), (b, rows), *others]
    return [rng.standard_normal(s) for s in shapes]


def cells(sizes: tuple[int, ...] = SIZES) -> dict[str, tuple[Callable[..., Any], list[np.ndarray]]]:
    """Each kind with the operands before the mask; f(*operands, mask=, reverse=)."""
    b, _, _, h = sizes

    return {
        "tanh": (rnn, drawn(1, sizes=sizes)),
        "relu": (partial(rnn, activation="relu"), drawn(1, sizes=sizes)),
        "lstm": (lstm, drawn(4, (b, h), sizes=sizes)),
        "projected": (lstm, drawn(4, (b, h), (h, 1), sizes=sizes)),
        "gru": (gru, drawn(3, (h,), sizes=sizes)),
        "gru before": (gru, drawn(3, sizes=sizes)),
        "hard lstm": (partial(lstm, slope=0.2), drawn(4, (b, h), (h, 1), sizes=sizes)),
        "relu lstm": (partial(lstm, activation="relu"), drawn(4, (b, h), sizes=sizes)),
        "hard gru": (partial(gru, slope=0.2), drawn(3, (h,), sizes=sizes)),
        "hard gru before": (partial(gru, slope=0.2, activation="relu"), drawn(3, sizes=sizes)),
    }


each_cell = pytest.mark.parametrize("name", cells())
each_direction = pytest.mark.parametrize("reverse", [False, True])


@each_cell
@each_direction
@pytest.mark.parametrize("masked", [False, True])
def test_first_and_second_derivatives(name: str, masked: bool, reverse: bool) -> None:
    f, operands = cells((2, 3, 2, 2))[name]
    mask = np.array([[1, 1, 1], [1, 0, 1]], bool) if masked else None
    check_gradients(lambda *a: f(*a, mask=mask, reverse=reverse), *operands)


@each_cell
def test_gradients_of_the_last_state_alone(name: str) -> None:
    f, operands = cells((2, 3, 2, 2))[name]
    check_gradients(lambda *a: f(*a)[1], *operands)


def test_one_array_in_two_places() -> None:
    """h0 and c0 are one array, and so are w and u."""
    x, w, _, b, h, *_ = cells((2, 3, 2, 2))["lstm"][1]
    check_gradients(lambda x, w, b, h: lstm(x, w, w, b, h, h), x, w, b, h)


@each_cell
@each_direction
@pytest.mark.parametrize("mask", [None, MASK, HOLES], ids=["all", "lengths", "holes"])
def test_decompositions_are_their_primitives(name: str, mask: Any, reverse: bool) -> None:
    f, arrays = cells()[name]
    operands = [Tensor(a, requires_grad=True) for a in arrays]
    outputs = f(*operands, mask=mask, reverse=reverse)
    node = outputs[0].node
    again = DECOMPOSITIONS[type(node.primitive)](node.primitive, *node.inputs)
    rng = np.random.default_rng(6)
    gs = [Tensor(rng.standard_normal(y.shape)) for y in outputs]
    sum((total(y * g) for y, g in zip(outputs, gs)), Tensor(np.zeros(()))).backward(retain_graph=True)
    gradients = [x.grad for x in operands]
    gradients_again = derived(node, gs)
    for a, b in zip([*outputs, *gradients], [*again[:-1], *gradients_again]):
        assert a is not None
        np.testing.assert_allclose(a.data, b.data, rtol=1e-10, atol=1e-13)


def derived(node: Any, gs: list[Any]) -> Any:
    """The gradients by the decomposition of the primitive that gives them."""
    kind = getattr(recurrence, f"{node.primitive.name}Grad")
    p = kind(*(getattr(node.primitive, f.name) for f in fields(kind)))
    y, *_, residual = node.outputs
    return DECOMPOSITIONS[kind](p, *node.inputs, y, residual, *gs)


def test_an_rnn_by_hand() -> None:
    """x = 1, 2 with w = 2, u = -1, b = 0.5 from h = 3: max(0, 2 - 3 + 0.5) = 0, then 4 - 0 + 0.5."""
    x = np.array([[[1.0], [2.0]]])
    w, u, b, h0 = np.array([[2.0]]), np.array([[-1.0]]), np.array([0.5]), np.array([[3.0]])
    y, h = rnn(x, w, u, b, h0, activation="relu")
    assert y.data.tolist() == [[[0.0], [4.5]]]
    assert h.data.tolist() == [[4.5]]


@each_direction
def test_a_gru_of_the_paper(reverse: bool) -> None:
    """Without n the reset gate stands before the product with the state, as in the paper."""
    x, w, u, b, h = cells()["gru before"][1]
    y, last = gru(x, w, u, b, h, mask=HOLES, reverse=reverse)

    def sigmoid(a: Any) -> Any:
        return 1 / (1 + np.exp(-a))

    for t in range(5)[:: -1 if reverse else 1]:
        r, z = (sigmoid(x[:, t] @ w[:, k] + h @ u[:, k] + b[k]) for k in (slice(0, 2), slice(2, 4)))
        m = np.tanh(x[:, t] @ w[:, 4:] + b[4:] + (r * h) @ u[:, 4:])
        new = (1 - z) * m + z * h
        seen = HOLES[:, t : t + 1]
        h = np.where(seen, new, h)
        np.testing.assert_allclose(y.data[:, t], np.where(seen, new, 0), rtol=1e-12)
    np.testing.assert_allclose(last.data, h, rtol=1e-12)


@each_cell
@each_direction
def test_a_mask_is_the_sequences_one_by_one(name: str, reverse: bool) -> None:
    f, (x, w, u, b, h0, *more) = cells()[name]
    y, *states = f(x, w, u, b, h0, *more, mask=MASK, reverse=reverse)
    for k, n in enumerate(LENGTHS):
        own = [a[k : k + 1] if a.shape[0] == len(x) else a for a in more]
        one, *last = f(x[k : k + 1, :n], w, u, b, h0[k : k + 1], *own, reverse=reverse)
        np.testing.assert_allclose(y.data[k, :n], one.data[0], rtol=1e-12)
        assert not y.data[k, n:].any()
        for s, e in zip(states, last):
            np.testing.assert_allclose(s.data[k], e.data[0], rtol=1e-12)


@pytest.mark.parametrize(("change", "error", "words"), [
    ({"x": (3, 0, 4)}, ShapeError, "a sequence has one step at least"),
    ({"w": (4, 7)}, ShapeError, r"Lstm: w has shape \(4, 7\)"),
    ({"h0": (2, 2)}, ShapeError, r"Lstm: h0 has shape \(2, 2\).* need \(3, 2\)"),
    ({"c0": (3, 3)}, ShapeError, r"Lstm: c0 has shape \(3, 3\)"),
    ({"mask": (3, 4)}, ShapeError, r"Lstm: mask has shape \(3, 4\).* need \(3, 5\)"),
])  # fmt: skip
def test_what_does_not_fit(change: dict[str, Any], error: type[Exception], words: str) -> None:
    names = ("x", "w", "u", "b", "h0", "c0")
    operands: dict[str, Any] = dict(zip(names, cells()["lstm"][1]))
    operands |= {k: np.ones(s, bool if k == "mask" else float) for k, s in change.items()}
    with pytest.raises(error, match=words):
        lstm(**operands)


def test_a_mask_is_bool() -> None:
    with pytest.raises(DTypeError, match="mask is int64; cast mask to bool"):
        cells()["lstm"][0](*cells()["lstm"][1], mask=MASK.astype(np.int64))


@each_cell
@pytest.mark.parametrize("kind", [bfloat16, float32])
@pytest.mark.parametrize("masked", [False, True])
def test_decompositions_have_the_types_of_their_primitives(name: str, kind: Any, masked: bool) -> None:
    """Beside an x of 16 bits some operands and results have 32."""
    f, arrays = cells()[name]
    wide = "b", "n" if "gru" in name else "c0"
    names = ("x", "w", "u", "b", "h0", wide[-1], "p")
    types = [TensorType(a.shape, float32 if of in wide else kind) for of, a in zip(names, arrays)]
    values = [input_value(of, t) for of, t in zip(names, types)]
    outputs = f(*values, mask=input_value("mask", TensorType((3, 5), bool_)) if masked else None)
    node = outputs[0].node
    again = DECOMPOSITIONS[type(node.primitive)](node.primitive, *node.inputs)
    assert tuple(y.type for y in again) == node.types
    assert [
        g.type for g in derived(node, [input_value(f"g{i}", y.type) for i, y in enumerate(outputs)])
    ] == types


# PyTorch


def torchs(torch: Any, name: str, arrays: list[Any], packed: bool) -> Any:
    """A module with these weights, and what runs it over (x, states...) in one direction."""
    x, w, u, b, h0, *more = arrays
    units = u.shape[1] // {"tanh": 1, "relu": 1, "gru": 3}.get(name, 4)
    kinds = {"tanh": torch.nn.RNN, "relu": torch.nn.RNN, "gru": torch.nn.GRU}
    options = {"tanh": {"nonlinearity": "tanh"}, "relu": {"nonlinearity": "relu"}}.get(name, {})
    if name == "projected":
        options = {"proj_size": h0.shape[1]}
    module = kinds.get(name, torch.nn.LSTM)(x.shape[2], units, batch_first=True, **options).double()
    second = torch.zeros_like(b)
    if name == "gru":
        second = torch.cat([second[: 2 * units], more[0]])
    weights = {"weight_ih_l0": w.T, "weight_hh_l0": u.T, "bias_ih_l0": b, "bias_hh_l0": second}
    if name == "projected":
        weights["weight_hr_l0"] = more[1].T
    states = (h0[None], more[0][None]) if name in ("lstm", "projected") else h0[None]
    given = x
    if packed:
        given = torch.nn.utils.rnn.pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    y, last = torch.func.functional_call(module, weights, (given, states))
    if packed:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
    return (y, *(s[0] for s in last)) if isinstance(last, tuple) else (y, last[0])


@pytest.mark.peers
@pytest.mark.parametrize("name", ["tanh", "relu", "lstm", "projected", "gru"])
@pytest.mark.parametrize("masked", [False, True])
@each_direction
def test_values_and_derivatives_are_pytorchs(name: str, masked: bool, reverse: bool) -> None:
    torch = pytest.importorskip("torch")
    f, arrays = cells()[name]
    ours = [Tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    results = f(*ours, mask=MASK if masked else None, reverse=reverse)
    lengths = LENGTHS if masked else (5, 5, 5)
    at = torch.tensor([[n - 1 - t if reverse and t < n else t for t in range(5)] for n in lengths])

    def turned(y: Any) -> Any:
        """A batch whose sequences are turned round, as far as they count."""
        return torch.take_along_dim(y, at[..., None], 1)

    y, *states = torchs(torch, name, [turned(theirs[0]), *theirs[1:]], masked)
    peers = [turned(y), *states]
    for a, b in zip(results, peers):
        np.testing.assert_allclose(a.data, b.detach(), rtol=1e-10, atol=1e-12)

    loss: Any = sum((total(a * a * a) for a in results), Tensor(np.zeros(())))
    loss.backward(create_graph=True)
    wanted = torch.autograd.grad(sum((b * b * b).sum() for b in peers), theirs, create_graph=True)
    penalty: Any = Tensor(np.zeros(()))
    for x, g in zip(ours, wanted):
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.data, g.detach(), rtol=1e-10, atol=1e-10)
        penalty, x.grad = penalty + total(x.grad * x.grad), None
    penalty.backward()
    second = torch.autograd.grad(sum((g * g).sum() for g in wanted), theirs)
    for x, g in zip(ours, second):
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.data, g, rtol=1e-9, atol=1e-9)
