"""Finds the GPU and the libraries, and says in one line what is missing and what to do."""

from __future__ import annotations

from typing import Any

from cortex_compute.choices import choices
from cortex_compute.errors import AskedForError, BackendError
from cortex_gpu.backend import CupyBackend, Gpu
from cortex_gpu.kernels import Call, Memory, Source

OLDEST_CUPY = (14, 0)
OLDEST_CAPABILITY = (7, 0)
PROBE = Source("probe", 'extern "C" __global__ void probe() {}')


def found(index: int = 0) -> CupyBackend:
    """The backend over GPU ``index``, after a kernel was compiled and run on it."""
    cupy = _cupy()
    count = _devices(cupy)
    if not 0 <= index < count:
        raise BackendError(f"there is no GPU {index}; this machine has {count}, counted from 0")
    from cortex_gpu.cublaslt.library import load as load_cublaslt
    from cortex_gpu.cudnn.library import Library
    from cortex_gpu.cudnn.library import load as load_cudnn
    from cortex_gpu.device import CudaDevice, told

    device = CudaDevice(index)
    text = str(device.raw.compute_capability)
    capability = int(text[:-1]), int(text[-1])
    if capability < OLDEST_CAPABILITY:
        raise BackendError(
            f"GPU {index} has compute capability {capability[0]}.{capability[1]}; at least "
            f"{OLDEST_CAPABILITY[0]}.{OLDEST_CAPABILITY[1]} is needed (Volta, 2017): use a CPU backend"
        )
    stream = device.stream()
    with stream.active(), told("a first kernel"):
        Call(PROBE, (1, 1, 1), 1, ()).bind(Memory((), (), None))()
        stream.synchronize()
    chosen = choices()

    def started_cudnn() -> Library:
        library = load_cudnn()
        with device.raw:
            library.handle()  # one that loads may still lack a part, or the driver that it needs
        return library

    cudnn, told_cudnn = _optional(started_cudnn, needed=chosen.cudnn == "always")
    cublaslt, told_cublaslt = _optional(load_cublaslt)
    if chosen.cudnn == "never":
        cudnn, told_cudnn = None, "not used: the choice is never"
    facts = (
        ("gpu", _named(cupy, device, capability)),
        ("cupy", f"{cupy.__version__}, CUDA {_told(cupy.cuda.runtime.runtimeGetVersion())}"),
        ("driver", f"up to CUDA {_told(_driver(cupy.cuda.runtime))}"),
        ("cudnn", told_cudnn),
        ("cublaslt", told_cublaslt),
    )
    return CupyBackend(
        Gpu(
            device=device,
            capability=capability,
            processors=int(device.raw.attributes["MultiProcessorCount"]),
            cudnn=cudnn,
            cublaslt=cublaslt,
            policy=chosen.cudnn,
            deterministic=chosen.deterministic,
            tf32=chosen.tf32,
            facts=facts,
        )
    )


def _named(cupy: Any, device: Any, capability: tuple[int, int]) -> str:
    name = cupy.cuda.runtime.getDeviceProperties(device.index)["name"]
    text = name.decode() if isinstance(name, bytes) else str(name)
    free, total = device.memory()
    kind = f"compute capability {capability[0]}.{capability[1]}"
    return f"{text}, {kind}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"


def _cupy() -> Any:
    try:
        import cupy
    except ImportError as error:
        if getattr(error, "name", "") == "cupy":
            raise BackendError(
                "CuPy is not installed: pip install 'cupy-cuda12x[ctk]' nvidia-cudnn-cu12, or the same for "
                "13: nvidia-smi shows which CUDA the driver knows"
            ) from error
        raise BackendError(
            f"CuPy cannot be imported: {error}; install one CuPy wheel alone, the one for the driver's CUDA "
            "(cupy-cuda12x or cupy-cuda13x)"
        ) from error
    version = tuple(int(x) for x in cupy.__version__.split(".")[:2])
    if version < OLDEST_CUPY:
        raise BackendError(f"CuPy is {cupy.__version__}; 14 or newer is needed: pip install -U the wheel")
    return cupy


def _devices(cupy: Any) -> int:
    """How many GPUs there are; at least one."""
    runtime = cupy.cuda.runtime
    try:
        return int(runtime.getDeviceCount())
    except runtime.CUDARuntimeError as error:
        built, driver = runtime.runtimeGetVersion(), _driver(runtime)
        raise BackendError(f"{error}; {_remedy(built, driver)}") from error


def _driver(runtime: Any) -> int:
    try:
        return int(runtime.driverGetVersion())
    except runtime.CUDARuntimeError:
        return 0


def _remedy(built: int, driver: int) -> str:
    """What to do, from the CUDA version that CuPy was built for and the newest that the driver knows."""
    if not driver:
        return "no NVIDIA driver was found: install one, or use a CPU backend"
    if driver // 1000 < built // 1000:
        return (
            f"the driver knows CUDA {_told(driver)}, this CuPy is for {_told(built)}: update the driver, or "
            f"install cupy-cuda{driver // 1000}x instead"
        )
    return f"the driver knows CUDA {_told(driver)}: look whether nvidia-smi lists a GPU"


def _told(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def _optional(load: Any, needed: bool = False) -> tuple[Any, str]:
    """A library, or None where it cannot be had and nobody asked for it; and what there is to say."""
    try:
        library = load()
        return library, repr(library)
    except AskedForError:
        raise
    except BackendError as error:
        if needed:
            raise
        return None, f"absent: {error}"
