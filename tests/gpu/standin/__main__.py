"""``python -m tests.gpu.standin Softmax``: the conformance kit on the cupy backend, over the stand-in."""

from __future__ import annotations

import argparse
import time
from importlib import import_module

from cortex_compute import verify
from cortex_gpu import backend
from tests.gpu.sources import collected
from tests.gpu.standin import installed
from tests.gpu.standin.compiler import prepare


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.standin", description=__doc__)
    parser.add_argument(
        "only", nargs="*", help="words of which a case's name, Primitive/case/dtype, contains one"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides in which order pending work is run")
    parser.add_argument("--slow", action="store_true", help="also print the ten slowest cases")
    given = parser.parse_args()
    backend.FAMILIES = tuple(filter(_imports, backend.FAMILIES))
    with installed(seed=given.seed):
        from tests.gpu.standin.backend import cupy_backend

        started = time.perf_counter()
        chosen = cupy_backend()
        words = [word.lower() for word in given.only]
        prepare(collected(wanted=lambda name: not words or any(w in name.lower() for w in words)))
        results = {r.name: r for word in given.only or [None] for r in verify.run(chosen, only=word)}
        print(verify.summary(list(results.values())))
        if given.slow:
            for r in sorted(results.values(), key=lambda r: -r.seconds)[:10]:
                print(f"{r.seconds:.2f} s  {r.name}")
        print(f"{time.perf_counter() - started:.1f} s; kernels built: {dict(chosen.taken)}")
    return int(not all(r.passed for r in results.values()))


def _imports(family: str) -> bool:
    """Whether a family's module is there and whole; people build several at once."""
    try:
        import_module(f"cortex_gpu.{family}")
    except Exception as error:
        print(f"without cortex_gpu.{family}: {error!r:.200}")
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
