"""Finding backends."""

from __future__ import annotations

import importlib.metadata

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from cortex_compute import backends
from cortex_compute.errors import BackendError


def test_numpy_is_found_and_made_once() -> None:
    assert backends.get("numpy").name == "numpy"
    assert backends.get("numpy") is backends.get("auto")


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(BackendError, match=r"unknown backend 'nunpy'; known are numpy"):
        backends.get("nunpy")


def test_a_backend_that_fails_says_why_and_what_is_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = importlib.metadata.EntryPoint("broken", "no_such_module:create", backends.GROUP)
    worse = importlib.metadata.EntryPoint("worse", "cortex_compute.backends:nothing", backends.GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [broken, worse])
    with pytest.raises(BackendError, match=r"broken: No module named 'no_such_module'; usable here: numpy"):
        backends.get("broken")
    rows = {row.name: row for row in backends.available()}
    assert rows["numpy"].present
    assert "blas" in rows["numpy"].facts
    assert "no_such_module" in rows["broken"].reason
    assert not rows["worse"].present


def test_threads() -> None:
    with threadpool_limits():  # puts back what it finds
        backends.set_threads(1)
        assert {pool["num_threads"] for pool in threadpool_info()} <= {1}
    with pytest.raises(BackendError, match="give 1 or more"):
        backends.set_threads(0)
