"""oneDNN's recurrence: what it runs and what it leaves to NumPy, the kit, and gradients that run again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.backends import available, get
from cortex_compute.composed import Composed
from cortex_compute.numpy_backend.memory import HostBuffer
from cortex_compute.primitives.base import OPAQUE
from cortex_compute.primitives.recurrence import (
    Gradient,
    Gru,
    GruGrad,
    Lstm,
    LstmGrad,
    Recurrence,
    Rnn,
    RnnGrad,
)
from cortex_compute.protocol import Layout, Offer, Operand, Refusal
from cortex_compute.types import DType, TensorType, bfloat16, bool_, float32, float64
from cortex_compute.verify import summary
from cortex_compute.verify.case import cases_of
from cortex_compute.verify.families import recurrence  # noqa: F401  registers its cases
from cortex_compute.verify.trial import Trial

ROW = next(row for row in available() if row.name == "onednn")
pytestmark = pytest.mark.skipif(not ROW.present, reason=ROW.reason)

BATCH, STEPS, SIZE, UNITS = 8, 5, 3, 4
FORWARDS: list[tuple[Recurrence, str]] = [
    (Rnn(), "vanilla_rnn"), (Lstm(), "lstm"), (Gru(), "lbr_gru"), (Gru(reset_after=False), "gru"),
]  # fmt: skip
EACH = pytest.mark.parametrize(("primitive", "name"), FORWARDS, ids=[name for _, name in FORWARDS])
BACKWARD: dict[type[Recurrence], type[Gradient]] = {Rnn: RnnGrad, Lstm: LstmGrad, Gru: GruGrad}


def onednn() -> Any:
    """oneDNN alone, without NumPy for the rest."""
    made = get("onednn")
    assert isinstance(made, Composed)
    return made.parts[0]


def gradient_of(p: Recurrence) -> Gradient:
    fields = {"reset_after": p.reset_after} if isinstance(p, Gru) else {}
    return BACKWARD[type(p)](reverse=p.reverse, **fields)


def types(p: Recurrence, dtype: DType = float32) -> list[TensorType]:
    columns, state, y = p.gates * UNITS, (BATCH, UNITS), (BATCH, STEPS, UNITS)
    shapes = {
        "x": (BATCH, STEPS, SIZE), "w": (SIZE, columns), "u": (UNITS, columns), "b": (columns,), "h0": state,
        "c0": state, "n": (UNITS,), "p": (UNITS, UNITS), "mask": (BATCH, STEPS), "y": y, "dy": y, "dh": state,
        "dc": state,
    }  # fmt: skip

    def kind(name: str) -> TensorType:
        if name == "residual":
            return OPAQUE
        return TensorType(shapes[name], bool_ if name == "mask" else float32 if name in p.wide else dtype)

    return [kind(name) for name in p.given]


@EACH
@pytest.mark.parametrize("reverse", [False, True])
def test_onednn_is_the_cheapest(primitive: Recurrence, name: str, reverse: bool) -> None:
    p = type(primitive)(reverse=reverse, **{k: v for k, v in vars(primitive).items() if k == "reset_after"})
    offer = get("onednn").offer(p, list(map(Operand, types(p))))
    assert isinstance(offer, Offer)
    assert offer.implementation.startswith("onednn ")
    assert offer.residual_layout.key == f"onednn {name}"
    g = gradient_of(p)
    kept = [Operand(t, offer.residual_layout if t == OPAQUE else Layout()) for t in types(g)]
    found = get("onednn").offer(g, kept)
    assert isinstance(found, Offer)
    assert found.implementation.startswith("onednn ")


REFUSED: list[tuple[Recurrence, DType, str]] = [
    (Lstm(masked=True), float32, "no mask"),
    (Lstm(projected=True), float32, "no gradient of an LSTM with a projection"),
    (Rnn(activation="relu"), float32, "hides NaN"),
    (Lstm(activation="relu"), float32, "tanh alone"),
    (Gru(slope=0.2), float32, "not hard ones"),
    (Gru(), bfloat16, "in float32 alone"),
    (Gru(), float64, "float32 and bfloat16, not in float64"),
]


@pytest.mark.parametrize(("p", "dtype", "reason"), REFUSED, ids=[reason for *_, reason in REFUSED])
def test_the_rest_is_refused_with_the_reason(p: Recurrence, dtype: DType, reason: str) -> None:
    if dtype is bfloat16 and onednn().precision(bfloat16):
        pytest.skip("this CPU has no instructions for bfloat16")
    answer = onednn().offer(p, list(map(Operand, types(p, dtype))))
    assert isinstance(answer, Refusal)
    assert reason in answer.reason


@EACH
def test_a_gradient_reads_no_other_residual(primitive: Recurrence, name: str) -> None:
    g = gradient_of(primitive)
    for key in ("numpy", "onednn relu"):
        answer = onednn().offer(g, [Operand(t, Layout(key=key * (t == OPAQUE))) for t in types(g)])
        assert isinstance(answer, Refusal)
        assert "its own forward keeps" in answer.reason


@pytest.mark.slow
@pytest.mark.parametrize("primitive", [Rnn, RnnGrad, Lstm, LstmGrad, Gru, GruGrad])
def test_the_kit_passes(primitive: type[Recurrence]) -> None:
    backend = get("onednn")
    device = backend.devices()[0]
    streams = device.stream(), device.stream(worker=True)
    cases = [case for case in cases_of(primitive) if float32 in case.dtypes]
    found = [Trial(backend, case, float32, streams).run(case.name) for case in cases]
    streams[1].close()
    assert found
    assert all(r.passed for r in found), summary(found)


class Run:
    """A primitive over fixed memory."""

    def __init__(self, p: Recurrence, arrays: list[np.ndarray], residual: Layout | None = None) -> None:
        backend = onednn()
        operands = [Operand(t, residual) if t == OPAQUE and residual else Operand(t) for t in types(p)]
        offer = backend.offer(p, operands)
        assert isinstance(offer, Offer), offer
        self.layout = offer.residual_layout
        self.results = [
            np.full(offer.residual, 0xFF, np.uint8) if t == OPAQUE else np.full(t.shape, np.nan, np.float32)
            for t in p.infer(*types(p))
        ]
        self.stream = backend.devices()[0].stream()
        self.launch = offer.build().bind(arrays, self.results, HostBuffer(offer.workspace).bytes)

    def __call__(self) -> list[np.ndarray]:
        with self.stream.active():
            self.launch(self.stream)
        return [a.copy() for a in self.results]


@EACH
def test_two_gradients_of_one_forward_do_not_disturb_each_other(primitive: Recurrence, name: str) -> None:
    """oneDNN's gradients work in what the forward keeps: `Offer.works_in`."""
    rng = np.random.default_rng(7)
    g = gradient_of(primitive)
    operands = [rng.standard_normal(t.shape).astype(np.float32) for t in types(primitive)]
    forward = Run(primitive, operands)
    y, *_, residual = forward()
    del y
    further = [rng.standard_normal(t.shape).astype(np.float32) for t in types(g)[len(operands) + 2 :]]
    kept = [*operands, forward.results[0], forward.results[-1]]
    first = Run(g, [*kept, *further], forward.layout)
    other = Run(g, [*kept, *[-3 * a for a in further]], forward.layout)
    expected = first()
    other()
    assert not np.array_equal(forward.results[-1], residual)  # else `works_in` would not be needed
    for a, b in zip(first(), expected):
        np.testing.assert_array_equal(a, b)


def test_a_nan_is_seen() -> None:
    for p, _ in FORWARDS:
        arrays = [np.full(t.shape, 0.5, np.float32) for t in types(p)]
        arrays[0][2, 3, 1] = np.nan
        y = Run(p, arrays)()[0]
        assert np.isnan(y[2, 3:]).all()
        assert np.isfinite(y[2, :3]).all()
        assert np.isfinite(np.delete(y, 2, 0)).all()
