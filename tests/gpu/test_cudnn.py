"""cuDNN, by a stand-in that checks each call and computes: loading, handles, algorithms, conformance."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute import verify
from cortex_compute.errors import AskedForError, BackendError
from cortex_compute.expression import build
from cortex_compute.primitives.convolution import Conv, ConvInputGrad, ConvKernelGrad
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.pooling import AvgPool
from cortex_compute.primitives.softmax import Softmax
from cortex_compute.protocol import Offer, Operand, Refusal
from cortex_compute.types import TensorType, bfloat16, float32, float64, uint8
from cortex_gpu.backend import CupyBackend, Gpu
from cortex_gpu.cudnn import library as cudnn
from cortex_gpu.cudnn.library import Library
from cortex_gpu.device import CudaDevice
from tests.gpu.standin import Machine
from tests.gpu.standin.cudnn import Cudnn, library
from tests.gpu.standin.cudnn.convolution import FFT, NONDETERMINISTIC

RELU = build(lambda c: c.builder.make("relu", c), 1)
SAME = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
HALVED = {**SAME, "stride": (2, 2), "padding": ((0, 1), (0, 1))}
ALWAYS = Gpu(policy="always")


@pytest.fixture
def made(machine: Machine) -> Callable[..., CupyBackend]:
    """Makes a backend with the stand-in for cuDNN, which takes it wherever it can."""
    from tests.gpu.standin.backend import cupy_backend

    def make(gpu: Gpu = ALWAYS, **facts: Any) -> CupyBackend:
        return cupy_backend(replace(gpu, cudnn=library(**facts)))

    return make


def stand_in(backend: CupyBackend) -> Cudnn:
    found: Cudnn = backend.gpu.cudnn.c
    return found


def conv(
    backend: CupyBackend, p: Any = None, channels: int = 3, d: Any = float32, size: int = 6
) -> Offer | Refusal:
    types = TensorType((2, size, size, channels), d), TensorType((3, 3, channels, 4), d)
    return backend.offer(p or Conv(**SAME), [Operand(t) for t in types])


def run(backend: CupyBackend, p: Any, *arrays: np.ndarray) -> np.ndarray:
    """The first output of a primitive."""
    device = backend.devices()[0]
    stream = device.stream()
    types = [TensorType(a.shape, float32) for a in arrays]
    offer = backend.offer(p, [Operand(t) for t in types])
    assert isinstance(offer, Offer), offer
    (result, *_) = p.infer(*types)
    places = [device.empty(t.nbytes).view(t) for t in (*types, result)]
    for a, place in zip(arrays, places):
        stream.copy(a, place)
    workspace = device.empty(offer.workspace).view(TensorType((offer.workspace,), uint8))
    with stream.active():
        launch = offer.build().bind(places[:-1], [places[-1]], workspace)
        launch(stream)
    y = np.empty(result.shape, np.float32)
    stream.copy(places[-1], y)
    stream.synchronize()
    return y


# Conformance.


@pytest.mark.parametrize("algorithm", [0, 1])  # without scratch, and with it
@pytest.mark.parametrize("primitive", ["Conv/", "ConvInputGrad/", "ConvKernelGrad/"])
def test_convolution_keeps_to_the_conformance_kit(made: Any, primitive: str, algorithm: int) -> None:
    """All of it, but for float64, which cuDNN does not have channels last."""
    backend = made(replace(ALWAYS, deterministic=algorithm == 1), expected=(algorithm,), raced=(algorithm,))
    results = verify.run(backend, only=primitive)
    bad = {r.name: r.detail for r in results if not r.passed}
    assert any(name.endswith("/float64") for name in bad), bad
    assert all(name.endswith("/float64") or " empty " in name.replace("/", " ") for name in bad), bad
    assert all(detail.startswith("refused: ") for detail in bad.values()), bad
    assert not stand_in(backend).errors
    assert backend.taken[primitive[:-1], "cudnn"] > 60
    assert stand_in(backend).ran[-1][1] == algorithm


@pytest.mark.parametrize("primitive", ["Softmax/", "LogSoftmax/", "AvgPool/", "AvgPoolGrad/"])
def test_what_cudnn_does_by_policy_alone_conforms_or_is_refused(made: Any, primitive: str) -> None:
    backend = made()
    bad = [r.detail for r in verify.run(backend, only=primitive) if not r.passed]
    assert all(detail.startswith("refused: ") and "cuDNN" in detail for detail in bad), bad
    assert backend.taken[primitive[:-1], "cudnn"] > 20
    assert not stand_in(backend).errors


def test_policy_decides_between_cudnn_and_generated_kernels(made: Any) -> None:
    x = Operand(TensorType((4, 5)))
    for policy, way in (("auto", "cupy"), ("always", "cudnn"), ("never", "cupy")):
        offer = made(Gpu(policy=policy)).offer(Softmax(), [x])
        assert offer.implementation == way
        types = TensorType((8, 28, 28, 16)), TensorType((3, 3, 16, 16))
        offer = made(Gpu(policy=policy)).offer(Conv(**SAME), [Operand(t) for t in types])
        assert offer.implementation == ("cupy" if policy == "never" else "cudnn")


def test_always_refuses_what_cudnn_lacks(made: Any) -> None:
    backend = made()
    answer = conv(backend, d=float64)
    assert isinstance(answer, Refusal)
    assert "CUDNN_STATUS_NOT_SUPPORTED" in answer.reason
    ceil = AvgPool((2, 2), (2, 2), ((0, 0), (0, 0)), ceil=True)
    answer = backend.offer(ceil, [Operand(TensorType((1, 5, 5, 2)))])
    assert isinstance(answer, Refusal)
    assert "reach over the edge" in answer.reason
    answer = backend.offer(Softmax(), [Operand(TensorType((1 << 16, 1 << 16)))])
    assert isinstance(answer, Offer)  # its strides fit
    answer = backend.offer(Softmax(), [Operand(TensorType((1 << 31, 2)))])
    assert isinstance(answer, Refusal)
    assert "32 bits" in answer.reason


# Padding, weights, epilogues.


def test_padding_of_one_side_is_written_into_a_copy_of_the_image(made: Any) -> None:
    backend, rng = made(), np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((2, 8, 8, 3), (3, 3, 3, 4)))
    y = run(backend, Conv(**HALVED), x, w)
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0))).astype(np.float64)
    parts = [
        padded[:, i : i + 7 : 2, j : j + 7 : 2] @ w[i, j].astype(np.float64)
        for i in range(3)
        for j in range(3)
    ]
    np.testing.assert_allclose(y, sum(parts), rtol=1e-5, atol=1e-5)
    assert stand_in(backend).ran


def test_padding_that_changes_no_window_needs_no_copy(made: Any) -> None:
    """(1, 0) with a stride of 2 on 8: the window behind would start in the padding."""
    p = Conv(**{**HALVED, "padding": ((1, 0), (1, 0))})
    offer, plain = conv(made(), p, size=8), conv(made(), Conv(**SAME), size=8)
    assert offer.workspace == plain.workspace


def test_an_epilogue_follows_in_the_same_kernel(made: Any) -> None:
    built = build(lambda c, b: c.builder.make("relu", c + b), 2)
    backend, rng = made(), np.random.default_rng(1)
    x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((2, 6, 6, 3), (3, 3, 3, 4), (4,)))
    plain = run(backend, Conv(**SAME), x, w)
    y = run(backend, Conv(**SAME, epilogue=built.code, literals=built.literals), x, w, b)
    np.testing.assert_allclose(y, np.maximum(plain + b, 0), rtol=1e-6, atol=1e-6)
    assert backend.taken["Conv", "cudnn"] == 2


def test_what_an_epilogue_costs_is_told(made: Any) -> None:
    backend = made()
    y = Operand(TensorType((2, 64, 64, 4)))
    tail = backend.offer(Elementwise(RELU.code, RELU.literals), [y])
    plain = conv(backend, size=64)
    with_tail = conv(backend, Conv(**SAME, epilogue=RELU.code, literals=RELU.literals), size=64)
    assert with_tail.cost == pytest.approx(plain.cost + tail.cost)


def test_scratch_is_aligned_whatever_the_workspace_is(made: Any) -> None:
    """The arena is so at 64 bytes alone; the stand-in wants 256."""
    backend = made()
    offer, device = conv(backend), backend.devices()[0]
    stream, types = device.stream(), [TensorType(s) for s in ((2, 6, 6, 3), (3, 3, 3, 4), (2, 6, 6, 4))]
    x, w, y = (device.empty(t.nbytes).view(t) for t in types)
    workspace = device.empty(offer.workspace + 64).view(TensorType((offer.workspace,), uint8), 64)
    launch = offer.build().bind([x, w], [y], workspace)
    with stream.active():
        launch(stream)
    stream.synchronize()
    assert stand_in(backend).ran[-1] == ("Forward", 1)


def test_the_gradient_of_the_bias_may_be_wanted_alone(made: Any) -> None:
    backend = made()
    device, types = backend.devices()[0], [TensorType((2, 6, 6, 3)), TensorType((2, 6, 6, 4))]
    offer = backend.offer(ConvKernelGrad(**SAME, kernel=(3, 3), bias=True), [Operand(t) for t in types])
    x, g = (device.empty(t.nbytes).view(t) for t in types)
    db = device.empty(16).view(TensorType((4,)))
    workspace = device.empty(offer.workspace).view(TensorType((offer.workspace,), uint8))
    stream, result, ran = device.stream(), np.empty(4, np.float32), len(stand_in(backend).ran)
    stream.copy(np.ones((2, 6, 6, 4), np.float32), g)
    launch = offer.build().bind([x, g], [None, db], workspace)
    with stream.active():
        launch(stream)
    stream.copy(db, result)
    assert (result == 72).all()
    assert len(stand_in(backend).ran) == ran


# The choice of an algorithm.


def test_no_algorithm_by_transforms_is_taken(made: Any) -> None:
    backend = made(raced=(5, 6, 7, 4, 1))
    run(backend, Conv(**SAME), np.ones((2, 6, 6, 3), np.float32), np.ones((3, 3, 3, 4), np.float32))
    assert stand_in(backend).ran[-1] == ("Forward", 1)
    assert not any(number in FFT[way] for way, number in stand_in(backend).ran)


RACE = 3 * (1 + 3)  # launches of three algorithms, once and three times


def test_the_winner_of_the_race_is_taken(made: Any) -> None:
    for order in ((2, 1, 0), (0, 2, 1), (1, 0, 2)):
        backend = made(raced=order)
        run(backend, Conv(**SAME), np.ones((2, 6, 6, 3), np.float32), np.ones((3, 3, 3, 4), np.float32))
        ran = stand_in(backend).ran
        assert len(ran) == RACE + 1
        assert {number for _, number in ran[:RACE]} == {0, 1, 2}
        assert ran[-1] == ("Forward", order[0])


def test_a_problem_is_raced_once_and_only_the_winners_scratch_is_reserved(made: Any) -> None:
    backend = made(raced=(0,))
    small = conv(backend)
    ran = len(stand_in(backend).ran)
    conv(backend, Conv(**SAME, epilogue=RELU.code, literals=RELU.literals))
    assert len(stand_in(backend).ran) == ran == RACE
    assert small.workspace + 256 < conv(made(raced=(1,))).workspace


def test_each_gpu_has_a_race_of_its_own(made: Any, machine: Machine) -> None:
    machine.count = 2
    backend = made()
    conv(backend)
    conv(CupyBackend(replace(backend.gpu, device=CudaDevice(1))))
    assert len(stand_in(backend).ran) == 2 * RACE
    assert stand_in(backend).calls["GetConvolutionForwardAlgorithm_v7"] == 2


def test_an_algorithm_that_fails_in_the_race_does_not_win(made: Any) -> None:
    x, w = np.ones((2, 6, 6, 3), np.float32), np.ones((3, 3, 3, 4), np.float32)
    backend = made(late=(1,), raced=(1, 2, 0))
    run(backend, Conv(**SAME), x, w)
    assert stand_in(backend).ran[-1] == ("Forward", 2)
    every = conv(made(late=(0, 1, 2)))  # the heuristics' choice, when all do
    assert every.workspace == conv(made(replace(ALWAYS, deterministic=True))).workspace


def test_a_broken_gpu_is_no_algorithm_that_lost(made: Any) -> None:
    with pytest.raises(BackendError, match="EXECUTION_FAILED"):
        conv(made(failing={"ConvolutionForward": 5000}))


def test_deterministic_takes_no_algorithm_that_is_not_and_measures_nothing(made: Any) -> None:
    backend = made(replace(ALWAYS, deterministic=True))
    g, w = np.ones((2, 6, 6, 4), np.float32), np.ones((3, 3, 3, 4), np.float32)
    run(backend, ConvInputGrad(**SAME, shape=(2, 6, 6, 3)), g, w)
    run(backend, ConvKernelGrad(**SAME, kernel=(3, 3)), np.ones((2, 6, 6, 3), np.float32), g)
    found = stand_in(backend)
    assert all(number not in NONDETERMINISTIC[way] for way, number in found.ran)
    assert len(found.ran) == 2


def test_the_workspace_limit_leaves_out_algorithms(made: Any) -> None:
    small, large = conv(made(replace(ALWAYS, workspace=0))), conv(made())
    assert small.workspace < large.workspace
    backend = made(replace(ALWAYS, workspace=0), raced=(1, 2, 0))
    run(backend, Conv(**SAME), np.ones((2, 6, 6, 3), np.float32), np.ones((3, 3, 3, 4), np.float32))
    assert stand_in(backend).ran == [("Forward", 0)]  # and nothing raced


def test_where_nothing_is_left_cudnn_refuses_and_generated_kernels_take_over(made: Any) -> None:
    lacking = tuple(range(8))
    answer = conv(made(scarce=lacking))
    assert isinstance(answer, Refusal)
    assert "no algorithm" in answer.reason
    backend = made(Gpu(), scarce=lacking)
    offer = conv(backend)
    assert isinstance(offer, Offer)
    assert offer.implementation == f"cupy ({answer.reason})"  # as profiles show it
    offer.build()
    assert backend.taken["Conv", offer.implementation] == 1


def test_the_choice_does_without_a_race_where_memory_is_lacking(made: Any, machine: Machine) -> None:
    backend = made(raced=(2, 1, 0))
    memory, machine.memory = machine.memory, machine.used
    expected = conv(backend)
    assert not stand_in(backend).ran
    machine.memory = memory
    raced = conv(CupyBackend(backend.gpu))  # which has cached no answer
    assert len(stand_in(backend).ran) == RACE
    assert raced.workspace > expected.workspace


def test_tf32_is_allowed_for_float32_alone_and_only_when_chosen(made: Any) -> None:
    for gpu, d, wanted in ((Gpu(), float32, 3), (Gpu(tf32=True), float32, 0), (Gpu(), bfloat16, 1)):
        backend = made(gpu)
        conv(backend, d=d)
        told = {d.facts["math"] for d in stand_in(backend).live.values() if d.kind == "Convolution"}
        assert told == {wanted}


# Handles and status.


def test_each_thread_has_a_handle_and_gives_it_back(made: Any) -> None:
    backend = made()
    lib, c = backend.gpu.cudnn, stand_in(backend)
    mine, seen = lib.handle(), []

    def other() -> None:
        seen.append(lib.handle().value)

    for _ in range(3):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert c.calls["Create"] == 2
    assert len(set(seen)) == 1
    assert mine.value not in seen
    lib.close()
    assert "Handle" not in c.left()


def test_the_stream_is_set_only_when_it_changes(made: Any) -> None:
    backend = made()
    lib, c, device = backend.gpu.cudnn, stand_in(backend), backend.devices()[0]
    one, two = device.stream(), device.stream()
    for stream, calls in ((one, 1), (one, 1), (two, 2), (two, 2), (one, 3)):
        with stream.active():
            lib.handle()
        assert c.calls["SetStream"] == calls


def test_a_convolution_is_captured_into_a_graph(made: Any) -> None:
    backend = made()
    device = backend.devices()[0]
    stream, t = device.stream(), TensorType((2, 6, 6, 3))
    w, y = TensorType((3, 3, 3, 4)), TensorType((2, 6, 6, 4))
    offer = conv(backend)
    places = [device.empty(s.nbytes).view(s) for s in (t, w, y)]
    workspace = device.empty(offer.workspace).view(TensorType((offer.workspace,), uint8))
    launch = offer.build().bind(places[:2], places[2:], workspace)
    with stream.active():
        launch(stream)
        graph = stream.joined([launch])
        stream.copy(np.ones(t.shape, np.float32), places[0])
        stream.copy(np.ones(w.shape, np.float32), places[1])
        graph(stream)
    result = np.empty(y.shape, np.float32)
    stream.copy(places[2], result)
    assert result[0, 1, 1, 0] == 27


def test_a_failing_call_is_an_error_with_the_librarys_words(made: Any) -> None:
    backend = made(failing={"ConvolutionForward": 5000})
    with pytest.raises(
        BackendError, match=r"cudnnConvolutionForward: CUDNN_STATUS_EXECUTION_FAILED \(5000\): it was told"
    ):
        run(backend, Conv(**SAME), np.ones((2, 6, 6, 3), np.float32), np.ones((3, 3, 3, 4), np.float32))


def test_a_parameter_that_only_a_mistake_of_ours_makes_bad_is_an_error(made: Any) -> None:
    """What there is may depend on it; a descriptor or a launch may not."""
    assert isinstance(conv(made(failing={"GetConvolutionForwardAlgorithm_v7": 2000})), Refusal)
    for name in ("SetConvolutionGroupCount", "GetConvolutionForwardWorkspaceSize", "ConvolutionForward"):
        with pytest.raises(BackendError, match=f"cudnn{name}: CUDNN_STATUS_BAD_PARAM"):
            conv(made(failing={name: 2000}))


def test_sizes_beyond_32_bits_are_refused_not_cut(made: Any) -> None:
    types = TensorType((2, 1 << 16, 1 << 15, 1)), TensorType((3, 3, 1, 1))
    answer = made().offer(Conv(**SAME), [Operand(t) for t in types])
    assert isinstance(answer, Refusal)
    assert "cuDNN counts sizes and strides in 32 bits" in answer.reason


def test_an_error_that_is_no_refusal_is_none(made: Any) -> None:
    """A GPU that has gone away must not look like a convolution that cuDNN lacks."""
    with pytest.raises(BackendError, match="CUDNN_STATUS_NOT_INITIALIZED"):
        conv(made(failing={"Create": 1001}))


# Loading.


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No library anywhere, and nothing kept of an earlier search."""
    cudnn.load.cache_clear()
    monkeypatch.delenv(cudnn.VARIABLE, raising=False)
    monkeypatch.setattr(cudnn, "SYSTEM", "libcudnn-of-nowhere.so.9")
    return monkeypatch


def test_an_absent_library_says_what_to_install(nowhere: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        BackendError, match=r"no cuDNN library: the system's .*nvidia-cudnn-cu12 .*nvidia-cudnn-cu13"
    ):
        cudnn.load()


def test_a_library_that_is_asked_for_by_name_must_be_there(
    nowhere: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nowhere.setenv(cudnn.VARIABLE, str(tmp_path / "absent.so"))
    with pytest.raises(
        AskedForError, match=r"CORTEX_CUDNN_LIBRARY=.*absent\.so.*name another file, or unset it"
    ):
        cudnn.load()


def test_the_wheel_is_found_before_the_systems(nowhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "nvidia" / "cudnn" / "lib"
    folder.mkdir(parents=True)
    (folder / cudnn.SYSTEM).write_bytes(b"no library")
    nowhere.setattr(sys, "path", [str(tmp_path)])
    assert [place for _, place in cudnn.candidates()] == ["the wheel", f"the system's {cudnn.SYSTEM}"]
    with pytest.raises(BackendError, match=r"the wheel: .*invalid ELF header|the wheel: .*file too short"):
        cudnn.load()


def test_a_wheel_for_another_cuda_is_refused(machine: Machine, nowhere: pytest.MonkeyPatch) -> None:
    nowhere.setattr(cudnn, "candidates", lambda: [("libcudnn.so", "the wheel")])
    nowhere.setattr(ctypes, "CDLL", lambda path: Cudnn(cuda=13000))
    with pytest.raises(BackendError, match=r"the wheel: libcudnn\.so is for CUDA 13, CuPy for CUDA 12"):
        cudnn.load()


@pytest.mark.parametrize(("number", "told"), [(8907, r"8\.9\.7"), (100000, r"10\.0\.0")])
def test_another_major_version_is_refused_with_the_remedy(number: int, told: str) -> None:
    with pytest.raises(BackendError, match=rf"is cuDNN {told}; needs 9: install the wheel nvidia-cudnn"):
        Library(Cudnn(version=number), "libcudnn.so")


def test_a_library_of_something_else_is_refused() -> None:
    with pytest.raises(BackendError, match="no usable cuDNN library"):
        Library(ctypes.CDLL(None), "libc.so")
