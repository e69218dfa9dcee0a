"""Suites that train the descriptions in ``examples/`` and hold them to what they state."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from cortex_compute.errors import BackendError, CortexError, SpecError
from cortex_compute.verify.result import Result
from cortex_core.training.run import Run
from cortex_core.verify.measures import MEASURES
from cortex_core.verify.stated import Stated, stated

MNIST = (
    *("softmax_regression", "mlp", "lenet", "residual", "row_lstm"),
    *("residual_large", "autoencoder", "siamese"),
)
"""The examples that read the 10,000 test images of MNIST and are its suite."""


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
    yield from _train((examples_folder() / f"{name}.yaml" for name in MNIST), backend, only, precision)


def examples(backend: str = "auto", only: str | None = None) -> Iterator[Result]:
    """Trains every example; each must reach what its second line states."""
    yield from _train(sorted(examples_folder().glob("*.yaml")), backend, only)


def _train(
    paths: Iterable[Path], backend: str, only: str | None, precision: str | None = None
) -> Iterator[Result]:
    known, name = list(paths), (only or "").lower()
    chosen = [path for path in known if path.stem == name] or [path for path in known if name in path.stem]
    for path, wanted in [(path, stated(path)) for path in chosen]:
        yield _case(path, wanted, backend, precision)


def _case(path: Path, wanted: Stated, backend: str, precision: str | None) -> Result:
    """Trains one description and measures what it states."""
    from cortex_core.training.train import train

    start, value, peak, detail = time.perf_counter(), float("nan"), 0, ""
    with tempfile.TemporaryDirectory(prefix="cortex-") as scratch:
        try:
            run = train(
                str(path), backend=backend, precision=precision, out=Path(scratch) / path.stem, report=False
            )
            value = wanted.measured(_metrics(run, wanted, backend))
            peak = run.network.store.nbytes + run.network.store.arena.nbytes
        except (SpecError, BackendError):  # of the question, and not of the network
            raise
        except CortexError as error:
            detail = str(error)
    seconds = time.perf_counter() - start
    name = path.stem if precision is None else f"{path.stem} in {precision}"
    return Result(name, value, seconds, peak, detail, wanted.value, wanted.told, wanted.better)


def _metrics(run: Run, wanted: Stated, backend: str) -> dict[str, dict[str, float]]:
    """The metrics of a run, or what no metric measures."""
    measure = MEASURES.get(wanted.metric)
    if measure is None:
        return run.metrics
    return {wanted.part: {wanted.metric: measure(run.network, wanted.part, backend)}}
