"""The conformance kit fails recurrences whose states or gradients are a little off, in 16 bits, too."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from cortex_compute.backends import get
from cortex_compute.numpy_backend.recurrence_cells import Call, Cell, GruCell, LstmCell, RnnCell
from cortex_compute.primitives.recurrence import Gru, GruGrad, Lstm, LstmGrad, Recurrence, Rnn, RnnGrad
from cortex_compute.protocol import Backend, Stream
from cortex_compute.types import DType, bfloat16, float32
from cortex_compute.verify.case import Case
from cortex_compute.verify.families.recurrence import recurrences
from cortex_compute.verify.trial import Trial

CELLS: dict[type[Recurrence], type[Cell]] = {
    Rnn: RnnCell, RnnGrad: RnnCell, Lstm: LstmCell, LstmGrad: LstmCell, Gru: GruCell, GruGrad: GruCell,
}  # fmt: skip
OFF = [(float32, 0.99), (bfloat16, 0.5)]


@pytest.fixture(scope="module")
def numpy_backend() -> Iterator[tuple[Backend, tuple[Stream, Stream]]]:
    backend = get("numpy")
    device = backend.devices()[0]
    streams = device.stream(), device.stream(worker=True)
    yield backend, streams
    streams[1].close()


def chosen(kind: type[Recurrence], d: DType) -> list[Case]:
    names = (", plain", ", reverse", ", 40 steps", ", odd sizes") if d is float32 else (", plain",)
    found = [c for c in recurrences() if type(c.primitive) is kind and c.name.endswith(names)]
    options = 2 if kind in (Rnn, RnnGrad) else 4
    assert len(found) == options * len(names)
    return found


def passes(numpy_backend: Any, cases: list[Case], d: DType) -> list[str]:
    backend, streams = numpy_backend
    return [case.name for case in cases if Trial(backend, case, d, streams).run(case.name).passed]


@pytest.mark.slow
@pytest.mark.parametrize(("d", "factor"), OFF, ids=str)
@pytest.mark.parametrize("kind", [RnnGrad, LstmGrad, GruGrad])
def test_a_gradient_that_fades_on_its_way_fails(
    numpy_backend: Any, monkeypatch: pytest.MonkeyPatch, kind: type[Recurrence], d: DType, factor: float
) -> None:
    cell = CELLS[kind]
    good = cell.backward

    def fading(self: Any, *given: Any) -> list[Call]:
        dh = given[-1]["h"]
        return [*good(self, *given), partial(np.multiply, dh, factor, dh)]

    cases = chosen(kind, d)
    assert passes(numpy_backend, cases, d) == [case.name for case in cases]
    monkeypatch.setattr(cell, "backward", fading)
    assert passes(numpy_backend, cases, d) == []


@pytest.mark.parametrize(("d", "factor"), OFF, ids=str)
@pytest.mark.parametrize("kind", [Rnn, Lstm, Gru])
def test_a_state_that_fades_on_its_way_fails(
    numpy_backend: Any, monkeypatch: pytest.MonkeyPatch, kind: type[Recurrence], d: DType, factor: float
) -> None:
    cell = CELLS[kind]
    good = cell.forward

    def fading(self: Any, *given: Any) -> list[Call]:
        h = given[-2]
        return [partial(np.multiply, h, factor, h), *good(self, *given)]

    monkeypatch.setattr(cell, "forward", fading)
    assert passes(numpy_backend, chosen(kind, d), d) == []
