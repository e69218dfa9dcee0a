"""The kernels of Rnn, Lstm and Gru: worked examples, what a mask means, errors, and PyTorch's results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, DTypeError, ShapeError
from cortex_compute.primitives.base import OPAQUE
from cortex_compute.primitives.recurrence import Gru, GruGrad, Lstm, LstmGrad, Recurrence, Rnn, RnnGrad
from cortex_compute.protocol import Layout, Offer, Operand
from cortex_compute.types import TensorType, bool_, dtype, float16, float32, int64
from tests.compute.kernels import BACKEND, STREAM

RNG = np.random.default_rng(8)
GRADIENTS: dict[type[Recurrence], type[Recurrence]] = {Rnn: RnnGrad, Lstm: LstmGrad, Gru: GruGrad}
OPTIONS: dict[str, tuple[type[Recurrence], dict[str, Any]]] = {
    "tanh": (Rnn, {}),
    "relu": (Rnn, {"activation": "relu"}),
    "lstm": (Lstm, {}),
    "projected": (Lstm, {"projected": True}),
    "gru": (Gru, {}),
    "gru before": (Gru, {"reset_after": False}),
    "hard lstm": (Lstm, {"slope": 0.2}),
    "relu lstm": (Lstm, {"activation": "relu", "projected": True}),
    "hard gru": (Gru, {"slope": 0.2}),
    "hard gru before": (Gru, {"slope": 1 / 6, "activation": "relu", "reset_after": False}),
}
NOT_OF_PYTORCH = {"gru before", "hard lstm", "relu lstm", "hard gru", "hard gru before"}
"""Its gates are sigmoids, only its RNN has relu, and the reset gate of its GRU comes after."""
each_option = pytest.mark.parametrize("option", OPTIONS)
each_direction = pytest.mark.parametrize("reverse", [False, True])


def made(option: str, **others: Any) -> Recurrence:
    kind, own = OPTIONS[option]
    return kind(**own, **others)


def types(p: Recurrence, batch: int = 3, steps: int = 5, features: int = 4, units: int = 6) -> Any:
    """The types of the operands, by name."""
    rows = 2 if "p" in p.weights else units
    shapes = {
        "x": (batch, steps, features), "w": (features, p.gates * units), "u": (rows, p.gates * units),
        "b": (p.gates * units,), "h0": (batch, rows), "c0": (batch, units), "p": (units, rows),
        "n": (units,), "mask": (batch, steps),
    }  # fmt: skip
    return {k: TensorType(shapes[k], bool_ if k == "mask" else float32) for k in p.inputs}


def drawn(p: Recurrence, mask: np.ndarray | None = None, **sizes: int) -> list[np.ndarray]:
    """Operands in float64."""
    numbers = [RNG.standard_normal(t.shape) for name, t in types(p, **sizes).items() if name != "mask"]
    return numbers if mask is None else [*numbers, mask]


def run(p: Recurrence, arrays: Sequence[np.ndarray], unwanted: Sequence[int] = ()) -> list[Any]:
    """The kernel's outputs, a residual with them; None for those ``unwanted``."""
    operands = [
        Operand(OPAQUE, Layout(key="numpy"))
        if a.dtype == np.uint8
        else Operand(TensorType(a.shape, dtype(a.dtype)))
        for a in arrays
    ]
    offer = BACKEND.offer(p, operands)
    assert isinstance(offer, Offer), offer
    results = p.infer(*(o.type for o in operands))
    outputs: list[Any] = [
        np.full(offer.residual if t == OPAQUE else t.shape, 77).astype(t.dtype.storage) for t in results
    ]
    for j in unwanted:
        outputs[j] = None
    with STREAM.active():
        offer.build().bind(arrays, outputs, np.full(offer.workspace, 0xFF, np.uint8))(STREAM)
    return outputs


def backward(p: Recurrence, arrays: Sequence[np.ndarray], *g: np.ndarray) -> list[np.ndarray]:
    """The gradients for those of y, h and c."""
    outputs = run(p, arrays)
    own = {f.name: getattr(p, f.name) for f in fields(p)}
    return run(GRADIENTS[type(p)](**own), [*arrays, outputs[0], outputs[-1], *g])


def column(*values: float) -> np.ndarray:
    """One sequence of one feature."""
    return np.array(values, np.float64).reshape(1, -1, 1)


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float64)


# By hand.

SUM = [column(1, 2, 3), row(1), row(0.5), row(0)[0], row(0)]  # h' = relu(x + h / 2)


def test_a_sum_that_forgets_half() -> None:
    y, h, _ = run(Rnn(activation="relu"), SUM)
    np.testing.assert_array_equal(y.ravel(), [1, 2.5, 4.25])
    np.testing.assert_array_equal(h, [[4.25]])
    y, h, _ = run(Rnn(reverse=True, activation="relu"), SUM)
    np.testing.assert_array_equal(y.ravel(), [2.75, 3.5, 3])
    np.testing.assert_array_equal(h, [[2.75]])
    y, h, _ = run(Rnn(masked=True, activation="relu"), [*SUM, np.array([[True, False, True]])])
    np.testing.assert_array_equal(y.ravel(), [1, 0, 3.5])
    np.testing.assert_array_equal(h, [[3.5]])


def test_the_gradient_of_that_sum() -> None:
    """Each x counts in y from its step on, every time half as much: 1 + 1/2 + 1/4 for the first."""
    dx, dw, du, db, dh0 = backward(Rnn(activation="relu"), SUM, column(1, 1, 1), row(0))
    np.testing.assert_array_equal(dx.ravel(), [1.75, 1.5, 1])
    np.testing.assert_array_equal(dw, [[1 * 1.75 + 2 * 1.5 + 3 * 1]])
    np.testing.assert_array_equal(du, [[1 * 1.5 + 2.5 * 1]])
    np.testing.assert_array_equal(db, [4.25])
    np.testing.assert_array_equal(dh0, [[0.875]])


def test_lstm_without_weights_halves_its_cell() -> None:
    y, h, c, _ = run(Lstm(), [column(0, 0), np.zeros((1, 4)), np.zeros((1, 4)), np.zeros(4), row(9), row(4)])
    np.testing.assert_allclose(y.ravel(), [math.tanh(2) / 2, math.tanh(1) / 2])
    np.testing.assert_array_equal(c, [[1]])
    np.testing.assert_array_equal(h, y[:, 1])


def test_the_gates_of_an_lstm() -> None:
    """Input and output open, forget closed: the cell is what the third gate says."""
    b = np.array([100, -100, 0.5, 100.0])
    y, _, c, _ = run(Lstm(), [column(0), np.zeros((1, 4)), np.zeros((1, 4)), b, row(3), row(7)])
    np.testing.assert_allclose([c.item(), y.item()], [math.tanh(0.5), math.tanh(math.tanh(0.5))])


def test_hard_gates_and_a_cell_of_relu() -> None:
    """i = 0.2 * 1 + 0.5, f beyond 1, o = 0.2 * -2 + 0.5; relu lets 3 pass: c = 7 + 0.7 * 3, h = 0.1 c.

    Backward from h: do = 9.1 * 0.2, di = 0.1 * 3 * 0.2, dg = 0.1 * 0.7, and nothing through f.
    """
    p, zero, b = Lstm(slope=0.2, activation="relu"), np.zeros((1, 4)), np.array([1, 9, 3.0, -2])
    given = [column(0), zero, zero, b, row(3), row(7)]
    y, _, c, _ = run(p, given)
    np.testing.assert_allclose([c.item(), y.item()], [9.1, 0.91])
    *_, db, dh0, dc0 = backward(p, given, np.zeros((1, 1, 1)), row(1), row(0))
    np.testing.assert_allclose(db, [0.06, 0, 0.07, 1.82])
    np.testing.assert_allclose([dh0.item(), dc0.item()], [0, 0.1])


def test_at_its_corners_a_hard_sigmoid_has_no_slope() -> None:
    """2 a + 1/2 is 0 at -1/4, and 1 at 1/4."""
    p, zero = Gru(slope=2.0), np.zeros((1, 3))
    for a, slope in ((-0.25, 0), (-0.2, 2), (0.2, 2), (0.25, 0)):
        given = [column(0), zero, zero, np.array([0, a, 0.5]), row(2), np.zeros(1)]
        *_, db, _, _ = backward(p, given, np.zeros((1, 1, 1)), row(1))
        np.testing.assert_allclose(db[1], slope * (2 - math.tanh(0.5)))


def test_the_gates_of_a_gru() -> None:
    """r = z = 1/2.  After: m = tanh(r (h u + n)), before: m = tanh((r h) u); h' = m / 2 + h / 2."""
    u, zero = row(0, 0, 3), np.zeros((1, 3))
    y, *_ = run(Gru(), [column(0), zero, u, zero[0], row(2), np.array([4.0])])
    np.testing.assert_allclose(y.item(), math.tanh((2 * 3 + 4) / 2) / 2 + 1)
    y, *_ = run(Gru(reset_after=False), [column(0), zero, u, zero[0], row(2)])
    np.testing.assert_allclose(y.item(), math.tanh(2 / 2 * 3) / 2 + 1)
    y, *_ = run(Gru(), [column(5), row(1, 0, 1), u, row(0, 100, 0)[0], row(2), np.array([4.0])])
    assert y.item() == 2  # z is 1: nothing new


@each_option
def test_nothing_overflows(option: str) -> None:
    p = made(option)
    arrays = [a.astype(np.float32) for a in drawn(p)]
    arrays[0] *= np.float32(1e37 if option != "relu" else 1)
    outputs = run(p, arrays)
    assert all(np.isfinite(a).all() for a in outputs[:-1])
    g = [np.ones_like(a) for a in outputs[:-1]]
    assert all(np.isfinite(a).all() for a in backward(p, arrays, *g)[2:])  # dw is x times something


# Masks, types, memory.


@each_option
@each_direction
def test_padded_sequences_are_the_sequences_one_by_one(option: str, reverse: bool) -> None:
    lengths = (5, 1, 3)
    mask = np.arange(5) < np.array(lengths)[:, None]
    p, alone = made(option, masked=True, reverse=reverse), made(option, reverse=reverse)
    arrays = drawn(p, mask)
    y, *states, _ = run(p, arrays)
    for i, n in enumerate(lengths):
        own = [a[i : i + 1] if name in ("x", "h0", "c0") else a for name, a in zip(p.weights, arrays)]
        own[0] = np.ascontiguousarray(own[0][:, :n])
        one, *ends, _ = run(alone, own)
        np.testing.assert_allclose(y[i, :n], one[0], rtol=1e-12)
        np.testing.assert_array_equal(y[i, n:], 0)
        for state, end in zip(states, ends):
            np.testing.assert_allclose(state[i], end[0], rtol=1e-12)


@each_option
def test_what_a_mask_hides_is_not_seen(option: str) -> None:
    mask = np.array([[1, 1, 0, 1, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]], bool)
    p = made(option, masked=True)
    arrays = drawn(p, mask)
    g = [RNG.standard_normal(a.shape) for a in run(p, arrays)[:-1]]
    clean = [*run(p, arrays)[:-1], *backward(p, arrays, *g)]
    arrays[0][~mask] = np.nan
    g[0][~mask] = np.nan
    spoilt = [*run(p, arrays)[:-1], *backward(p, arrays, *g)]
    for a, b in zip(clean, spoilt):
        np.testing.assert_array_equal(a, b)


@each_option
def test_float16_beside_float32(option: str) -> None:
    p = made(option)
    exact = [a.astype(np.float16).astype(np.float64) for a in drawn(p)]
    halves = [a.astype(np.float32 if name in p.wide else np.float16) for name, a in zip(p.inputs, exact)]
    outputs, wanted = run(p, halves), run(p, exact)
    assert [a.dtype for a in outputs[:-1]] == [np.float16, np.float16, np.float32][: 2 + p.cells]
    for a, b in zip(outputs[:-1], wanted):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
    g, ones = ([np.ones_like(a) for a in made[:-1]] for made in (outputs, wanted))
    for name, a, b in zip(p.weights, backward(p, halves, *g), backward(p, exact, *ones)):
        assert a.dtype == (np.float32 if name in p.wide else np.float16)
        np.testing.assert_allclose(a, b, rtol=5e-3, atol=5e-3 * np.abs(b).max())


def test_the_residual_has_the_gates_and_what_else_cannot_be_seen() -> None:
    for p, numbers in ((Rnn(), 1), (Lstm(), 5), (Gru(), 4), (Gru(reset_after=False), 3)):
        sizes = {"batch": 8, "steps": 10, "features": 3, "units": 16}
        offer = BACKEND.offer(p, [Operand(t) for t in types(p, **sizes).values()])
        assert isinstance(offer, Offer)
        assert offer.residual == 8 * 10 * 16 * 4 * numbers


@each_option
def test_without_a_residual_there_is_the_same(option: str) -> None:
    p = made(option, masked=True)
    arrays = drawn(p, RNG.random((3, 5)) < 0.6)
    with_it, without = run(p, arrays), run(p, arrays, unwanted=[2 + p.cells])
    for a, b in zip(with_it[:-1], without):
        np.testing.assert_allclose(a, b, rtol=1e-12)


# Errors.


@pytest.mark.parametrize(("option", "name", "wrong", "message"), [
    ("lstm", "x", TensorType((3, 0, 4)), "a sequence has one step at least"),
    ("lstm", "x", TensorType((3, 5)), "batch, time, features"),
    ("lstm", "w", TensorType((3, 24)), r"w has shape \(3, 24\).* need \(4, 24\)"),
    ("gru", "u", TensorType((6, 17)), r"u has shape \(6, 17\); needs \(rows, 3 \* units\)"),
    ("tanh", "u", TensorType((6,)), r"u has shape \(6,\); needs \(rows, units\)"),
    ("lstm", "w", TensorType((4,)), r"w has shape \(4,\).* need \(4, 24\)"),
    ("lstm", "h0", TensorType((3,)), r"h0 has shape \(3,\).* need \(3, 6\)"),
    ("gru", "u", TensorType((5, 18)), r"u has shape \(5, 18\).* need \(6, 18\)"),
    ("tanh", "b", TensorType((7,)), r"b has shape \(7,\).* need \(6,\)"),
    ("tanh", "h0", TensorType((2, 6)), r"h0 has shape \(2, 6\).* need \(3, 6\)"),
    ("lstm", "c0", TensorType((3, 5)), r"c0 has shape"),
    ("projected", "p", TensorType((2, 6)), r"p has shape \(2, 6\).* need \(6, 2\)"),
    ("gru", "n", TensorType((18,)), r"n has shape \(18,\).* need \(6,\)"),
    ("tanh", "mask", TensorType((3, 4), bool_), r"mask has shape \(3, 4\).* need \(3, 5\)"),
])  # fmt: skip
def test_shapes_that_do_not_fit(option: str, name: str, wrong: TensorType, message: str) -> None:
    p = made(option, masked=name == "mask")
    with pytest.raises(ShapeError, match=f"{p.name}: .*{message}"):
        p.infer(*(types(p) | {name: wrong}).values())


def test_types_that_do_not_fit() -> None:
    p = Lstm(masked=True)
    for name, d, message in (
        ("x", int64, "needs a floating type"), ("w", float16, "w is float16; cast w to float32"),
        ("mask", int64, "mask is int64; cast mask to bool"),
    ):  # fmt: skip
        wrong = types(p)[name]._replace(dtype=d)
        with pytest.raises(DTypeError, match=message):
            p.infer(*(types(p) | {name: wrong}).values())
    halves = {name: t._replace(dtype=float16) for name, t in types(Lstm()).items()}
    with pytest.raises(DTypeError, match="x is float16, b is float16; cast b to float32"):
        Lstm().infer(*halves.values())


@pytest.mark.parametrize(("p", "message"), [
    (Lstm(slope=0.0), "Lstm: slope is 0.0; needs a positive number, or None for the sigmoid"),
    (Gru(slope=math.inf), "Gru: slope is inf"), (LstmGrad(slope=math.nan), "LstmGrad: slope is nan"),
    (Rnn(activation="elu"), "Rnn: activation is 'elu'; needs tanh or relu"),  # type: ignore[arg-type]
])  # fmt: skip
def test_activations_that_there_are_not(p: Recurrence, message: str) -> None:
    operands = types(p)
    with pytest.raises(ArgumentError, match=message):
        p._expect(tuple(operands[name] for name in p.inputs))


def test_a_message_names_the_operands_that_are_given() -> None:
    """The mask comes where p would, which this one has not."""
    with pytest.raises(DTypeError, match="Lstm: x is float32, mask is bool; cast one of them"):
        Lstm(masked=True).same_dtype(*types(Lstm(masked=True)).values())


def test_operands_of_gradients() -> None:
    given = [*types(Lstm()).values()]
    y, h, c, _ = Lstm().infer(*given)
    assert LstmGrad().infer(*given, y, OPAQUE, y, h, c) == tuple(given)
    with pytest.raises(ShapeError, match=r"LstmGrad: dc is .*; needs float32\[3, 6\]"):
        LstmGrad().infer(*given, y, OPAQUE, y, h, TensorType((3, 5)))
    with pytest.raises(
        ShapeError,
        match=r"LstmGrad takes 11 operands \(x, w, u, b, h0, c0, y, residual, dy, dh, dc\), got 10",
    ):
        LstmGrad().infer(*given, y, OPAQUE, y, h)


# PyTorch.


def module(torch: Any, p: Recurrence, arrays: Sequence[np.ndarray]) -> Any:
    """PyTorch's own layer with these weights, whose matrices are turned and whose GRU has z behind r."""
    kind = {Rnn: "RNN", Lstm: "LSTM", Gru: "GRU"}[type(p)]
    own = dict(zip(p.inputs, arrays))
    units = own["u"].shape[1] // p.gates
    options = {"nonlinearity": p.activation} if isinstance(p, Rnn) else {}
    if "p" in own:
        options["proj_size"] = own["p"].shape[1]
    made = getattr(torch.nn, kind)(own["w"].shape[0], units, batch_first=True, dtype=torch.float64, **options)
    hidden = np.zeros(p.gates * units)
    if "n" in own:
        hidden[2 * units :] = own["n"]
    values = {"weight_ih_l0": own["w"].T, "weight_hh_l0": own["u"].T, "bias_ih_l0": own["b"]}
    values |= {"bias_hh_l0": hidden} | ({"weight_hr_l0": own["p"].T} if "p" in own else {})
    for name, a in values.items():
        getattr(made, name).data = torch.tensor(a)
    return made


def of_module(made: Any, p: Recurrence) -> dict[str, np.ndarray]:
    """Its parameters' gradients by our names."""
    names = {"w": "weight_ih_l0", "u": "weight_hh_l0", "b": "bias_ih_l0", "p": "weight_hr_l0"}
    found = {k: getattr(made, v).grad.numpy().T for k, v in names.items() if k in p.weights}
    if "n" in p.weights:
        units = made.hidden_size
        found["n"] = made.bias_hh_l0.grad.numpy()[2 * units :]
    return found


def test_what_pytorch_has_not_are_options_here() -> None:
    """A name that is left behind would excuse an option that comes later."""
    assert OPTIONS.keys() > NOT_OF_PYTORCH


@pytest.mark.peers
@pytest.mark.parametrize("option", [option for option in OPTIONS if option not in NOT_OF_PYTORCH])
@pytest.mark.parametrize("lengths", [None, (5, 2, 4)])
def test_pytorchs_layers(option: str, lengths: tuple[int, ...] | None) -> None:
    torch = pytest.importorskip("torch")
    rnn = torch.nn.utils.rnn
    mask = None if lengths is None else np.arange(5) < np.array(lengths)[:, None]
    p = made(option, masked=mask is not None)
    arrays = drawn(p, mask)
    layer = module(torch, p, arrays)
    x, *states = leaves = [
        torch.tensor(a, requires_grad=True) for k, a in zip(p.inputs, arrays) if k in ("x", "h0", "c0")
    ]
    initial = tuple(s[None] for s in states)
    packed = x
    if lengths is not None:
        packed = rnn.pack_padded_sequence(x, torch.tensor(lengths), True, enforce_sorted=False)
    y, ends = layer(packed, initial if p.cells else initial[0])
    if lengths is not None:
        y, _ = rnn.pad_packed_sequence(y, batch_first=True)
    wanted = [y, *(e[0] for e in (ends if p.cells else (ends,)))]
    for a, b in zip(run(p, arrays), wanted):
        np.testing.assert_allclose(a, b.detach(), rtol=1e-10, atol=1e-12)
    g = [RNG.standard_normal(tuple(b.shape)) for b in wanted]
    torch.autograd.backward(wanted, [torch.tensor(a) for a in g])
    gradients = dict(zip(p.weights, backward(p, arrays, *g)))
    named = dict(zip((k for k in p.inputs if k in ("x", "h0", "c0")), (x.grad for x in leaves)))
    for name, b in {**named, **of_module(layer, p)}.items():
        np.testing.assert_allclose(gradients[name], b, rtol=1e-10, atol=1e-10, err_msg=name)


def looped(torch: Any, p: Recurrence, named: dict[str, Any], mask: Any) -> list[Any]:
    """y and the last states, step by step, for PyTorch to differentiate."""
    x, w, u, b, h = (named[k] for k in ("x", "w", "u", "b", "h0"))
    fresh, slope = getattr(torch, p.activation), getattr(p, "slope", None)

    def gate(a: Any) -> Any:
        return torch.sigmoid(a) if slope is None else torch.clamp(slope * a + 0.5, 0, 1)

    c, size, y = named.get("c0"), u.shape[1] // p.gates, {}
    for t in range(x.shape[1])[:: -1 if p.reverse else 1]:
        has, i = mask[:, t, None], (x[:, t] @ w + b).split(size, 1)
        s = (h @ u).split(size, 1)
        if isinstance(p, Rnn):
            new = fresh(i[0] + s[0])
        elif isinstance(p, Lstm):
            cell = gate(i[1] + s[1]) * c + gate(i[0] + s[0]) * fresh(i[2] + s[2])
            new = gate(i[3] + s[3]) * fresh(cell)
            new, c = new @ named["p"] if p.projected else new, torch.where(has, cell, c)
        else:
            r, z = gate(i[0] + s[0]), gate(i[1] + s[1])
            inner = r * (s[2] + named["n"]) if "n" in named else (r * h) @ u[:, 2 * size :]
            new = (1 - z) * fresh(i[2] + inner) + z * h
        y[t] = torch.where(has, new, torch.zeros_like(new))
        h = torch.where(has, new, h)
    return [torch.stack([y[t] for t in sorted(y)], 1), h, *([c] if p.cells else [])]


@pytest.mark.peers
@each_option
@each_direction
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("sizes", [(3, 5, 4, 6), (1, 1, 1, 3), (2, 30, 3, 9)], ids=str)
def test_pytorchs_derivatives(option: str, reverse: bool, holes: bool, sizes: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    p = made(option, reverse=reverse, masked=holes)
    mask = RNG.random(sizes[:2]) < 0.6 if holes else None
    arrays = drawn(p, mask, **dict(zip(("batch", "steps", "features", "units"), sizes)))
    arrays[2] /= 3  # else some sequences of 30 steps are chaotic
    named = {k: torch.tensor(a, requires_grad=True) for k, a in zip(p.weights, arrays)}
    there = torch.tensor(np.ones(sizes[:2], bool) if mask is None else mask)
    wanted = looped(torch, p, named, there)
    for a, b in zip(run(p, arrays), wanted):
        np.testing.assert_allclose(a, b.detach(), rtol=1e-10, atol=1e-12)
    g = [RNG.standard_normal(tuple(b.shape)) for b in wanted]
    gradients = torch.autograd.grad(
        wanted, list(named.values()), [torch.tensor(a) for a in g], materialize_grads=True
    )
    for name, a, b in zip(p.weights, backward(p, arrays, *g), gradients):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * max(1, b.abs().max()), err_msg=name)
