"""Whole training steps: the same bits each time, also beside others; nothing taken or waited for inside."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
STEPS = 20
MANY = 50
WARM = 5  # the first steps compile, capture, and fill pools
FORBIDDEN = (  # beginnings of names in CUDA's interface: what takes memory, and what waits for the device
    *("cudaMalloc", "cudaFree", "cudaHostAlloc", "cuMemAlloc", "cuMemFree"),
    *("cudaDeviceSynchronize", "cudaStreamSynchronize", "cuStreamSynchronize", "cuCtxSynchronize"),
)


def steps(task: dict[str, Any]) -> list[tuple[str, Callable[[], Entry]]]:
    """The checks, over each network of ``task["networks"]``: {name: (description or file, batch)}."""
    from cortex_compute.backends import get
    from cortex_compute.choices import choose

    choose(deterministic=True)
    get("cupy")
    networks = {name: partial(Training, *given) for name, given in task["networks"].items()}
    jobs: list[tuple[str, Callable[[], Entry]]] = []
    for name, begin in networks.items():
        jobs.append((f"{name}: the same bits in three trainings", partial(same_bits, begin)))
        jobs.append((f"{name}: no memory kept over {MANY} steps", partial(leaks, begin)))
        jobs.append((f"{name}: no memory taken in a step", partial(allocations, begin)))
        jobs.append((f"{name}: no call that takes memory or waits in a step", partial(calls, begin)))
    first, *_, last = networks.values()
    return [*jobs, ("two trainings at once, each with the bits it has alone", partial(beside, first, last))]


class Training:
    """A training that always begins alike: a network of seed 0 over one made-up batch."""

    def __init__(self, description: Any, batch: int) -> None:
        import cortex
        from cortex_core.verify.same import made_up

        self.network = cortex.network(description)
        self.network.initialize(0)
        self.network.restart(0)
        self.compiled = cortex.compile(self.network, backend="cupy")
        self.arrays = made_up(self.network, batch)
        self.entry = self.compiled.entry(self.compiled.types(batch))

    def step(self) -> None:
        """Hands a step to the GPU."""
        self.compiled.set_scalars(self.entry)
        self.compiled.launch(self.entry, self.arrays, results=False)

    def steps(self, count: int) -> None:
        """Makes so many steps, and waits for them."""
        for _ in range(count):
            self.step()
        self.compiled.look()

    def bits(self) -> str:
        """A fingerprint of all states: parameters, moments, statistics, sums, the random key."""
        made = hashlib.sha256()
        for name in sorted(self.network.store.types):
            made.update(name.encode() + self.network.store.array(name).tobytes())
        return made.hexdigest()[:16]


Begin = Callable[[], Training]


def same_bits(begin: Begin) -> Entry:
    """Three trainings from the same state."""
    found = []
    for _ in range(3):
        training = begin()
        training.steps(STEPS)
        found.append(training.bits())
    return {"passed": len(set(found)) == 1, "bits": found}


def beside(first: Begin, second: Begin) -> Entry:
    """Two trainings whose steps are handed over in turn, each on a stream of its own."""
    alone = []
    for begin in (first, second):
        training = begin()
        training.steps(STEPS)
        alone.append(training.bits())
    both = first(), second()
    for _ in range(STEPS):
        for training in both:
            training.step()
    found = [training.bits() for training in both]
    return {"passed": found == alone, "alone": alone, "beside": found}


def leaks(begin: Begin) -> Entry:
    """What the device's pool and CuPy's own have given out, before and after many steps."""
    from cupy import get_default_memory_pool

    training = begin()
    pools = get_default_memory_pool(), training.compiled.backend.devices()[0].pool
    training.steps(WARM)
    before = sum(pool.used_bytes() for pool in pools)
    training.steps(MANY)
    grown = sum(pool.used_bytes() for pool in pools) - before
    return {"metric": "bytes", "value": grown, "threshold": 0, "passed": grown == 0, "used": before}


def allocations(begin: Begin) -> Entry:
    """How often steps ask CuPy's pool for memory, by its memory hook."""
    from cupy.cuda import MemoryHook

    class Counting(MemoryHook):  # type: ignore[misc]
        name = "counting"
        count = 0

        def malloc_preprocess(self, **kwargs: Any) -> None:
            self.count += 1

        def alloc_preprocess(self, **kwargs: Any) -> None:
            self.count += 1

    training, hook = begin(), Counting()
    training.steps(WARM)
    with hook:
        for _ in range(STEPS):
            training.step()
    training.compiled.look()
    return {
        "metric": f"requests in {STEPS} steps",
        "value": hook.count,
        "threshold": 0,
        "passed": hook.count == 0,
        "counter": "CuPy's memory hook",
    }


def calls(begin: Begin) -> Entry:
    """CUDA's calls in steps, by CUPTI, which PyTorch's profiler reads."""
    try:
        import torch
        from torch.profiler import ProfilerActivity, profile, record_function
    except ModuleNotFoundError as error:
        return {"passed": None, "detail": f"nobody counts: {error}"}
    if not torch.cuda.is_available():
        return {"passed": None, "detail": f"nobody counts: PyTorch {torch.__version__} finds no CUDA device"}
    torch.cuda.init()
    training = begin()
    training.steps(WARM)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        training.steps(WARM)  # the first calls under a profiler set it up
        with record_function("steps"):
            for _ in range(STEPS):
                training.step()
        training.compiled.look()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(file))
        found = calls_within(json.loads(file.read_text(encoding="utf-8")), "steps")
    return judged(found)


def calls_within(trace: dict[str, Any], name: str) -> Counter[str]:
    """CUDA's calls that began inside a span of a profiler's trace, by name."""
    events = [e for e in trace["traceEvents"] if e.get("ph") == "X"]
    span = next(e for e in events if e["name"] == name and e.get("cat") == "user_annotation")
    start, end = span["ts"], span["ts"] + span["dur"]
    kinds = ("cuda_runtime", "cuda_driver")
    return Counter(e["name"] for e in events if e.get("cat") in kinds and start <= e["ts"] <= end)


def judged(found: Counter[str]) -> Entry:
    """No forbidden call; a copy is asynchronous.  A host that is ahead waits for the event of an older step,
    which is counted and no fault.
    """
    bad = {n: k for n, k in found.items() if n.startswith(FORBIDDEN) or n in ("cudaMemcpy", "cudaMemset")}
    detail = ", ".join(f"{n} {k} times" for n, k in bad.items())
    return {
        "metric": f"calls in {STEPS} steps",
        "value": sum(bad.values()),
        "threshold": 0,
        "passed": not bad and bool(found),
        "calls": dict(found),
        "counter": "CUPTI, by torch.profiler",
        "detail": detail if found else "nothing was seen",
    }
