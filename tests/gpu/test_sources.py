"""Every source that the conformance cases ask for compiles for GPUs from Turing to Hopper, without a GPU."""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from cortex_compute.expression import build
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.convolution import Conv, ConvInputGrad, ConvKernelGrad
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.protocol import Offer, Operand
from cortex_compute.types import DType, TensorType, bfloat16, float32, float64
from cortex_compute.verify.placement import turned
from cortex_gpu.backend import CupyBackend, Gpu
from cortex_gpu.prelude import PRELUDE
from tests.gpu import nvrtc
from tests.gpu.sources import collected

needs_nvrtc = pytest.mark.skipif(
    nvrtc.library() is None, reason="the wheel nvidia-cuda-nvrtc-cu12 is not installed"
)


def forms(texts: dict[str, str]) -> dict[str, str]:
    """One each of the texts that differ only in their numbers."""
    chosen = {re.sub(r"(?<![A-Za-z_0-9])\d+", "0", text): text for text in texts}
    return {text: texts[text] for text in chosen.values()}


def failures(texts: dict[str, str], jobs: Iterable[tuple[str, str]]) -> list[str]:
    """What NVRTC says of (text, architecture) pairs that do not compile."""
    listed = list(jobs)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        said = pool.map(complaint, *zip(*listed), chunksize=16)
        return [f"{texts[text]}, {a}:\n{log}" for (text, a), log in zip(listed, said) if log]


def complaint(text: str, architecture: str) -> str:
    """NVRTC's log where a source does not compile; else nothing."""
    try:
        nvrtc.compile_source(text, architecture)
    except nvrtc.NvrtcError as error:
        return str(error)
    return ""


@needs_nvrtc
def test_sources_of_one_type_compile() -> None:
    texts = forms(collected(False, (None, turned)))
    assert len(texts) > 100
    bad = failures(texts, zip(texts, nvrtc.ARCHITECTURES * len(texts)))  # each for one architecture
    assert not bad, "\n".join(bad)


def large(d: DType) -> dict[str, str]:
    """The sources over operands of real networks, and over those that 32 bits do not count."""
    facts: dict[str, Any] = {"stride": (2, 2), "padding": ((1, 1),) * 2, "dilation": (1, 1), "groups": 1}
    asked: list[tuple[Primitive, list[tuple[int, ...]]]] = [
        (Gemm(), [(4096, 4096), (4096, 4096)]),
        (Elementwise(build(lambda x, y: x + y, 2).code), [(1 << 16, 1 << 8, 1 << 8), (1 << 8, 1)]),
    ]
    for images in (64, 1 << 14):
        x, w, y = (images, 56, 56, 64), (3, 3, 64, 128), (images, 28, 28, 128)
        asked.append((Conv(**facts), [x, w]))
        asked.append((ConvInputGrad(**facts, shape=x), [y, w]))
        asked.append((ConvKernelGrad(**facts, kernel=(3, 3)), [x, y]))
    found = {}
    for p, shapes in asked:
        offer = CupyBackend(Gpu()).offer(p, [Operand(TensorType(shape, d)) for shape in shapes])
        assert isinstance(offer, Offer)
        for source in offer.build().sources:  # type: ignore[attr-defined]
            found[source.text] = f"{source.name} of {p.name} over {shapes} in {d}"
    return found


@needs_nvrtc
@pytest.mark.parametrize("d", [float32, float64, bfloat16], ids=str)
def test_sources_of_large_operands_compile(d: DType) -> None:
    texts = large(d)
    assert any("constexpr int ROWS = 4;" in text for text in texts)
    assert any("u64 at_n" in text for text in texts)
    bad = failures(texts, zip(texts, nvrtc.ARCHITECTURES * len(texts)))
    assert not bad, "\n".join(bad)


@needs_nvrtc
@pytest.mark.slow
def test_all_sources_compile_for_all_architectures() -> None:
    texts = forms(collected())
    assert len(texts) > 500
    bad = failures(texts, ((text, a) for text in texts for a in nvrtc.ARCHITECTURES))
    assert not bad, "\n".join(bad)


@needs_nvrtc
def test_the_log_says_what_is_wrong() -> None:
    wrong = PRELUDE + '\nextern "C" __global__ void wrong(float* x) { x[0] = INFINITY; }'
    assert 'identifier "INFINITY" is undefined' in complaint(wrong, "sm_80")
    assert complaint(wrong.replace("INFINITY", "1"), "sm_80") == ""
