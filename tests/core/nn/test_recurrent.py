"""Recurrent modules: states, packed sequences, what is refused.  Values and gradients are in `rows`."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, DTypeError, ShapeError
from cortex_core import nn
from cortex_core.nn.packing import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
)
from cortex_core.tensor import Tensor, no_grad
from cortex_core.traced_step import trace_step
from cortex_core.tracing import trace
from tests.core.nn.test_against_pytorch import equal

KINDS: dict[str, dict[str, Any]] = {
    "RNN": {"num_layers": 2, "bidirectional": True, "nonlinearity": "relu"},
    "LSTM": {"num_layers": 2, "bidirectional": True, "proj_size": 2},
    "GRU": {"num_layers": 2, "bidirectional": True},
}
LENGTHS = np.array([3, 1, 5, 2])


def states_of(kind: str, batch: tuple[int, ...], rng: np.random.Generator) -> list[np.ndarray]:
    sizes = (2, 4) if kind == "LSTM" else (4,)
    return [rng.standard_normal((4, *batch, size)) for size in sizes]


def given(arrays: list[Any]) -> Any:
    return tuple(arrays) if len(arrays) > 1 else arrays[0]


def both(kind: str, **more: Any) -> tuple[Any, Any, Any]:
    torch = pytest.importorskip("torch")
    m = getattr(nn, kind)(3, 4, **KINDS[kind], **more).double()
    t = getattr(torch.nn, kind)(3, 4, **KINDS[kind], **more).double()
    m.load_state_dict(t.state_dict())
    return torch, m, t


def flat(outputs: Any) -> list[Any]:
    y, states = outputs
    return [y, *(states if isinstance(states, tuple) else [states])]


@pytest.mark.peers
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_states_go_in_and_out(kind: str, alone: bool) -> None:
    torch, m, t = both(kind)
    rng, batch = np.random.default_rng(0), () if alone else (2,)
    arrays = [rng.standard_normal((5, *batch, 3)), *states_of(kind, batch, rng)]
    ours = [Tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    found, expected = flat(m(ours[0], given(ours[1:]))), flat(t(theirs[0], given(theirs[1:])))
    loss: Any = 0.0
    other: Any = 0.0
    for a, b in zip(found, expected, strict=True):
        equal(a, b, 1e-12, "values")
        weights = rng.standard_normal(a.shape)
        loss, other = loss + (a * Tensor(weights)).sum(), other + (b * torch.tensor(weights)).sum()
    loss.backward()
    other.backward()
    for a, b in zip([*ours, *m.parameters()], [*theirs, *t.parameters()], strict=True):
        equal(a.grad, b.grad, 1e-10, "gradients")


@pytest.mark.peers
@pytest.mark.parametrize("stated", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences(kind: str, stated: bool) -> None:
    torch, m, t = both(kind)
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal((5, 4, 3)), *(states_of(kind, (4,), rng) if stated else [])]
    ours = [Tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    packed = pack_padded_sequence(ours[0], LENGTHS, enforce_sorted=False)
    other = torch.nn.utils.rnn.pack_padded_sequence(theirs[0], LENGTHS.tolist(), enforce_sorted=False)
    for a, b in zip(packed, other, strict=True):
        equal(a, b, 0, "packed")
    y, *states = flat(m(packed, given(ours[1:]) if stated else None))
    z, *others = flat(t(other, given(theirs[1:]) if stated else None))
    assert isinstance(y, PackedSequence)
    equal(y.data, z.data, 1e-12, "values")
    y, lengths = pad_packed_sequence(y, padding_value=-7.0, total_length=6)
    z, _ = torch.nn.utils.rnn.pad_packed_sequence(z, padding_value=-7.0, total_length=6)
    assert lengths.tolist() == LENGTHS.tolist()
    for a, b in zip([y, *states], [z, *others], strict=True):
        equal(a, b, 1e-12, "values")
    sum(((a * a).sum() for a in states), (y * y).sum()).backward()
    sum(((b * b).sum() for b in others), (z * z).sum()).backward()
    for a, b in zip([*ours, *m.parameters()], [*theirs, *t.parameters()], strict=True):
        equal(a.grad, b.grad, 1e-10, "gradients")


@pytest.mark.parametrize("kind", KINDS)
def test_packed_is_one_by_one(kind: str) -> None:
    """Sequences of lengths 1 to 50, together and each by itself."""
    rng = np.random.default_rng(2)
    module = getattr(nn, kind)(3, 4, **KINDS[kind]).double()
    sequences = [Tensor(rng.standard_normal((n, 3))) for n in rng.permutation(np.arange(1, 51, 7))]
    with no_grad():
        y, states = module(pack_sequence(sequences, enforce_sorted=False))
        together, _ = pad_packed_sequence(y, batch_first=True)
        states = states if isinstance(states, tuple) else (states,)
        for i, x in enumerate(sequences):
            alone, *finals = flat(module(x))
            np.testing.assert_allclose(together.numpy()[i, : len(x)], alone.numpy(), rtol=1e-12, atol=1e-14)
            assert not together.numpy()[i, len(x) :].any()
            for a, b in zip(states, finals, strict=True):
                np.testing.assert_allclose(a.numpy()[:, i], b.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_a_cell_is_a_step(kind: str) -> None:
    rng = np.random.default_rng(3)
    layer, cell = getattr(nn, kind)(3, 4).double(), getattr(nn, f"{kind}Cell")(3, 4).double()
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x = Tensor(rng.standard_normal((5, 2, 3)))
    states, alone = None, None
    for t in range(5):
        states, alone = cell(x[t], states), cell(x[t, 1], alone)
    _, *finals = flat(layer(x))
    for a, b, c in zip(finals, *(s if isinstance(s, tuple) else (s,) for s in (states, alone)), strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy()[0], rtol=1e-12)
        np.testing.assert_allclose(c.numpy(), a.numpy()[0, 1], rtol=1e-12)


def test_dropout_acts_between_layers() -> None:
    module = nn.GRU(3, 4, 2, dropout=1.0)
    x = Tensor(np.random.default_rng(4).standard_normal((5, 2, 3)).astype(np.float32))
    silent = nn.GRU(4, 4)
    silent.load_state_dict(
        {k.replace("l1", "l0"): v for k, v in module.state_dict().items() if k.endswith("l1")}
    )
    zeros = Tensor(np.zeros((5, 2, 4), np.float32))
    np.testing.assert_allclose(module(x)[0].detach().numpy(), silent(zeros)[0].detach().numpy(), rtol=1e-6)
    assert np.abs(module.eval()(x)[0].detach().numpy() - silent(zeros)[0].detach().numpy()).max() > 0.01


def test_half_precision_keeps_its_type() -> None:
    module = nn.LSTM(3, 4)
    x = np.random.default_rng(5).standard_normal((5, 2, 3)).astype(np.float32)
    expected = flat(module(Tensor(x)))
    found = flat(module.half()(Tensor(x).half()))
    for a, b in zip(found, expected, strict=True):
        assert str(a.dtype) == "float16"
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), atol=5e-3)


class Reader(nn.Module):
    """The class of a sequence, by its last output."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 3)
        self.lstm = nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Any, lengths: Any = None) -> Any:
        x = self.table(tokens)
        if lengths is not None:
            x = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, (h, _) = self.lstm(x)
        if lengths is not None:
            y, _ = pad_packed_sequence(y, batch_first=True)
        return self.head(y[:, 0] + y[:, -1]) + h.sum()


@pytest.mark.parametrize("lengths", [None, (5, 2, 3)])
def test_traced_training_is_eager_training(lengths: Any) -> None:
    rng = np.random.default_rng(6)
    module, other = Reader().double(), Reader().double()
    other.load_state_dict(module.state_dict())
    tokens, labels = rng.integers(0, 9, (3, 5)), rng.integers(0, 3, 3)
    from cortex_core import optim

    criterion = nn.CrossEntropyLoss()
    fixed = (lambda x: module(x, lengths)) if lengths else module
    np.testing.assert_allclose(
        trace(fixed, Tensor(tokens))(Tensor(tokens)).numpy(),
        other(Tensor(tokens), lengths).detach().numpy(),
        rtol=1e-10,
    )
    optimizer = optim.Adam(other.parameters(), 0.01)
    step = trace_step(fixed, criterion, optim.Adam(module.parameters(), 0.01), tokens, labels)
    for _ in range(5):
        optimizer.zero_grad()
        loss = criterion(other(Tensor(tokens), lengths), Tensor(labels))
        loss.backward()
        optimizer.step()
        assert float(step(tokens, labels)) == pytest.approx(float(loss), rel=1e-9)


def test_what_does_not_fit_is_refused() -> None:
    x, word = Tensor(np.zeros((5, 2, 3), np.float32)), cast(Any, "2")
    for make, told in (
        (lambda: nn.RNN(3, 4, nonlinearity="sin"), "nonlinearity='sin'; choose 'tanh' or 'relu'"),
        (lambda: nn.RNN(3, 0), "hidden_size=0; needs a whole number of 1 or more"),
        (lambda: nn.GRU(3, 4, 0), "num_layers=0"),
        (lambda: nn.GRU(3, 4, 2, dropout=2), "dropout=2; needs a probability"),
        (lambda: nn.GRU(3, 4, 2, dropout=word), "dropout='2'; needs a probability"),
        (lambda: nn.LSTM(3, 4, proj_size=word), "proj_size='2'; needs a whole number of 0 or more"),
        (lambda: nn.GRUCell(3, 0), "GRUCell: hidden_size=0; needs a whole number of 1 or more"),
        (lambda: nn.GRUCell(3, word), "GRUCell: hidden_size='2'; needs a whole number"),
        (lambda: nn.LSTM(3, 4, proj_size=4), "proj_size=4; needs less than hidden_size=4"),
    ):
        with pytest.raises(ArgumentError, match=told):
            make()
    with pytest.warns(UserWarning, match="of one layer it does nothing"):
        nn.LSTM(3, 4, dropout=0.5)
    lstm = nn.LSTM(3, 4)
    with pytest.raises(ShapeError, match=r"LSTM\(3, 4\): the input has shape \(5, 2, 2\).*with 3 features"):
        lstm(x[:, :, :2])
    with pytest.raises(ShapeError, match="a sequence has one step at least"):
        lstm(x[:0])
    with pytest.raises(ArgumentError, match="hx is a Tensor; needs h_0 and c_0 as a tuple"):
        lstm(x, x)
    with pytest.raises(ShapeError, match=r"c_0 has shape \(1, 3, 4\); needs \(1, 2, 4\)"):
        lstm(x, (Tensor(np.zeros((1, 2, 4), np.float32)), Tensor(np.zeros((1, 3, 4), np.float32))))
    with pytest.raises(ArgumentError, match="hx is a tuple; needs h_0 itself"):
        nn.GRU(3, 4)(x, (x, x))
    with pytest.raises(DTypeError, match="the input is float64, the parameters are float32"):
        lstm(x.double())
    with pytest.raises(ShapeError, match=r"GRUCell\(3, 4\): the input has shape \(5, 2, 3\)"):
        nn.GRUCell(3, 4)(x)
    with pytest.raises(ShapeError, match=r"hx has shape \(1, 4\); needs \(2, 4\)"):
        nn.GRUCell(3, 4)(x[0], Tensor(np.zeros((1, 4), np.float32)))
    with pytest.raises(ArgumentError, match="hx is a Tensor; needs h and c"):
        nn.LSTMCell(3, 4)(x[0], x[0])
