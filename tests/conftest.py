"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

import cortex_core.verify.cases  # noqa: F401 (fills what the fixture below copies)
from cortex.command.main import run
from cortex_core.descent import FUNCTIONS
from cortex_core.registry import AUGMENTATIONS, CONSTRAINTS, LAYERS, LOSSES, METRICS, READERS, STREAMS
from cortex_core.registry.named import load_plugins
from cortex_core.training.run import pictures
from cortex_core.verify import case

trained = import_module("cortex_core.training.train")


class Said(NamedTuple):
    """What a command line gave."""

    code: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs ``cortex ARGUMENTS`` in this process."""

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture(autouse=True, scope="session")
def _no_reports() -> Iterator[None]:
    """Trainings draw nothing, which takes seconds, but for tests that ask for it by the fixture `reports`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained, "pictures", lambda run, data: [])
        yield


@contextmanager
def drawing() -> Iterator[None]:
    """Trainings leave pictures and a report, as they do for people."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained, "pictures", pictures)
        yield


@pytest.fixture(scope="module")
def reports() -> Iterator[None]:
    """Trainings of this module are `drawing`."""
    with drawing():
        yield


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is gone after it: layers, losses, metrics, streams, constraints, readers,
    augmentations, gradient cases, test functions."""
    for registry in (READERS, AUGMENTATIONS):
        load_plugins(registry.group)
    for registry in (LAYERS, LOSSES, METRICS, STREAMS, CONSTRAINTS, READERS, AUGMENTATIONS):
        monkeypatch.setattr(registry, "_classes", dict(registry))  # all are imported before
    monkeypatch.setattr(case, "CASES", dict(case.CASES))
    functions = dict(FUNCTIONS)
    yield
    FUNCTIONS.clear()
    FUNCTIONS.update(functions)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as CORTEX_DATA names one, with small data of the forms that the examples read."""
    from tests.examples import made

    path = tmp_path_factory.mktemp("data")
    made.write_tables(path)
    made.write_texts(path)
    return path
