"""Every source that the conformance cases ask for compiles for GPUs from Turing to Hopper, without a GPU."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from cortex_compute.primitives.base import OPAQUE
from cortex_compute.protocol import ROW_MAJOR, Layout, Offer, Operand
from cortex_compute.types import DType
from cortex_compute.verify.case import Case, cases_of
from cortex_compute.verify.placement import turned
from cortex_compute.verify.run import primitives
from cortex_compute.verify.trial import Trial
from cortex_gpu.backend import CupyBackend, Gpu
from cortex_gpu.kernels import Source
from cortex_gpu.prelude import PRELUDE
from tests.gpu import nvrtc

needs_nvrtc = pytest.mark.skipif(
    nvrtc.library() is None, reason="the wheel nvidia-cuda-nvrtc-cu12 is not installed"
)


class Offline:
    """The backend with a device of no use: sources are made without one."""

    def __init__(self) -> None:
        self.backend = CupyBackend(Gpu())

    def devices(self) -> Sequence[None]:
        return (None,)

    def sources(self, case: Case, d: DType) -> Iterator[Source]:
        """What a case asks for, its operands row-major, and column-major where that is not refused."""
        types = Trial(self, case, d, (None, None)).types  # type: ignore[arg-type]
        residual = ROW_MAJOR
        if case.forward is not None:
            forward, which = case.forward
            offer = self.backend.offer(forward, [Operand(types[k]) for k in which])
            assert isinstance(offer, Offer), offer
            residual = offer.residual_layout
        for strides in (None, turned):
            layouts = [residual if t == OPAQUE else Layout(strides and strides(t.shape)) for t in types]
            answer = self.backend.offer(case.primitive, list(map(Operand, types, layouts)))
            if isinstance(answer, Offer):
                yield from answer.build().sources  # type: ignore[attr-defined]


def collected(all_types: bool) -> dict[str, str]:
    """Each distinct text, with the case that asked for it; in one data type of each case, or in all."""
    offline, found = Offline(), {}
    for primitive in primitives():
        for case in () if primitive.view else cases_of(primitive):
            for d in case.dtypes if all_types else case.dtypes[:1]:
                for source in offline.sources(case, d):
                    found.setdefault(source.text, f"{source.name} of {primitive.__name__}/{case.name}/{d}")
    return found


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
    texts = collected(all_types=False)
    forms = {re.sub(r"\d+", "0", text): text for text in texts}  # of texts that differ in their numbers, one
    architectures = nvrtc.ARCHITECTURES * (len(forms) // 3 + 1)
    bad = failures(texts, zip(forms.values(), architectures))
    assert not bad, "\n".join(bad)


@needs_nvrtc
@pytest.mark.slow
def test_all_sources_compile_for_all_architectures() -> None:
    texts = collected(all_types=True)
    bad = failures(texts, ((text, a) for text in texts for a in nvrtc.ARCHITECTURES))
    assert not bad, "\n".join(bad)


@needs_nvrtc
def test_the_log_says_what_is_wrong() -> None:
    wrong = PRELUDE + '\nextern "C" __global__ void wrong(float* x) { x[0] = INFINITY; }'
    assert 'identifier "INFINITY" is undefined' in complaint(wrong, "sm_80")
    assert complaint(wrong.replace("INFINITY", "1"), "sm_80") == ""
