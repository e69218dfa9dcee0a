"""Suites that train the descriptions in ``examples/`` and hold them to what was promised."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from cortex_compute.errors import BackendError, CortexError, SpecError
from cortex_compute.verify.result import Result

MNIST = {"softmax_regression": 92.0, "mlp": 98.0, "lenet": 99.0, "residual": 99.2}
"""Percent of the 10,000 test images that each must get right."""

_STATED = re.compile(r"(accuracy|r2): at least ([0-9.]+) %")


def examples_folder() -> Path:
    """The folder ``examples`` of the clone that this package runs from, else of the current folder."""
    places = [Path(__file__).parents[2] / "examples", Path("examples")]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise SpecError("there is no folder 'examples' here; run this suite in a clone of the project")
    return found


def mnist(backend: str = "auto", only: str | None = None, precision: str | None = None) -> Iterator[Result]:
    """The MNIST suite: each network trains for at most 5 epochs, and reads the test images once, at the end.

    Everything that can be chosen, the best epoch included, is chosen on the last 5,000 training images.
    """
    folder = examples_folder()
    chosen = {name: least for name, least in MNIST.items() if only is None or only.lower() in name}
    wanted = {folder / f"{name}.yaml": ("accuracy", least) for name, least in chosen.items()}
    yield from _train(wanted, backend, precision)


def examples(backend: str = "auto", only: str | None = None) -> Iterator[Result]:
    """Trains every example; each must reach what its first two lines state ("accuracy: at least 99 %")."""
    stated = {}
    for path in sorted(examples_folder().glob("*.yaml")):
        if only is not None and only.lower() not in path.stem:
            continue
        found = _STATED.search(" ".join(path.read_text(encoding="utf-8").splitlines()[:2]))
        if found is None:
            raise SpecError(f"{path}: the first two lines state no number; expected 'accuracy: at least N %'")
        stated[path] = found[1], float(found[2])
    yield from _train(stated, backend)


Wanted = Mapping[Path, tuple[str, float]]  # a metric, and the least percentage of it


def _train(wanted: Wanted, backend: str, precision: str | None = None) -> Iterator[Result]:
    for path, (metric, least) in wanted.items():
        yield _case(path, metric, least, backend, precision)


def _case(path: Path, metric: str, least: float, backend: str, precision: str | None) -> Result:
    """Trains one description and measures it on its test examples."""
    from cortex_core.training.train import train

    start, value, peak, detail = time.perf_counter(), 0.0, 0, ""
    with tempfile.TemporaryDirectory(prefix="cortex-") as scratch:
        try:
            run = train(
                str(path), backend=backend, precision=precision, out=Path(scratch) / path.stem, report=False
            )
            value = 100 * run.metrics["test"][metric]
            peak = run.network.store.nbytes + run.network.store.arena.nbytes
        except (SpecError, BackendError):  # of the question, and not of the network
            raise
        except CortexError as error:
            detail = str(error)
    seconds = time.perf_counter() - start
    name = path.stem if precision is None else f"{path.stem} in {precision}"
    return Result(name, value, seconds, peak, detail, least, f"test {metric}, %", "higher")
