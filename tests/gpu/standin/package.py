"""The modules that stand for the package cupy, and how they are put in its place."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from tests.gpu.standin import arrays, compiler, errors, machine, memory, runtime, streams
from tests.gpu.standin.machine import MACHINE, Machine, Work


class Device:
    def __init__(self, device: int | None = None) -> None:
        self.id = runtime.getDevice() if device is None else int(device)
        if device is not None and self.id < 0:
            raise ValueError("Device ID must be non-negative")
        self._before: list[int] = []

    def use(self) -> None:
        runtime.setDevice(self.id)

    def __enter__(self) -> Device:
        self._before.append(runtime.getDevice())
        self.use()
        return self

    def __exit__(self, *error: object) -> None:
        runtime.setDevice(self._before.pop())

    def synchronize(self) -> None:
        runtime.deviceSynchronize()

    @property
    def mem_info(self) -> tuple[int, int]:
        return runtime.memGetInfo()

    @property
    def compute_capability(self) -> str:
        runtime.getDeviceProperties(self.id)
        return "".join(map(str, MACHINE.capability))

    @property
    def attributes(self) -> dict[str, int]:
        properties = runtime.getDeviceProperties(self.id)
        return {"MultiProcessorCount": properties["multiProcessorCount"], "WarpSize": 32}


class RawKernel:
    def __init__(self, program: compiler.Program, name: str) -> None:
        self.name = name
        try:
            self.entry = compiler.Entry(program, name)
        except KeyError:
            raise RuntimeError(f"CUDA_ERROR_NOT_FOUND: named symbol not found ({name})") from None

    @property
    def shared_size_bytes(self) -> int:
        return self.entry.shared

    def __call__(self, grid: Any, block: Any, args: Any, *, shared_mem: int = 0) -> None:
        if shared_mem:
            raise NotImplementedError("dynamic shared memory")
        arguments = self.entry.checked(grid, block, args)
        blocks = MACHINE.touched(self.entry.pointers(arguments))
        seed = MACHINE.random.getrandbits(32)

        def run() -> None:
            try:
                self.entry.run(grid, block[0], arguments, seed)
            except compiler.LaunchError as error:
                raise errors.CUDARuntimeError(errors.LAUNCH_FAILURE, str(error)) from error

        MACHINE.launches += 1
        MACHINE.enqueue(streams.current_ptr(), Work(run, blocks))


class RawModule:
    def __init__(
        self, code: str | None = None, *, options: tuple[str, ...] = (), backend: str = "nvrtc"
    ) -> None:
        if not isinstance(options, tuple):
            raise TypeError("options must be a tuple")
        self.code = code or ""
        self._program: Any = None

    def compile(self, log_stream: Any = None) -> None:
        MACHINE.present()
        try:
            self._program = compiler.program(self.code)
        except compiler.CompileError as error:
            raise errors.CompileException(str(error)) from error

    def get_function(self, name: str) -> RawKernel:
        if self._program is None:
            self.compile()
        return RawKernel(self._program, name)


def is_available() -> bool:
    return not MACHINE.missing


def modules() -> dict[str, ModuleType]:
    """Every module of the stand-in, by its name in the real package."""
    parts = ("", "driver", "runtime", "memory", "pinned_memory", "stream", "graph", "compiler", "device")
    names = ["cupy", *(f"cupy.cuda.{part}".rstrip(".") for part in parts)]
    made = {name: ModuleType(name) for name in names}

    def put(name: str, *things: Any, **named: Any) -> None:
        vars(made[name]).update({x.__name__: x for x in things}, **named)

    a, m, s = arrays, memory, streams
    put("cupy", a.ndarray, a.empty, a.zeros, a.asarray, a.asnumpy, a.copyto, __version__="14.2.0")
    put("cupy", RawModule, m.get_default_memory_pool)
    put(
        "cupy.cuda",
        Device,
        s.Stream,
        s.Event,
        s.Graph,
        s.get_current_stream,
        s.get_elapsed_time,
        is_available,
    )
    put("cupy.cuda", m.MemoryPointer, m.MemoryPool, m.UnownedMemory, m.alloc, m.set_allocator)
    put("cupy.cuda", m.PinnedMemoryPointer, m.PinnedMemoryPool, m.alloc_pinned_memory)
    put("cupy.cuda.runtime", **{k: getattr(runtime, k) for k in runtime.__all__}, is_hip=False)
    put(
        "cupy.cuda.memory",
        errors.OutOfMemoryError,
        m.MemoryPool,
        m.MemoryPointer,
        m.UnownedMemory,
        m.alloc,
    )
    put("cupy.cuda.pinned_memory", m.PinnedMemoryPool, m.PinnedMemoryPointer, m.alloc_pinned_memory)
    put("cupy.cuda.stream", s.Stream, s.Event, s.get_current_stream, s.get_elapsed_time)
    put("cupy.cuda.graph", s.Graph)
    put("cupy.cuda.driver", errors.CUDADriverError)
    put("cupy.cuda.compiler", errors.CompileException)
    put("cupy.cuda.device", Device)
    for name, module in made.items():
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(made[parent], last, module)
    return made


@contextmanager
def installed(**facts: Any) -> Iterator[Machine]:
    """The stand-in as ``cupy`` on a new machine with the given fields; what was there before comes back."""
    made = modules()
    before = {
        name: module for name, module in sys.modules.items() if name == "cupy" or name.startswith("cupy.")
    }
    for name in before:
        del sys.modules[name]
    sys.modules.update(made)
    _forget()
    try:
        yield machine.reset(**facts)
    finally:
        _forget()
        for name in made:
            del sys.modules[name]
        sys.modules.update(before)


def _forget() -> None:
    """Clears what cortex_gpu keeps for the process: compiled functions, handles, devices."""
    memory.POOL.free.clear()
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "cortex_gpu":
            for kept in list(vars(module).values()):
                if hasattr(kept, "cache_clear"):
                    kept.cache_clear()
