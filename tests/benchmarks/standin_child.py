"""`benchmarks.gpu_check.child` over the stand-in for CuPy.  Started by test_gpu_check.py."""

from __future__ import annotations

import os
import signal
from typing import Any

from benchmarks.gpu_check import child, suites
from tests.gpu.standin import Machine, installed


def hook_of(machine: Machine) -> type:
    """CuPy's memory hook, as far as it is used, over the stand-in's counter."""

    class MemoryHook:
        def __enter__(self) -> Any:
            self.before = machine.allocations
            return self

        def __exit__(self, *error: object) -> None:
            for _ in range(machine.allocations - self.before):
                self.malloc_preprocess()

        def malloc_preprocess(self, **kwargs: Any) -> None:
            """What a hook does."""

    return MemoryHook


def ending(task: dict[str, Any]) -> list[suites.Job]:
    """Jobs of which one ends its process, one says nothing, and one raises."""
    import time

    def good() -> suites.Entry:
        return {"passed": True}

    def bad() -> suites.Entry:
        raise ValueError("two is not one")

    def end() -> suites.Entry:
        os.kill(os.getpid(), signal.SIGSEGV)
        return {}

    def hang() -> suites.Entry:
        time.sleep(60)
        return {}

    return [("first", good), ("bad", bad), ("end", end), ("hang", hang), ("last", good)]


def main() -> None:
    suites.SUITES["ending"] = ending
    missing = os.environ.get("STANDIN_MISSING", "")
    with installed(missing=missing) as machine:
        import cupy

        cupy.cuda.MemoryHook = hook_of(machine)
        child.main()


if __name__ == "__main__":
    main()
