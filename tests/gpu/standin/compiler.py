"""CUDA sources on this CPU: g++ compiles the same text after a header that plays CUDA."""

from __future__ import annotations

import ctypes
import getpass
import hashlib
import math
import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).parent
FLAGS = (
    "-x", "c++", "-std=c++17", "-O1", "-shared", "-fPIC", "-fno-strict-aliasing", "-fno-math-errno",
    "-fno-exceptions", "-fno-rtti", "-fno-asynchronous-unwind-tables", "-w", "-nostdlib",
    "-fsanitize=alignment,bounds,shift",
)  # fmt: skip
MOST_THREADS, MOST_BLOCKS, MOST_SHARED = 1024, 65535, 48 << 10
WAITS = re.compile(r"\b__sync|\b__shfl")
ENTRY = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)'
)
DEFINED = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", re.M)
TOGETHER = 16  # sources in one call of g++
NUMBERS = {
    "@": np.bool_, "b": np.int8, "B": np.uint8, "h": np.int16, "H": np.uint16, "i": np.int32, "I": np.uint32,
    "q": np.int64, "Q": np.uint64, "f": np.float32, "d": np.float64,
}  # fmt: skip
TAKEN = frozenset(
    [
        "abs", "atan", "cbrt", "ceil", "copysign", "cos", "cosh", "erf", "erfc", "exp", "exp2", "expm1",
        "fabs", "floor", "fma", "fmax", "fmin", "fmod", "index", "isfinite", "isinf", "isnan", "log",
        "log1p", "log2", "max", "min", "pow", "rint", "round", "rsqrt", "signbit", "sin", "sinh", "sqrt",
        "tan", "tanh", "trunc",
    ]
)  # fmt: skip
ERRORS = {
    1: "a shuffle where not all 32 lanes of the warp are there",
    2: "a shuffle or __syncwarp whose mask is not 0xffffffff",
    3: "no memory for the stacks of the threads",
    4: "an address that is not aligned to the size of what lies there",
    5: "an index outside of an array",
    6: "a shift by more than the bits of a number",
}


class CompileError(Exception):
    """What g++ says of a source."""


class LaunchError(Exception):
    """A kernel that went wrong while it ran."""


@cache
def machine_flags() -> tuple[str, ...]:
    """Fused multiply-add, as nvcc uses it, where this CPU has it."""
    if platform.machine() != "x86_64":
        return ()
    cpu = Path("/proc/cpuinfo")
    known = set(cpu.read_text().split()) if cpu.exists() else set()
    return tuple(f"-m{name}" for name in ("fma", "f16c") if name in known)


@cache
def folder() -> Path:
    path = Path(tempfile.gettempdir()) / f"cuda-on-cpu-{getpass.getuser()}"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def key(text: str) -> str:
    """What names the compiled form of a text."""
    parts = (header(), text, *FLAGS, *machine_flags(), platform.machine())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def library(name: str) -> Path:
    return folder() / f"{name}.so"


def compiled(text: str, *names: str) -> None:
    """Compiles a C++ text into one shared library, which is then found under each of the names."""
    with tempfile.TemporaryDirectory(dir=folder()) as work:
        new = Path(work) / "new.so"
        command = ["g++", *FLAGS, *machine_flags(), "-o", str(new), "-", "-lm", "-lgcc"]
        done = subprocess.run(command, input=text, text=True, capture_output=True)
        if done.returncode:
            raise CompileError(done.stderr[:3000])
        for k, name in enumerate(names):
            link = Path(work) / f"{k}.so"
            os.link(new, link)
            os.replace(link, library(name))


def prepare(texts: Iterable[str]) -> None:
    """Compiles sources that will be wanted, many at a time, which takes half as long.

    What does not compile is left to those who want it.
    """
    new = [text for text in dict.fromkeys(texts) if not library(key(text)).exists()]
    for start in range(0, len(new), TOGETHER):
        part = new[start : start + TOGETHER]
        with suppress(CompileError):
            compiled("\n".join([header(), *map(_unit, part)]), *map(key, part))


@cache
def fibers() -> ctypes.CDLL:
    text = (HERE / "fibers.cpp").read_text()
    if not library(key(text)).exists():
        compiled(text, key(text))
    return ctypes.CDLL(str(library(key(text))), mode=ctypes.RTLD_GLOBAL)


@cache
def header() -> str:
    return (HERE / "cuda_on_cpu.h").read_text()


class Parameter(NamedTuple):
    """A parameter of an entry: as written, and the NumPy type of a number; None for a pointer."""

    text: str
    number: Any

    def bits(self, where: str, value: Any) -> int:
        """What is passed for ``value``: 8 bytes as an integer."""
        wanted = int if self.number is None else self.number
        if type(value) is not wanted:
            raise TypeError(
                f"{where}: {self.text!r} takes {wanted.__name__}, not {type(value).__name__} {value!r}"
            )
        return value if self.number is None else int.from_bytes(value.tobytes(), "little")


def entries(text: str) -> dict[str, list[str]]:
    """The entries of a source, with the parameters as they are written."""
    found = {m[1]: [p.strip() for p in m[2].split(",") if p.strip()] for m in ENTRY.finditer(text)}
    if not found:
        raise CompileError('no entry: extern "C" __global__ void NAME(...)')
    if taken := TAKEN & found.keys():
        raise CompileError(f"the name of an entry is a function of CUDA's: {', '.join(taken)}")
    return found


class Program:
    """A compiled source."""

    def __init__(self, text: str) -> None:
        fibers()
        self.key, self.entries = key(text), entries(text)
        if not library(self.key).exists():
            compiled(header() + _unit(text), self.key)
        self.library = ctypes.CDLL(str(library(self.key)))

    def function(self, what: str, name: str) -> Any:
        return self.library[f"cuda_{what}_{name}_{self.key}"]

    def parameters(self, name: str) -> list[Parameter]:
        kinds = self.function("kinds", name)
        kinds.restype = ctypes.c_char_p
        letters = kinds().decode()
        if "?" in letters:
            raise CompileError(f"{name} takes something that is neither a pointer nor a number of fixed size")
        return [Parameter(p, NUMBERS.get(k)) for p, k in zip(self.entries[name], letters)]


@cache
def program(text: str) -> Program:
    """The compiled source, once for each process."""
    return Program(text)


class Entry:
    """A kernel that can be launched."""

    def __init__(self, program: Program, name: str) -> None:
        if name not in program.entries:
            raise KeyError(name)
        self.name, self.parameters = name, program.parameters(name)
        self.call = program.function("launch", name)
        u32, u64 = ctypes.c_uint, ctypes.c_uint64
        self.call.argtypes = [u32 * 3, u32, u64, u64, u32, ctypes.c_void_p]
        self.call.restype = ctypes.c_int
        shared = program.function("shared", name)
        shared.restype = ctypes.c_uint64
        self.shared = shared()

    def checked(self, grid: Sequence[int], block: Sequence[int], values: Sequence[Any]) -> Any:
        """The arguments as 8 bytes each; errors where CUDA refuses the launch, or would read garbage."""
        if len(values) != len(self.parameters):
            raise TypeError(f"{self.name} takes {len(self.parameters)} arguments, {len(values)} were given")
        threads, tall = math.prod(block), max(grid[1:], default=0)
        wrong = ""
        if len(block) != 3 or threads != block[0] or not 1 <= threads <= MOST_THREADS:
            wrong = f"blocks of {block} threads"
        elif len(grid) != 3 or min(grid) < 1 or tall > MOST_BLOCKS or grid[0] >= 1 << 31:
            wrong = f"a grid of {grid}"
        elif self.shared > MOST_SHARED:
            wrong = f"{self.shared} bytes of shared memory"
        if wrong:
            raise ValueError(f"{self.name}: {wrong}")
        bits = [p.bits(self.name, v) for p, v in zip(self.parameters, values)]
        return (ctypes.c_uint64 * max(1, len(bits)))(*bits)

    def pointers(self, arguments: Any) -> list[int]:
        return [a for p, a in zip(self.parameters, arguments) if p.number is None and a]

    def run(self, grid: Sequence[int], threads: int, arguments: Any, seed: int) -> None:
        """Runs all blocks, in an order that the seed decides."""
        count = math.prod(grid)
        step = seed % count | 1
        while math.gcd(step, count) != 1:
            step += 1
        code = self.call(
            (ctypes.c_uint * 3)(*grid), threads, seed % count, step, seed & 0xFFFFFFFF, arguments
        )
        if code:
            line = fibers().fibers_line()
            raise LaunchError(f"{self.name}: {ERRORS[code]}" + (f" in line {line}" if line else ""))


def apart(text: str, after: str = "") -> str:
    """A source, so that it may stand beside others in one text; ``after`` comes behind it."""
    own, found = key(text), entries(text)
    return "\n".join([
        f"namespace cuda_{own} {{",
        *(f"#define {name} {name}_{own}" for name in found),
        '#line 1 "source.cu"',
        text,
        after,
        "}",
        *(f"#undef {name}" for name in [*found, *DEFINED.findall(text)]),
    ])  # fmt: skip


def _unit(text: str) -> str:
    """A source apart, with what launches its entries."""
    own, found, waits = key(text), entries(text), bool(WAITS.search(text))
    shared = f"cuda_shared_{own}"
    launchers = (_launcher(name, len(parameters), own, waits) for name, parameters in found.items())
    return "\n".join([
        f'#define __shared__ static __attribute__((section("{shared}")))',
        f'extern "C" char __start_{shared}[] __attribute__((weak)), __stop_{shared}[] __attribute__((weak));',
        apart(text, "\n".join(launchers)),
        "#undef __shared__",
    ])  # fmt: skip


def _launcher(name: str, parameters: int, own: str, waits: bool) -> str:
    """C++ that runs the blocks of a grid in the order start, start + step, ..."""
    given = ", ".join(f"cuda_argument{{a + {k}}}" for k in range(parameters))
    this = f"{name}_{own}"
    fibers = (
        f"if (int e = fibers_run(cuda_thread_{this}, a, threads, &threadIdx.x, seed + (unsigned)b)) return e;"
    )
    loop = f"""for (unsigned t = 0; t < threads; t++) {{
      threadIdx.x = b & 1 ? threads - 1 - t : t;
      cuda_thread_{this}(a);
    }}"""
    return f"""
static void cuda_thread_{this}(void* p) {{ cuda_u64* a = (cuda_u64*)p; {name}({given}); }}
extern "C" const char* cuda_kinds_{this}() {{ return cuda_kinds({name}); }}
extern "C" cuda_u64 cuda_shared_{this}() {{ return __stop_cuda_shared_{own} - __start_cuda_shared_{own}; }}
extern "C" int cuda_launch_{this}(
    unsigned* grid, unsigned threads, cuda_u64 start, cuda_u64 step, unsigned seed, cuda_u64* a) {{
  void* back[5];
  fibers_begin(back);
  if (__builtin_setjmp(back)) return fibers_error();
  gridDim = {{grid[0], grid[1], grid[2]}};
  blockDim = {{threads, 1, 1}};
  cuda_u64 count = (cuda_u64)grid[0] * grid[1] * grid[2];
  for (cuda_u64 i = 0, b = start; i < count; i++, b = (b + step) % count) {{
    cuda_u64 plane = b / grid[0];
    blockIdx = {{(unsigned)(b % grid[0]), (unsigned)(plane % grid[1]), (unsigned)(plane / grid[1])}};
    __builtin_memset(__start_cuda_shared_{own}, 0xff, cuda_shared_{this}());
    {fibers if waits else loop}
  }}
  return 0;
}}"""
