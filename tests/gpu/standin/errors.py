"""CuPy's exceptions, with the words of CUDA."""

from __future__ import annotations

STATUS = {
    1: ("cudaErrorInvalidValue", "invalid argument"),
    2: ("cudaErrorMemoryAllocation", "out of memory"),
    35: ("cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"),
    100: ("cudaErrorNoDevice", "no CUDA-capable device is detected"),
    101: ("cudaErrorInvalidDevice", "invalid device ordinal"),
    400: ("cudaErrorInvalidResourceHandle", "invalid resource handle"),
    719: ("cudaErrorLaunchFailure", "unspecified launch failure"),
    900: ("cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"),
    901: ("cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"),
    905: ("cudaErrorStreamCaptureIsolation", "dependency created on uncaptured work in another stream"),
    906: (
        "cudaErrorStreamCaptureImplicit",
        "operation would make the legacy stream depend on a capturing blocking stream",
    ),
    907: (
        "cudaErrorCapturedEvent",
        "operation not permitted on an event last recorded in a capturing stream",
    ),
}  # fmt: skip
INVALID, INSUFFICIENT_DRIVER, NO_DEVICE, INVALID_DEVICE, INVALID_HANDLE = 1, 35, 100, 101, 400
LAUNCH_FAILURE, CAPTURE_UNSUPPORTED, CAPTURE_INVALIDATED = 719, 900, 901
CAPTURE_ISOLATION, CAPTURE_IMPLICIT, CAPTURED_EVENT = 905, 906, 907


class CUDADriverError(RuntimeError):
    """A launch that the driver refuses; not a CUDARuntimeError, as in CuPy."""


class CUDARuntimeError(RuntimeError):
    """``detail`` is the stand-in's own: what the real library would not say."""

    def __init__(self, status: int, detail: str = "") -> None:
        self.status = status
        name, text = STATUS[status]
        super().__init__(f"{name}: {text}" + (f" ({detail})" if detail else ""))


class OutOfMemoryError(MemoryError):
    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        more = f", limit set to: {limit:,} bytes" if limit else ""
        super().__init__(
            f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes{more})."
        )


class CompileException(Exception):
    """NVRTC's log."""
