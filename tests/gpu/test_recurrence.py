"""Recurrent layers of generated kernels and products: the kit, both libraries of products, whole steps."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from cortex_compute import backends, verify
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
from cortex_compute.protocol import ROW_MAJOR, Layout, Offer, Operand, Refusal
from cortex_compute.types import TensorType, bfloat16, bool_, float32
from cortex_core.compiled import Compiled
from cortex_core.network import network
from cortex_gpu.backend import CupyBackend
from tests.gpu.running import computed, types_of
from tests.gpu.standin import Machine


def test_products_by_cublaslt(machine: Machine) -> None:
    from tests.gpu.standin.backend import with_libraries

    backend = with_libraries(policy="never", workspace=1 << 16)
    results = verify.run(backend, only=", one step/float32")
    assert len(results) == 2 * 10
    assert all(r.passed for r in results), verify.summary(results)
    lt = backend.gpu.cublaslt.c
    assert "Matmul" in lt.calls
    assert not lt.told, lt.told


SPEC: dict[str, Any] = {
    "inputs": {"text": {"shape": [6], "dtype": "int64"}},
    "layers": [
        {"embedding": {"tokens": 9, "units": 2, "mask_zero": True, "id": "words"}},
        {"lstm": {"units": 3, "mask": "words.mask", "return": "sequence"}},
        {"bidirectional": {"layer": {"gru": {"units": 2, "mask": "words.mask"}}}},
        {"dense": {"units": 2, "id": "score"}},
    ],
    "loss": {"softmax_cross_entropy": {"of": "score", "target": "label"}},
    "train": {"optimizer": {"adam": {"learning_rate": 0.01}}},
}


BY_CUDNN = [(Rnn(), RnnGrad()), (Rnn(activation="relu"), RnnGrad(activation="relu")), (Lstm(), LstmGrad()),
            (Gru(), GruGrad())]  # fmt: skip


@pytest.mark.parametrize(("p", "gradient"), BY_CUDNN, ids=str)
def test_cudnn_gives_what_generated_kernels_do(machine: Machine, p: Recurrence, gradient: Gradient) -> None:
    """Twice, as a gradient must leave the residual as it is."""
    from tests.gpu.standin.backend import cupy_backend, with_libraries

    rng = np.random.default_rng(0)
    count, steps, inputs, units = 2, 3, 2, 2
    columns = p.gates * units
    shapes = {"x": (count, steps, inputs), "w": (inputs, columns), "u": (units, columns), "b": (columns,),
              "h0": (count, units), "c0": (count, units), "n": (units,)}  # fmt: skip
    operands = [rng.standard_normal(shapes[name], np.float32) for name in p.given]
    slopes = [rng.standard_normal(s, np.float32) for s in ((count, steps, units), *[(count, units)] * 2)]
    slopes = slopes[: 2 + p.cells]
    found = []
    for backend in (with_libraries(workspace=1 << 16), cupy_backend()):
        *made, residual = computed(backend, p, *operands)
        given = [*operands, made[0], residual, *slopes]
        types = types_of(tuple(given))
        forward = backend.offer(p, [Operand(t) for t in types_of(tuple(operands))])
        assert isinstance(forward, Offer)
        layouts = [forward.residual_layout if name == "residual" else ROW_MAJOR for name in gradient.given]
        types[gradient.given.index("residual")] = OPAQUE
        offer = backend.offer(gradient, list(map(Operand, types, layouts)))
        gradients = [computed(backend, gradient, *given, offer=offer) for _ in range(2)]
        np.testing.assert_array_equal(gradients[0][1], gradients[1][1])
        found.append([*made, *gradients[1]])
        ways = {way for _, way in backend.taken}
        assert ways == ({"cudnn"} if len(found) == 1 else {"cupy"})
    for one, other in zip(*found):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["tanh, ones", "cells, ones", "reset after, ones"])
def test_cudnn_computes_cases_of_the_kit_whatever_is_wanted(machine: Machine, case: str) -> None:
    from tests.gpu.standin.backend import with_libraries

    backend = with_libraries(workspace=1 << 16)
    results = verify.run(backend, only=f"/{case}/float32")
    assert len(results) == 2
    assert all(r.passed for r in results), verify.summary(results)
    assert {way for _, way in backend.taken} == {"cudnn"}


REFUSED = [
    (Lstm(masked=True), "no masks"), (Lstm(reverse=True), "backwards"), (Lstm(projected=True), "projection"),
    (Gru(reset_after=False), "after the product"), (Gru(slope=0.2), "sigmoids and tanh"),
    (Lstm(activation="relu"), "sigmoids and tanh"),
]  # fmt: skip


@pytest.mark.parametrize(("p", "words"), REFUSED, ids=str)
def test_what_cudnn_has_not_is_refused_with_the_reason_and_computed_anyway(
    machine: Machine, p: Recurrence, words: str
) -> None:
    from tests.gpu.standin.backend import with_libraries

    shapes = {"x": (2, 3, 4), "w": (4, p.gates * 5), "u": (5, p.gates * 5), "b": (p.gates * 5,), "h0": (2, 5),
              "c0": (2, 5), "p": (5, 5), "n": (5,), "mask": (2, 3)}  # fmt: skip
    operands = [Operand(TensorType(shapes[k], bool_ if k == "mask" else float32)) for k in p.given]
    answer = with_libraries(policy="always").offer(p, operands)
    assert isinstance(answer, Refusal)
    assert words in answer.reason
    offer = with_libraries().offer(p, operands)
    assert isinstance(offer, Offer)
    assert offer.implementation == "cupy"


def test_16_bits_and_equal_runs_are_not_cudnns(machine: Machine) -> None:
    from tests.gpu.standin.backend import with_libraries

    shapes = (2, 3, 4), (4, 5), (5, 5), (5,), (2, 5)
    narrow = [Operand(TensorType(s, float32 if k == 3 else bfloat16)) for k, s in enumerate(shapes)]
    wide = [Operand(TensorType(s)) for s in shapes]
    asked = [(with_libraries(), narrow), (with_libraries(deterministic=True), wide)]
    for backend, operands in asked:
        offer = backend.offer(Rnn(), operands)
        assert isinstance(offer, Offer)
        assert offer.implementation == "cupy"


@pytest.mark.parametrize("masked", [True, False])
def test_a_network_trains_as_on_the_cpu(everywhere: Any, masked: bool) -> None:
    """One direction of the unmasked network is cuDNN's."""
    spec, rng = copy.deepcopy(SPEC), np.random.default_rng(0)
    if not masked:
        del spec["layers"][1]["lstm"]["mask"]
        del spec["layers"][2]["bidirectional"]["layer"]["gru"]["mask"]
    here, there = (Compiled(network(spec), b) for b in (everywhere, backends.get("numpy")))
    for _ in range(3):  # the first by single launches, the others as a captured graph
        text = rng.integers(1, 9, (4, 6)) * (np.arange(6) < rng.integers(1, 7, (4, 1)))
        batch = {"text": text, "label": rng.integers(0, 2, 4)}
        np.testing.assert_allclose(here.run(batch)["loss"], there.run(batch)["loss"], rtol=1e-4)
    assert {way for name, way in everywhere.taken if name.startswith("Lstm")} == {
        "cupy" if masked else "cudnn"
    }
    assert not everywhere.gpu.cudnn.c.errors


def test_what_no_step_sees_may_be_nan(backend: CupyBackend) -> None:
    rng = np.random.default_rng(0)
    x, mask = rng.standard_normal((3, 5, 4), np.float32), rng.random((3, 5)) < 0.6
    x[~mask] = np.nan
    weights = [rng.standard_normal(s, np.float32) for s in ((4, 24), (6, 24), (24,), (3, 6), (3, 6))]
    p = Lstm(masked=True)
    y, _, _, residual = computed(backend, p, x, *weights, mask)
    assert np.isfinite(y).all()
    assert (y[~mask] == 0).all()
    g = [rng.standard_normal(s, np.float32) for s in ((3, 5, 6), (3, 6), (3, 6))]
    for d in computed(backend, LstmGrad(masked=True), x, *weights, mask, y, residual, *g):
        assert np.isfinite(d).all()


def test_a_residual_of_another_implementation_is_refused_with_the_reason(backend: CupyBackend) -> None:
    shapes = (2, 3, 4), (4, 5), (5, 5), (5,), (2, 5), (2, 3, 5), (0,), (2, 3, 5), (2, 5)
    operands = [Operand(TensorType(s)) for s in shapes]
    operands[6] = Operand(OPAQUE, Layout(key="cudnn"))
    answer = backend.offer(RnnGrad(), operands)
    assert isinstance(answer, Refusal)
    assert "residual of cudnn" in answer.reason


def test_x_that_does_not_lie_row_by_row_is_refused_with_the_reason(backend: CupyBackend) -> None:
    operands = [Operand(TensorType(s)) for s in ((2, 3, 4), (4, 5), (5, 5), (5,), (2, 5))]
    assert isinstance(backend.offer(Rnn(), operands), Offer)
    operands[0] = Operand(operands[0].type, Layout((4, 8, 1)))
    answer = backend.offer(Rnn(), operands)
    assert isinstance(answer, Refusal)
    assert "x row-major" in answer.reason
