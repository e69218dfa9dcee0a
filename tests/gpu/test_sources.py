"""Every source that the conformance cases ask for compiles for GPUs from Turing to Hopper, without a GPU."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import pytest

from cortex_compute.expression import build
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.convolution import Conv, ConvInputGrad, ConvKernelGrad
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.protocol import Offer, Operand
from cortex_compute.types import DType, TensorType, bfloat16, float32, float64
from cortex_compute.verify.run import primitives
from cortex_gpu.backend import CupyBackend, Gpu
from cortex_gpu.prelude import PRELUDE
from tests.gpu import nvrtc
from tests.gpu.sources import collected
from tests.gpu.standin.compiler import TOGETHER, apart
from tests.thorough import THOROUGH

needs_nvrtc = pytest.mark.skipif(
    nvrtc.library() is None, reason="the wheel nvidia-cuda-nvrtc-cu12 is not installed"
)


def forms(texts: dict[str, str]) -> dict[str, str]:
    """One each of the texts that differ only in their numbers."""
    chosen = {re.sub(r"(?<![A-Za-z_0-9])\d+", "0", text): text for text in texts}
    return {text: texts[text] for text in chosen.values()}


def failures(texts: dict[str, str], everywhere: bool = THOROUGH) -> list[str]:
    """What NVRTC says of texts that do not compile, each for one of the architectures, or for all."""
    bad = list[str]()
    for k, a in enumerate(nvrtc.ARCHITECTURES):
        own = [text for text in texts if everywhere or crc32(text.encode()) % len(nvrtc.ARCHITECTURES) == k]
        for start in range(0, len(own), TOGETHER):
            said = complaints(own[start : start + TOGETHER], a)
            bad += [f"{texts[text]}, {a}:\n{log}" for text, log in said.items()]
    return bad


def complaints(texts: Sequence[str], architecture: str) -> dict[str, str]:
    """NVRTC's log for each source that does not compile; many in one program take half the time."""
    together = complaint("\n".join(map(apart, texts)), architecture)
    if not together:
        return {}
    logs = {text: complaint(text, architecture) for text in texts}
    return {text: log for text, log in logs.items() if log} or {texts[0]: together}


def complaint(text: str, architecture: str) -> str:
    """NVRTC's log where a source does not compile; else nothing."""
    try:
        nvrtc.compile_source(text, architecture)
    except nvrtc.NvrtcError as error:
        return str(error)
    return ""


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
    bad = failures(texts)
    assert not bad, "\n".join(bad)


@needs_nvrtc
@pytest.mark.parametrize("primitive", [p for p in primitives() if not p.view], ids=lambda p: p.__name__)
def test_all_sources_compile(primitive: type[Primitive]) -> None:
    texts = forms(collected(wanted=lambda case: case.startswith(f"{primitive.__name__}/")))
    assert texts
    bad = failures(texts)
    assert not bad, "\n".join(bad)


@needs_nvrtc
def test_the_log_says_what_is_wrong() -> None:
    wrong = PRELUDE + '\nextern "C" __global__ void wrong(float* x) { x[0] = INFINITY; }'
    assert 'identifier "INFINITY" is undefined' in complaint(wrong, "sm_80")
    assert complaint(wrong.replace("INFINITY", "1"), "sm_80") == ""


@needs_nvrtc
def test_one_bad_source_among_good_ones_is_named() -> None:
    good = [f'{PRELUDE}\nextern "C" __global__ void f(float* x) {{ x[0] = {k}; }}' for k in range(3)]
    texts = {text: f"source {k}" for k, text in enumerate([*good, good[0].replace("= 0", "= INFINITY")])}
    assert failures(dict.fromkeys(good, "good"), everywhere=True) == []
    bad = failures(texts, everywhere=True)
    assert sorted(log.split(":")[0] for log in bad) == [f"source 3, {a}" for a in nvrtc.ARCHITECTURES]
    assert all('identifier "INFINITY" is undefined' in log for log in bad)
    assert len(failures(texts, everywhere=False)) == 1
