"""The stand-in for CuPy: kernels compute, and what would go wrong on a GPU goes wrong here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_gpu.prelude import PRELUDE
from tests.gpu.standin import Machine, installed
from tests.gpu.standin.errors import CompileException, CUDARuntimeError, OutOfMemoryError

SEEDS = range(6)


def entry(text: str, name: str = "f") -> Any:
    import cupy

    return cupy.RawModule(code=PRELUDE + text, options=("--std=c++17",), backend="nvrtc").get_function(name)


def run(text: str, blocks: int, threads: int, *arguments: Any) -> None:
    """Launches the entry ``f`` with arrays and numbers."""
    values = tuple([x.data.ptr if hasattr(x, "data") and hasattr(x.data, "ptr") else x for x in arguments])
    entry(text)((blocks, 1, 1), (threads, 1, 1), values)


def pinned(*values: float) -> np.ndarray:
    import cupy

    made = np.frombuffer(cupy.cuda.alloc_pinned_memory(4 * len(values)), np.float32, len(values))
    made[:] = values
    return made


REVERSE = """
extern "C" __global__ void f(const float* x, float* y) {
  __shared__ float part[256];
  part[threadIdx.x] = x[threadIdx.x];
  %s
  y[threadIdx.x] = part[blockDim.x - 1 - threadIdx.x];
}"""
DOUBLE = 'extern "C" __global__ void f(float* x) { x[threadIdx.x] *= 2; }'


# Kernels.


def test_threads_wait_for_each_other_at_a_barrier(machine: Machine) -> None:
    import cupy

    x = np.arange(256, dtype=np.float32)
    y = cupy.empty(256, np.float32)
    run(REVERSE % "__syncthreads();", 1, 256, cupy.asarray(x), y)
    np.testing.assert_array_equal(y.get(), x[::-1])


def test_a_missing_barrier_gives_wrong_numbers(machine: Machine) -> None:
    import cupy

    x = np.arange(256, dtype=np.float32)
    y = cupy.empty(256, np.float32)
    run(REVERSE % "if (threadIdx.x > 1000) __syncthreads();", 1, 256, cupy.asarray(x), y)
    assert not np.array_equal(y.get(), x[::-1])


def test_threads_that_have_left_are_not_waited_for(machine: Machine) -> None:
    import cupy

    text = """
extern "C" __global__ void f(int* y) {
  __shared__ int part[64];
  if (threadIdx.x >= 40) return;
  part[threadIdx.x] = threadIdx.x;
  __syncthreads();
  y[threadIdx.x] = part[39 - threadIdx.x];
}"""
    y = cupy.empty(40, np.int32)
    run(text, 1, 64, y)
    np.testing.assert_array_equal(y.get(), np.arange(40)[::-1])


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_lanes_exchange_numbers(machine: Machine, kind: Any) -> None:
    import cupy

    c = {np.float32: "float", np.float64: "double", np.int64: "i64"}[kind]
    text = f"""
extern "C" __global__ void f(const {c}* x, {c}* sums, {c}* next) {{
  {c} s = x[threadIdx.x];
  next[threadIdx.x] = __shfl_down_sync(0xffffffffu, s, 1);
  for (int lanes = 16; lanes; lanes /= 2) s += __shfl_xor_sync(0xffffffffu, s, lanes);
  sums[threadIdx.x] = s;
}}"""
    x = np.arange(96).astype(kind)
    sums, following = cupy.empty(96, kind), cupy.empty(96, kind)
    run(text, 1, 96, cupy.asarray(x), sums, following)
    warps = x.reshape(3, 32)
    np.testing.assert_array_equal(
        sums.get().reshape(3, 32), np.broadcast_to(warps.sum(1, keepdims=True), (3, 32))
    )
    np.testing.assert_array_equal(following.get().reshape(3, 32)[:, :31], warps[:, 1:])


@pytest.mark.parametrize("condition", ["threadIdx.x < 40", "threadIdx.x % 2"])
def test_an_exchange_without_all_lanes_is_an_error(machine: Machine, condition: str) -> None:
    import cupy

    text = 'extern "C" __global__ void f(int* y) { if (%s) y[0] = __shfl_xor_sync(0xffffffffu, 1, 1); }'
    run(text % condition, 1, 64, cupy.empty(1, np.int32))
    with pytest.raises(CUDARuntimeError, match="not all 32 lanes"):
        cupy.cuda.Stream.null.synchronize()


def test_shared_memory_begins_as_garbage_in_each_block(machine: Machine) -> None:
    import cupy

    text = """
extern "C" __global__ void f(float* y) {
  __shared__ float part[2];
  y[blockIdx.x] = part[0];
  part[0] = 1;
}"""
    y = cupy.empty(3, np.float32)
    run(text, 3, 1, y)
    assert np.isnan(y.get()).all()


def test_blocks_run_in_another_order_with_another_seed() -> None:
    last = set()
    for seed in SEEDS:
        with installed(seed=seed):
            import cupy

            y = cupy.empty(1, np.int32)
            run('extern "C" __global__ void f(int* y) { *y = blockIdx.x; }', 100, 1, y)
            last.add(int(y.get()[0]))
    assert len(last) > 1


def test_sixteen_bits_become_numbers_and_back_as_numpy_says(machine: Machine) -> None:
    import cupy

    text = """
extern "C" __global__ void f(const Half* x, float* wide, const float* y, Half* narrow) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  wide[i] = load(x[i]);
  narrow[i] = store<Half>(y[i]);
}"""
    bits = np.arange(1 << 16, dtype=np.uint16)
    numbers = np.random.default_rng(0).integers(0, 1 << 32, 1 << 16, np.uint32).view(np.float32)
    wide, narrow = cupy.empty(1 << 16, np.float32), cupy.empty(1 << 16, np.uint16)
    run(text, 256, 256, cupy.asarray(bits), wide, cupy.asarray(numbers), narrow)
    with np.errstate(all="ignore"):
        expected = numbers.astype(np.float16)
    np.testing.assert_array_equal(wide.get(), bits.view(np.float16).astype(np.float32))
    np.testing.assert_array_equal(narrow.get().view(np.float16), expected)


def test_a_source_that_does_not_compile_says_why(machine: Machine) -> None:
    with pytest.raises(CompileException, match=r"source.cu.*nonsense"):
        entry('extern "C" __global__ void f(float* x) { nonsense(x); }')
    with pytest.raises(CompileException, match="function of CUDA's: max"):
        entry('extern "C" __global__ void max(float* x) {}', "max")


MISTAKES = {
    "not aligned": "((double*)(x + 1))[0] = 1;",
    "index outside": "__shared__ float a[4]; a[n] = x[0]; x[1] = a[n - 1];",
    "shift by more": "x[0] = 1 << (n * 8);",
}


@pytest.mark.parametrize("waits", ["", "__syncthreads();"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_the_launch_and_names_the_line(machine: Machine, mistake: str, waits: str) -> None:
    import cupy

    text = f'extern "C" __global__ void f(float* x, int n) {{\n{waits}\n{MISTAKES[mistake]} }}'
    run(text, 2, 64, cupy.empty(4, np.float32), np.int32(4))
    with pytest.raises(CUDARuntimeError, match=f"f: an? .*{mistake}.* in line {PRELUDE.count(chr(10)) + 3}"):
        cupy.cuda.Stream.null.synchronize()


# What a launch takes.


def test_arguments_have_exactly_the_type_of_their_parameter(machine: Machine) -> None:
    import cupy

    text = 'typedef double Real;\nextern "C" __global__ void f(float* x, i64 n, Real a, const u32 seed) {}'
    x = cupy.empty(4, np.float32).data.ptr
    right = (x, np.int64(4), np.float64(1), np.uint32(0))
    f = entry(text)
    f((1, 1, 1), (1, 1, 1), right)
    f((1, 1, 1), (1, 1, 1), (0, *right[1:]))
    for place, wrong in [(0, np.int64(x)), (1, 4), (1, np.int32(4)), (2, np.float32(1)), (3, np.int32(0))]:
        values = [*right]
        values[place] = wrong
        with pytest.raises(TypeError, match="takes"):
            f((1, 1, 1), (1, 1, 1), tuple(values))
    with pytest.raises(TypeError, match="4 arguments, 3"):
        f((1, 1, 1), (1, 1, 1), right[:3])


def test_a_pointer_into_the_hosts_memory_is_refused(machine: Machine) -> None:
    x = np.zeros(4, np.float32)
    with pytest.raises(CUDARuntimeError, match="no memory of the device"):
        run(DOUBLE, 1, 4, x.ctypes.data)


@pytest.mark.parametrize(
    ("grid", "block"), [((0, 1, 1), 32), ((1, 70000, 1), 32), ((1, 1, 1), 1025), ((1, 1, 1), 0)]
)
def test_limits_of_a_launch(machine: Machine, grid: tuple[int, int, int], block: int) -> None:
    import cupy

    with pytest.raises(ValueError, match="f: "):
        entry(DOUBLE)(grid, (block, 1, 1), (cupy.empty(1, np.float32).data.ptr,))


def test_too_much_shared_memory_is_refused(machine: Machine) -> None:
    text = 'extern "C" __global__ void f(int* y, int k) { __shared__ int a[12289]; a[k] = 1; *y = a[2 * k]; }'
    with pytest.raises(ValueError, match="49156 bytes of shared memory"):
        run(text, 1, 1, 0, np.int32(0))


# Streams.


def test_nothing_happens_before_somebody_waits(machine: Machine) -> None:
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    back = pinned(0)
    with stream:
        x = cupy.empty(1, np.float32)
        x.set(np.array([3], np.float32), stream=stream)
        run(DOUBLE, 1, 1, x)
        x.get(out=back, blocking=False)
    assert back[0] == 0
    stream.synchronize()
    assert back[0] == 6


def test_pinned_memory_that_is_overwritten_too_early_shows(machine: Machine) -> None:
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    x, host, pageable = cupy.empty(1, np.float32), pinned(3), np.array([3], np.float32)
    x.set(host, stream=stream)
    host[0] = 4
    assert x.get(stream=stream)[0] == 4
    x.set(pageable, stream=stream)
    pageable[0] = 4
    assert x.get(stream=stream)[0] == 3


@pytest.mark.parametrize("waits", [True, False])
def test_streams_keep_an_order_only_where_one_waits(waits: bool) -> None:
    seen = set()
    for seed in SEEDS:
        with installed(seed=seed):
            import cupy

            first, second = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
            x = cupy.empty(1, np.float32)
            for k in range(20):
                x.set(np.array([k], np.float32), stream=first)
            event = first.record(cupy.cuda.Event(disable_timing=True))
            if waits:
                second.wait_event(event)
            with second:
                run(DOUBLE, 1, 1, x)
            seen.add(float(x.get(stream=second)[0]))
    assert (seen == {38.0}) is waits


def test_an_event_is_waited_for_by_the_host(machine: Machine) -> None:
    import cupy

    stream, back = cupy.cuda.Stream(non_blocking=True), pinned(0)
    x = cupy.asarray(np.ones(1, np.float32))
    cupy.cuda.runtime.deviceSynchronize()
    with stream:
        run(DOUBLE, 1, 1, x)
        x.get(out=back, blocking=False)
    event = stream.record()
    assert not event.done
    event.synchronize()
    assert event.done
    assert back[0] == 2


def test_an_error_of_a_kernel_comes_out_where_somebody_waits(machine: Machine) -> None:
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        run('extern "C" __global__ void f() { __syncwarp(); }', 1, 16)
    with pytest.raises(CUDARuntimeError, match="cudaErrorLaunchFailure: unspecified launch failure"):
        stream.synchronize()


# Capture.


def test_a_graph_repeats_what_was_captured(machine: Machine) -> None:
    import cupy

    stream, host = cupy.cuda.Stream(non_blocking=True), pinned(3)
    x = cupy.empty(1, np.float32)
    with stream:
        stream.begin_capture()
        x.set(host, stream=stream)
        run(DOUBLE, 1, 1, x)
        graph = stream.end_capture()
    assert np.isnan(x.get(stream=stream)[0])
    for value in (3, 5):
        host[0] = value
        before = machine.launches
        graph.launch(stream)
        assert machine.launches == before + 1
        assert x.get(stream=stream)[0] == 2 * value


FORBIDDEN = {
    "allocation": lambda cupy, stream, x: cupy.empty(3, np.float32),
    "pinned allocation": lambda cupy, stream, x: cupy.cuda.alloc_pinned_memory(4),
    "stream synchronize": lambda cupy, stream, x: stream.synchronize(),
    "device synchronize": lambda cupy, stream, x: cupy.cuda.runtime.deviceSynchronize(),
    "event query": lambda cupy, stream, x: cupy.cuda.Event().done,
    "legacy stream": lambda cupy, stream, x: cupy.cuda.runtime.memsetAsync(x.data.ptr, 0, 4, 0),
    "pageable source": lambda cupy, stream, x: x.set(np.ones(1, np.float32), stream=stream),
    "pageable destination": lambda cupy, stream, x: x.get(stream=stream),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_capture_refuses(machine: Machine, what: str) -> None:
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    x = cupy.empty(1, np.float32)
    stream.begin_capture()
    with stream, pytest.raises(CUDARuntimeError, match="cudaErrorStreamCapture"):
        FORBIDDEN[what](cupy, stream, x)
    with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
        stream.end_capture()
    stream.synchronize()


def test_a_captured_stream_waits_for_no_event_of_another(machine: Machine) -> None:
    import cupy

    stream, other = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
    event = other.record()
    stream.begin_capture()
    with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureIsolation"):
        stream.wait_event(event)


# Memory.


def test_memory_is_poisoned_when_new_and_when_freed(machine: Machine) -> None:
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        x = cupy.empty(1, np.float32)
        assert np.isnan(x.get()[0])
        stream.begin_capture()
        y = cupy.ndarray((1,), np.float32, x.data)
        run(DOUBLE, 1, 1, y)
        graph = stream.end_capture()
        x.fill(1)
        result = cupy.empty(1, np.float32)
        result[...] = x  # the work that is pending still sees the number
        address = x.data.ptr
        del x, y
        assert result.get()[0] == 1
        graph.launch()
        stream.synchronize()
        reused = cupy.empty(1, np.float32)
        assert reused.data.ptr == address
        assert np.isnan(reused.get()[0])


def test_memory_runs_out(machine: Machine) -> None:
    import cupy

    machine.memory = 4096
    kept = cupy.cuda.alloc(3000)
    assert cupy.cuda.Device(0).mem_info == (4096 - 3072, 4096)
    with pytest.raises(
        OutOfMemoryError, match=r"Out of memory allocating 2,048 bytes \(allocated so far: 3,072"
    ):
        cupy.cuda.alloc(2000)
    del kept
    before = machine.allocations
    cupy.cuda.alloc(2000)
    assert machine.allocations == before + 1


def test_an_array_of_the_device_does_not_become_one_of_the_host(machine: Machine) -> None:
    import cupy

    x = cupy.empty((2, 3), np.float32)
    with pytest.raises(TypeError, match="Implicit conversion to a NumPy array"):
        np.asarray(x)
    assert x[1:, ::2].strides == (12, 8)
    assert not x[:, 1:].flags.c_contiguous


# A machine without a GPU.


@pytest.mark.parametrize(
    ("missing", "words"),
    [("driver", "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"),
     ("device", "cudaErrorNoDevice: no CUDA-capable device is detected")],
)  # fmt: skip
def test_a_machine_without_a_gpu(machine: Machine, missing: str, words: str) -> None:
    import cupy

    machine.missing = missing
    for call in (
        cupy.cuda.runtime.getDeviceCount,
        lambda: cupy.cuda.alloc(8),
        lambda: cupy.cuda.Device(0).use(),
    ):
        with pytest.raises(CUDARuntimeError, match=words):
            call()
    assert not cupy.cuda.is_available()
    assert (cupy.cuda.runtime.driverGetVersion() == 0) is (missing == "driver")
