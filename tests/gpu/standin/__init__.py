"""A stand-in for the package cupy: cortex_gpu runs on this CPU, and what is wrong shows.

Generated sources are compiled by g++ and run; streams defer their work until somebody waits; captures refuse
what CUDA refuses; memory is poisoned before use and after it is freed.  ``with installed() as machine:`` puts
it in place; ``python -m tests.gpu.standin Softmax`` runs the conformance kit.
"""

from __future__ import annotations

from tests.gpu.standin.machine import MACHINE, Machine, Work
from tests.gpu.standin.memory import view
from tests.gpu.standin.package import installed

__all__ = ["MACHINE", "Machine", "Work", "enqueue", "installed", "view"]


def enqueue(stream: int, run: object, *addresses: int) -> None:
    """Defers ``run()`` as a library's kernel; ``addresses`` are the device memory that it touches."""
    MACHINE.launches += 1
    MACHINE.enqueue(stream, Work(run, MACHINE.touched(a for a in addresses if a)))  # type: ignore[arg-type]
