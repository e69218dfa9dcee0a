"""Attention of products and generated kernels: the kit, several blocks of queries, strides, cuBLASLt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute import backends, verify
from cortex_compute.primitives.attention import Attending, Attention, AttentionGrad
from cortex_compute.protocol import Layout, Offer, Operand, Refusal
from cortex_compute.types import TensorType
from cortex_core.compiled import Compiled
from cortex_core.network import network
from cortex_gpu import attention
from cortex_gpu.backend import CupyBackend
from tests.gpu.standin import Machine

FAMILY = Attention, AttentionGrad


@pytest.mark.parametrize("case", ["odd sizes", "grouped 4:2", "a mask of positions"])
def test_several_blocks_of_queries(backend: CupyBackend, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "SCORES", 1)
    monkeypatch.setattr(attention, "FEWEST", 2)
    for family in FAMILY:
        results = verify.run(backend, only=f"{family.__name__}/{case}")
        assert len(results) == 6  # causal or not, in three data types
        assert all(r.passed for r in results), verify.summary(results)


@pytest.mark.parametrize("case", ["odd sizes", "grouped 4:2"])
def test_products_by_cublaslt(machine: Machine, case: str) -> None:
    from tests.gpu.standin.backend import with_libraries

    backend = with_libraries(workspace=1 << 16)
    results = [r for f in FAMILY for r in verify.run(backend, only=f"{f.__name__}/{case}")]
    assert len(results) == 12
    assert all(r.passed for r in results), verify.summary(results)
    lt = backend.gpu.cublaslt.c
    assert "Matmul" in lt.calls
    assert not lt.told


@pytest.mark.parametrize("p", [Attention(0.5), AttentionGrad(0.5)], ids=str)
def test_memory_grows_with_the_length_only(backend: CupyBackend, p: Attending) -> None:
    """Not with its square, which for 16384 queries and keys would be 4 GB in float32."""

    def workspace(length: int) -> int:
        of, logs = TensorType((1, length, 4, 32)), TensorType((1, 4, length))
        types = [of] * 3 if isinstance(p, Attention) else [of, of, of, of, logs, of]
        offer = backend.offer(p, [Operand(t) for t in types])
        assert isinstance(offer, Offer)
        return offer.workspace

    long = workspace(16384)
    assert long < 1 << 28
    assert workspace(32768) < 2.1 * long


@pytest.mark.parametrize("p", [Attention(0.5), AttentionGrad(0.5)], ids=str)
def test_parts_of_one_projection_are_read_where_they_lie(backend: CupyBackend, p: Attending) -> None:
    of, logs = TensorType((2, 6, 4, 8)), TensorType((2, 4, 6))
    part = Operand(of, Layout((6 * 96, 96, 8, 1)))
    rest = [] if isinstance(p, Attention) else [Operand(of), Operand(logs), part]
    assert isinstance(backend.offer(p, [part, part, part, *rest]), Offer)
    if rest:
        answer = backend.offer(p, [part, part, part, part, *rest[1:]])
        assert isinstance(answer, Refusal)
        assert "y row-major" in answer.reason


GPT: dict[str, Any] = {
    "inputs": {"text": {"shape": [5], "dtype": "int64"}},
    "layers": [
        {"embedding": {"tokens": 7, "units": 8, "id": "tokens"}},
        {"positional_encoding": {"kind": "learned", "length": 5}},
        {"transformer_encoder": {"units": 8, "heads": 2, "hidden": 16, "causal": True, "repeat": 2}},
        {"unembedding": {"table": "tokens.table", "id": "next"}},
    ],
    "loss": {"softmax_cross_entropy": {"of": "next", "target": "label"}},
    "train": {"optimizer": {"adam": {"learning_rate": 0.01}}},
}


def test_a_gpt_trains_as_on_the_cpu(everywhere: Any) -> None:
    rng = np.random.default_rng(0)
    here, there = (Compiled(network(GPT), b) for b in (everywhere, backends.get("numpy")))
    for _ in range(3):  # the first by single launches, the others as a captured graph
        text = rng.integers(0, 7, (3, 6))
        batch = {"text": text[:, :-1], "label": text[:, 1:]}
        np.testing.assert_allclose(here.run(batch)["loss"], there.run(batch)["loss"], rtol=1e-4)
    assert {name for name, _ in everywhere.taken} >= {"Attention", "AttentionGrad"}
