"""The conformance kit passes NumPy's kernels, and fails every one of them once it is broken."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import cortex_compute.primitives.elementwise
from cortex_compute.backends import get
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.elementwise import Copy, Elementwise
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.primitives.views import Reshape, Slice, Transpose
from cortex_compute.protocol import Device, Offer, Operand, Refusal, Stream
from cortex_compute.verify import Result, run, summary
from cortex_compute.verify.case import Case, cases_of
from cortex_compute.verify.run import primitives
from cortex_compute.verify.trial import Trial

Call = Callable[[], Any]
Fault = Callable[[Sequence[Any], Sequence[Any], Call], Call]  # inputs, outputs, the good call -> a bad one


def written(outputs: Sequence[Any]) -> list[np.ndarray]:
    return [o for o in outputs if o is not None and o.size]


def changed(change: Callable[[np.ndarray], np.ndarray]) -> Fault:
    """The results of the good call, changed."""

    def fault(inputs: Sequence[Any], outputs: Sequence[Any], good: Call) -> Call:
        def bad() -> None:
            good()
            for out in written(outputs):
                out[...] = change(out.copy())

        return bad

    return fault


def last_unwritten(inputs: Sequence[Any], outputs: Sequence[Any], good: Call) -> Call:
    def bad() -> None:
        places = [(out, (-1,) * out.ndim) for out in written(outputs)]
        before = [out[place] for out, place in places]
        good()
        for (out, place), old in zip(places, before):
            out[place] = old

    return bad


def cleared_first(inputs: Sequence[Any], outputs: Sequence[Any], good: Call) -> Call:
    """Harmless, unless a result lies over an operand."""

    def bad() -> None:
        for out in written(outputs):
            out[...] = 0
        good()

    return bad


def operand_changed(inputs: Sequence[Any], outputs: Sequence[Any], good: Call) -> Call:
    def bad() -> None:
        good()
        for a in inputs:
            if a is not None and a.size and not any(np.may_share_memory(a, o) for o in written(outputs)):
                a[(-1,) * a.ndim] = 1 - a[(-1,) * a.ndim]

    return bad


def second_run_differs(inputs: Sequence[Any], outputs: Sequence[Any], good: Call) -> Call:
    runs = itertools.count()

    def bad() -> None:
        good()
        if next(runs):
            for out in written(outputs):
                out[...] = np.logical_not(out)

    return bad


def turned(a: np.ndarray) -> np.ndarray:
    return a.T.reshape(a.shape)


def next_value(a: np.ndarray) -> np.ndarray:
    """The first element off: NaN where there is one, else another number."""
    a[(0,) * a.ndim] = np.nan if a.dtype.kind == "f" else 1 - a[(0,) * a.ndim]
    return a


FAULTS: dict[str, Fault] = {
    "sign": changed(lambda a: 1 - a if a.dtype.kind in "bu" else -a),
    "shifted": changed(lambda a: np.roll(a.reshape(-1), 1).reshape(a.shape)),
    "axes swapped": changed(turned),
    "NaN leaks": changed(next_value),
    "last element unwritten": last_unwritten,
    "an operand is changed": operand_changed,
    "second run differs": second_run_differs,
}


class Broken:
    """A backend with one fault in its kernels."""

    name = "broken"

    def __init__(self, fault: Fault) -> None:
        self.good, self.fault = get("numpy"), fault

    def devices(self) -> Sequence[Device]:
        return self.good.devices()

    def describe(self) -> dict[str, str]:
        return {}

    def offer(self, primitive: Primitive, operands: Sequence[Operand]) -> Offer | Refusal:
        offer = self.good.offer(primitive, operands)
        return (
            replace(offer, build=lambda: BrokenKernel(offer, self.fault))
            if isinstance(offer, Offer)
            else offer
        )


class BrokenKernel:
    def __init__(self, offer: Offer, fault: Fault) -> None:
        self.kernel, self.fault = offer.build(), fault

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Callable[[Stream], None]:
        launch = self.kernel.bind(inputs, outputs, workspace)
        inline = get("numpy").devices()[0].stream()
        bad = self.fault(inputs, outputs, lambda: launch(inline))
        return lambda stream: stream.launch(bad)


def results(backend: Any, primitive: type[Primitive]) -> Iterator[Result]:
    device = backend.devices()[0]
    streams = device.stream(), device.stream(worker=True)
    for case in cases_of(primitive):
        for d in case.dtypes:
            yield Trial(backend, case, d, streams).run(f"{primitive.__name__}/{case.name}/{d}")
    streams[1].close()


KERNELS = [p for p in primitives() if not p.view]
by_name = pytest.mark.parametrize("primitive", KERNELS, ids=lambda p: p.__name__)


@pytest.mark.parametrize("fault", FAULTS)
@by_name
def test_the_kit_fails_a_broken_kernel(primitive: type[Primitive], fault: str) -> None:
    assert any(not r.passed for r in results(Broken(FAULTS[fault]), primitive))


def test_the_kit_fails_kernels_that_clear_a_result_over_an_operand() -> None:
    reusing = [p for p in KERNELS if any(map(reuses, cases_of(p)))]
    assert {Elementwise} <= set(reusing)
    for primitive in reusing:
        assert any(not r.passed for r in results(Broken(cleared_first), primitive)), primitive


def reuses(case: Case) -> bool:
    inline = get("numpy").devices()[0].stream()
    trial = Trial(get("numpy"), case, case.dtypes[0], (inline, inline))
    offer = get("numpy").offer(case.primitive, [Operand(t) for t in trial.types])
    return isinstance(offer, Offer) and bool(offer.reuse)


class IgnoresStrides(Broken):
    """Reads its operands as if they were row-major."""

    def offer(self, primitive: Primitive, operands: Sequence[Operand]) -> Offer | Refusal:
        offer = self.good.offer(primitive, [Operand(o.type) for o in operands])
        if not isinstance(offer, Offer):
            return offer
        kernel = offer.build()
        good = kernel.bind
        kernel.bind = lambda inputs, *rest: good([row_major(a) for a in inputs], *rest)  # type: ignore[method-assign]
        return replace(offer, build=lambda: kernel)


def row_major(a: Any) -> Any:
    if a is None or any(s <= 0 for s in a.strides):
        return a
    return as_strided(a, strides=np.empty(a.shape, a.dtype).strides)


@pytest.mark.parametrize("primitive", [Copy, Elementwise, Gemm])
def test_the_kit_fails_a_kernel_that_ignores_strides(primitive: type[Primitive]) -> None:
    assert any(not r.passed for r in results(IgnoresStrides(FAULTS["sign"]), primitive))


@pytest.mark.parametrize(
    ("primitive", "restride"),
    [
        (Reshape, lambda self, shape, strides: None),
        (
            Reshape,
            lambda self, shape, strides: (0, tuple(reversed(np.cumprod((1, *self.shape[:0:-1])).tolist()))),
        ),
        (Transpose, lambda self, shape, strides: (0, strides)),
        (Slice, lambda self, shape, strides: (0, strides)),
    ],
    ids=["always copies", "takes no strides", "not transposed", "not sliced"],
)
def test_the_kit_fails_a_broken_view(
    primitive: type[Primitive], restride: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(primitive, "restride", restride)
    assert any(not r.passed for r in results(get("numpy"), primitive))


def test_a_primitive_without_case_or_reference_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgotten(Copy):
        def infer(self, *types: Any) -> Any:
            return types

    Forgotten.__module__ = cortex_compute.primitives.elementwise.__name__
    monkeypatch.setattr(cortex_compute.primitives.elementwise, "Forgotten", Forgotten, raising=False)
    (result,) = run(get("numpy"), only="Forgotten")
    assert not result.passed
    assert "no case" in result.detail
    assert not result.json()["passed"]


def test_a_refusal_fails() -> None:
    class Refuses(Broken):
        def offer(self, primitive: Primitive, operands: Sequence[Operand]) -> Offer | Refusal:
            return Refusal("not today")

    found = run(Refuses(FAULTS["sign"]), only="Copy/matrix")
    assert {r.passed for r in found} == {False}
    assert "not today" in summary(found)


def test_only_chooses_by_name() -> None:
    assert {r.name for r in run(get("numpy"), only="copy/matrix")} == {
        "Copy/matrix/float32",
        "Copy/matrix/float64",
        "Copy/matrix/bfloat16",
    }
