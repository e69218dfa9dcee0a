"""``python -m tests.gpu.standin Softmax``: the conformance kit on the cupy backend, over the stand-in."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from cortex_compute import verify
from cortex_compute.verify import Result
from cortex_gpu.backend import CupyBackend
from tests.gpu.sources import collected
from tests.gpu.standin import installed
from tests.gpu.standin.compiler import prepare


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.standin", description=__doc__)
    parser.add_argument("only", nargs="*", help="words of which a case's name contains one")
    parser.add_argument("--seed", type=int, default=0, help="decides in which order pending work is run")
    parser.add_argument("--slow", action="store_true", help="also print the ten slowest cases")
    given = parser.parse_args()
    with installed(seed=given.seed):
        from tests.gpu.standin.backend import cupy_backend

        started, backend = time.perf_counter(), cupy_backend()
        results = _conformance(backend, given.only)
        print(verify.summary(results))
        if given.slow:
            for r in sorted(results, key=lambda r: -r.seconds)[:10]:
                print(f"{r.seconds:.2f} s  {r.name}")
        print(f"{time.perf_counter() - started:.1f} s; kernels built: {dict(backend.taken)}")
    return int(not results or not all(r.passed for r in results))


def _conformance(backend: CupyBackend, only: Sequence[str]) -> list[Result]:
    words = [word.lower() for word in only]
    prepare(collected(wanted=lambda name: not words or any(w in name.lower() for w in words)))
    return list({r.name: r for word in only or [None] for r in verify.run(backend, only=word)}.values())


if __name__ == "__main__":
    raise SystemExit(main())
