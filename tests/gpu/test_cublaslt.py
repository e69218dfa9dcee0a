"""cuBLASLt: where it is found, what it is told and refuses; products through the stand-in for the library."""

from __future__ import annotations

import ctypes
import gc
from ctypes import c_int32, c_int64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute import backends, verify
from cortex_compute.errors import BackendError
from cortex_compute.primitives.convolution import Conv
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.protocol import Layout, Offer, Operand, Refusal
from cortex_compute.types import DType, TensorType, bfloat16, float16, float32, float64, uint8
from cortex_compute.verify.families.matrix import fused
from cortex_core.training.train import train
from cortex_gpu.backend import CupyBackend, Gpu
from cortex_gpu.convolution import as_product
from cortex_gpu.cublaslt import Epilogue, Matrix, Problem, algorithm, library
from cortex_gpu.cublaslt.library import Descriptor, HeuristicResult, Library
from cortex_gpu.cublaslt.matmul import BATCH_COUNT, Descriptors
from cortex_gpu.device import CudaDevice
from cortex_gpu.matrix import Factors, gemm_by_library, library_problem
from tests.gpu.running import computed
from tests.gpu.standin import Machine
from tests.gpu.standin.cublaslt import INTERNAL, INVALID, NOT_SUPPORTED, CublasLt

BIAS = fused(lambda c, b: c + b, 2)
PLAIN = Problem(float32, Matrix(5, 4, 5), Matrix(4, 3, 4), Matrix(5, 3, 5))


@pytest.fixture
def lt(machine: Machine) -> CublasLt:
    return CublasLt()


@pytest.fixture
def backend(lt: CublasLt) -> CupyBackend:
    from tests.gpu.standin.backend import cupy_backend

    return cupy_backend(Gpu(cublaslt=lt.library(), workspace=1 << 16))


# Finding and loading.


def test_an_absent_library_is_told_with_every_place_and_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    damaged = tmp_path / "nvidia" / "cublas" / "lib" / "libcublasLt.so.12"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("no library")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.setattr(ctypes, "CDLL", _refuse)
    with pytest.raises(
        BackendError, match=r"libcublasLt.so.12: .*too short.*Install nvidia-cublas-cu12"
    ) as caught:
        library.opened(12)
    assert str(damaged) in str(caught.value)


def _refuse(path: str) -> Any:
    raise OSError("file too short")


def test_the_wheel_for_cuda_13_lies_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "nvidia" / "cu13" / "lib" / "libcublasLt.so.13"
    path.parent.mkdir(parents=True)
    path.touch()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert list(library.candidates(13)) == [str(path), "libcublasLt.so.13"]


def test_a_library_for_another_cuda_is_refused(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
    monkeypatch.setattr("sys.path", [])
    monkeypatch.setattr(ctypes, "CDLL", lambda path: CublasLt(version=110601))
    with pytest.raises(BackendError, match="is for CUDA 11"):
        library.opened(12)


def test_a_library_that_lacks_a_function_is_refused() -> None:
    with pytest.raises(BackendError, match="no usable cuBLASLt"):
        Library(object(), "here")


def test_the_real_library_takes_what_needs_no_gpu() -> None:
    """Prototypes, sizes of attributes and status names, where the wheel is installed."""
    try:
        real = library.opened(12)
    except BackendError as error:
        pytest.skip(str(error))
    made = Descriptors(real, changed(PLAIN, batch=3, epilogue=Epilogue.BIAS), vector=512)
    with pytest.raises(BackendError, match="MatrixLayoutSetAttribute: CUBLAS_STATUS_INVALID_VALUE"):
        made.a.set(BATCH_COUNT, c_int64(3))


def changed(problem: Problem, **changes: Any) -> Problem:
    return Problem(**{**{k: v for k, v in vars(problem).items() if not k.startswith("_")}, **changes})


# Calls.


def test_a_status_becomes_an_error_with_its_name(lt: CublasLt) -> None:
    made = Descriptor(lt.library(), "MatmulDesc", 68, 0)
    with pytest.raises(BackendError, match="cublasLtMatmulDescSetAttribute: CUBLAS_STATUS_INVALID_VALUE"):
        made.set(3, c_int64(1))
    made.set(3, c_int32(1))


def test_an_offer_asks_on_its_own_device(machine: Machine) -> None:
    from cupy.cuda import Device

    machine.count = 2
    opened = CublasLt().library()
    backend = CupyBackend(Gpu(cublaslt=opened, device=CudaDevice(1)))
    with Device(0):
        assert isinstance(backend.offer(Gemm(), [_operand(3, 4), _operand(4, 5)]), Offer)
    assert list(opened._handles) == [1]


def test_each_device_has_one_handle(lt: CublasLt) -> None:
    opened = lt.library()
    assert opened.handle().value == opened.handle().value
    assert lt.calls.count("Create") == 1


def test_descriptors_live_as_long_as_they_are_used(lt: CublasLt) -> None:
    assert algorithm(lt.library(), PLAIN, (16,) * 5, 1 << 16) is not None
    gc.collect()
    assert not lt.objects


def test_the_size_of_a_heuristic_result_is_the_headers() -> None:
    assert ctypes.sizeof(HeuristicResult) == 8 * 8 + 8 + 4 + 4 + 4 * 4


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (changed(PLAIN, a=Matrix(5, 4, 4)), "leading dimension 4"),
        (changed(PLAIN, b=Matrix(3, 3, 3)), "sizes do not fit"),
        (changed(PLAIN, batch=2), "overlap"),
        (changed(PLAIN, a=Matrix(0, 4, 1)), "a layout of"),
    ],
)
def test_the_stand_in_rejects_what_the_library_rejects(lt: CublasLt, problem: Problem, reason: str) -> None:
    answer = algorithm(lt.library(), problem, (16,) * 5, 1 << 16)
    assert isinstance(answer, Refusal)
    assert "MatmulAlgoGetHeuristic: CUBLAS_STATUS_INVALID_VALUE" in answer.reason
    assert reason in answer.reason


# Which products go to it.


def _problem(p: Gemm, *operands: Operand) -> Problem | Refusal:
    return library_problem(Factors.of(p, operands), float32, tf32=False)


def _operand(*shape: int, strides: tuple[int, ...] | None = None, d: DType = float32) -> Operand:
    return Operand(TensorType(shape, d), Layout(strides))


def test_row_major_is_the_other_way_round_column_major() -> None:
    assert _problem(Gemm(), _operand(3, 4), _operand(4, 5)) == PLAIN
    turned = _problem(Gemm(True, True), _operand(4, 3), _operand(5, 4))
    assert turned == changed(PLAIN, a=Matrix(4, 5, 4, True), b=Matrix(3, 4, 3, True))


def test_a_transposed_view_is_read_as_it_lies() -> None:
    view = _operand(3, 4, strides=(1, 3))
    assert _problem(Gemm(), view, _operand(4, 5)) == changed(PLAIN, b=Matrix(3, 4, 3, True))


def test_a_part_of_a_larger_matrix_has_a_leading_dimension() -> None:
    found = _problem(Gemm(), _operand(3, 4, strides=(9, 1)), _operand(4, 5, strides=(7, 1)))
    assert found == changed(PLAIN, a=Matrix(5, 4, 7), b=Matrix(4, 3, 9))


def test_rows_of_a_batch_become_one_tall_product() -> None:
    found = _problem(Gemm(), _operand(2, 3, 4), _operand(4, 5))
    assert found == Problem(float32, Matrix(5, 4, 5), Matrix(4, 6, 4), Matrix(5, 6, 5))


def test_a_repeated_factor_has_no_stride() -> None:
    found = _problem(Gemm(), _operand(3, 4), _operand(2, 4, 5))
    assert isinstance(found, Problem)
    assert (found.batch, found.a.stride, found.b.stride, found.d.stride) == (2, 20, 0, 15)


@pytest.mark.parametrize(
    ("operands", "reason"),
    [
        ((_operand(0, 4), _operand(4, 5)), "at least one element"),
        ((_operand(3, 0), _operand(0, 5)), "at least one element"),
        ((_operand(3, 4, strides=(8, 2)), _operand(4, 5)), "neighbours in memory"),
        ((_operand(3, 4, strides=(0, 1)), _operand(4, 5)), "neighbours in memory"),
        ((_operand(3, 4, strides=(-4, 1)), _operand(4, 5)), "neighbours in memory"),
        ((_operand(2, 1, 3, 4), _operand(6, 4, 5)), "the same distance"),
    ],
)
def test_what_the_library_cannot_read_is_refused(operands: tuple[Operand, ...], reason: str) -> None:
    answer = _problem(Gemm(), *operands)
    assert isinstance(answer, Refusal)
    assert reason in answer.reason


@pytest.mark.parametrize(
    ("p", "extra"),
    [
        (fused(lambda c: c.builder.make("relu", c), 1), ()),  # what its NaN would become is not told
        (BIAS, (_operand(3, 5),)),
        (BIAS, (_operand(3, 1),)),
        (BIAS, (_operand(5, strides=(2,)),)),
        (fused(lambda c, b: c - b, 2), (_operand(5),)),
        (fused(lambda c, b: b + c + b, 2), (_operand(5),)),
    ],
)
def test_only_a_bias_is_its_epilogue(lt: CublasLt, p: Gemm, extra: tuple[Operand, ...]) -> None:
    operands = [_operand(3, 4), _operand(4, 5), *extra]
    answer = gemm_by_library(p, operands, Gpu(cublaslt=lt.library()))
    assert isinstance(answer, Refusal)
    assert "epilogue" in answer.reason


def test_no_algorithm_is_a_refusal_and_the_generated_way_is_taken(machine: Machine) -> None:
    from tests.gpu.standin.backend import cupy_backend

    gpu = Gpu(cublaslt=CublasLt(algorithms=False).library())
    operands = [_operand(3, 4), _operand(4, 5)]
    answer = gemm_by_library(Gemm(), operands, gpu)
    assert isinstance(answer, Refusal)
    assert "CUBLAS_STATUS_NOT_SUPPORTED (MatmulAlgoGetHeuristic: told to have none)" in answer.reason
    offer = cupy_backend(gpu).offer(Gemm(), operands)
    assert isinstance(offer, Offer)
    assert offer.implementation == f"cupy ({answer.reason})"  # as profiles and counters show it


@pytest.mark.parametrize("status", [INVALID, INTERNAL, NOT_SUPPORTED])
def test_an_epilogue_that_fails_in_any_way_is_done_without(machine: Machine, status: int) -> None:
    from tests.gpu.standin.backend import cupy_backend

    lt = CublasLt(failing={Epilogue.BIAS: status, Epilogue.SUMS: status})
    backend, rng = cupy_backend(Gpu(cublaslt=lt.library())), np.random.default_rng(0)
    a, b, c = (rng.standard_normal(s).astype(np.float32) for s in ((64, 32), (64, 24), (24,)))
    product, sums = computed(backend, Gemm(True, sums=True), a, b)
    np.testing.assert_allclose(product, a.T @ b, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sums, b.sum(0), rtol=1e-4, atol=1e-5)
    (found,) = computed(backend, BIAS, a.T.copy(), b, c)
    np.testing.assert_allclose(found, a.T @ b + c, rtol=1e-4, atol=1e-5)
    assert sorted(way.partition(":")[0] for _, way in backend.taken) == ["cublaslt", "cupy (cuBLASLt"]


@pytest.mark.parametrize(
    ("d", "tf32", "compute"),
    [(float32, False, 68), (float32, True, 77), (bfloat16, True, 68), (float64, True, 70)],
)
def test_tf32_is_for_float32_and_by_choice(lt: CublasLt, d: DType, tf32: bool, compute: int) -> None:
    operands = [_operand(3, 4, d=d), _operand(4, 5, d=d)]
    problem = library_problem(Factors.of(Gemm(), operands), d, tf32)
    assert isinstance(problem, Problem)
    words = Descriptors(lt.library(), problem, 0)
    assert lt.objects[words.operation.address.value or 0].made[0] == compute


@pytest.mark.parametrize(("d", "kept"), [(float16, 2), (bfloat16, 2), (float32, None)])
def test_parts_of_a_narrow_product_are_added_before_they_are_rounded(
    lt: CublasLt, d: DType, kept: int | None
) -> None:
    algorithm(lt.library(), changed(PLAIN, dtype=d), (16,) * 5, 0)
    assert lt.preferences[-1].get(3) == kept  # the mask of reduction schemes: COMPUTE_TYPE alone


# What comes out.


@pytest.mark.parametrize(
    "only", ["Gemm/A B ", "Gemm/AT BT ", "Gemm/bias", "Gemm/sums", "Gemm/deep", "Gemm/larger"]
)
def test_conformance(backend: CupyBackend, lt: CublasLt, only: str) -> None:
    results = verify.run(backend, only=only)
    assert results
    assert not [r for r in results if not r.passed]
    assert backend.taken["Gemm", "cublaslt"] > len(results)
    assert all("no sums in double precision" in reason for reason in lt.told)


def test_float16_with_a_bias(backend: CupyBackend) -> None:
    rng = np.random.default_rng(4)
    a, b, bias = (rng.standard_normal(s).astype(np.float16) for s in ((20, 70), (70, 30), (30,)))
    (found,) = computed(backend, BIAS, a, b, bias)
    np.testing.assert_allclose(found, a.astype(np.float64) @ b + bias, rtol=2**-10, atol=1e-4)
    assert backend.taken["Gemm", "cublaslt"] == 1


@pytest.mark.parametrize("kind", ["Conv/one element/", "Conv/bias after one", "ConvInputGrad/one element/"])
def test_windows_of_one_pixel_are_a_product(backend: CupyBackend, kind: str) -> None:
    results = verify.run(backend, only=kind)
    assert results
    assert not [r for r in results if not r.passed]
    assert {way for _, way in backend.taken} == {"cublaslt"}


def test_the_bias_of_single_pixels_is_summed_with_the_product(backend: CupyBackend, lt: CublasLt) -> None:
    results = verify.run(backend, only="ConvKernelGrad/one element, bias/float32")
    assert [r.passed for r in results] == [True]
    assert backend.taken["ConvKernelGrad", "cublaslt"] > 0


def test_larger_windows_are_not_for_the_product() -> None:
    p = Conv((2, 2), ((0, 0), (0, 0)), (1, 1), 1)
    answer = as_product(p, [_operand(2, 4, 4, 3), _operand(1, 1, 3, 5)], Gpu())
    assert isinstance(answer, Refusal)
    assert "one pixel" in answer.reason


def test_sums_come_with_the_product_in_one_call(backend: CupyBackend, lt: CublasLt, machine: Machine) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 64, 32), dtype=np.float32)
    before = machine.launches
    product, sums = computed(backend, Gemm(True, sums=True), a, b)
    np.testing.assert_allclose(product, a.T @ b, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sums, b.sum(0), rtol=1e-4, atol=1e-5)
    assert machine.launches == before + 1
    assert lt.calls.count("Matmul") == 1


def test_a_captured_product_reads_its_operands_anew(backend: CupyBackend, machine: Machine) -> None:
    (device,) = backend.devices()
    t = TensorType((16, 16))
    offer = backend.offer(Gemm(), [Operand(t), Operand(t)])
    assert isinstance(offer, Offer)
    a, b, c = (device.empty(t.nbytes).view(t) for _ in range(3))
    scratch = device.empty(offer.workspace).view(TensorType((offer.workspace,), uint8))
    launch = offer.build().bind([a, b], [c], scratch)
    stream = device.stream()
    stream.copy(np.eye(16, dtype=np.float32), b)
    before = machine.allocations, machine.synchronisations
    joined = stream.joined([launch])
    assert (machine.allocations, machine.synchronisations) == before
    for number in (2.0, 3.0):
        stream.copy(np.full((16, 16), number, np.float32), a)
        joined(stream)
        found = np.empty((16, 16), np.float32)
        stream.copy(c, found)
        assert (found == number).all()


def with_library() -> CupyBackend:
    """The stand-in's backend with its cuBLASLt."""
    from tests.gpu.standin.backend import cupy_backend

    return cupy_backend(Gpu(cublaslt=CublasLt().library(), workspace=1 << 16))


def test_a_network_trains_by_the_library(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(backends.BUILT_IN, "cupy", "tests.gpu.test_cublaslt:with_library")
    backends._create.cache_clear()
    layers = [{"dense": {"units": 24, "activation": "relu"}}, {"dense": {"units": 3, "id": "out"}}]
    described = {
        "cortex": 1,
        "inputs": {"x": [12]},
        "layers": layers,
        "loss": {"softmax_cross_entropy": {"of": "out", "target": "label"}},
        "train": {"optimizer": {"adam": {"learning_rate": 0.01}}, "batch_size": 16},
    }
    rng = np.random.default_rng(0)
    data = {"x": rng.standard_normal((64, 12), np.float32), "label": rng.integers(0, 3, 64)}
    losses, taken = [], backends.get("cupy").taken  # type: ignore[attr-defined]
    for name in ("cupy", "numpy"):
        run = train(described, data, epochs=3, out=tmp_path / name, backend=name, progress=False)
        losses.append([row["loss"] for row in run.history.rows])
    backends._create.cache_clear()
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert losses[0][-1] < losses[0][0]
    assert taken["Gemm", "cublaslt"] > 0
