"""Finding backends."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator

import pytest

from cortex_compute import backends
from cortex_compute.errors import BackendError


@pytest.fixture
def forgetful() -> Iterator[None]:
    """What was found absent is looked for again."""
    backends._present.cache_clear()
    yield
    backends._present.cache_clear()


def test_each_is_made_once() -> None:
    for name in ("numpy", "auto"):
        assert backends.get(name) is backends.get(name)
    assert backends.get("numpy").name == "numpy"


def test_auto_is_the_fastest_that_is_present(monkeypatch: pytest.MonkeyPatch, forgetful: None) -> None:
    present = [row.name for row in backends.available() if row.present]
    assert backends.get().name == next(n for n in backends.FASTEST_FIRST if n in present)
    monkeypatch.setitem(backends.BUILT_IN, "onednn", "cortex_compute.no_such_module:create")
    backends._present.cache_clear()
    assert backends.get() is backends.get("numpy")
    with pytest.raises(BackendError, match=r"backend onednn: No module named .*; usable here: numpy"):
        backends.get("onednn")


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(BackendError, match=r"unknown backend 'nunpy'; known are .*numpy.*, and auto"):
        backends.get("nunpy")


def test_a_backend_that_fails_says_why_and_what_is_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = importlib.metadata.EntryPoint("broken", "no_such_module:create", backends.GROUP)
    worse = importlib.metadata.EntryPoint("worse", "cortex_compute.backends:nothing", backends.GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [broken, worse])
    with pytest.raises(BackendError, match=r"broken: No module named 'no_such_module'; usable here: .*numpy"):
        backends.get("broken")
    rows = {row.name: row for row in backends.available()}
    assert rows["numpy"].present
    assert "blas" in rows["numpy"].facts
    assert "no_such_module" in rows["broken"].reason
    assert not rows["worse"].present
