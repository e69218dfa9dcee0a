"""``cortex backends`` and ``--backend``, with and without a oneDNN library.  The library is loaded once for a
process, so that each of these runs in its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cortex_compute.backends import available
from tests.command.conftest import EXAMPLES
from tests.conftest import Said

LENET = str(EXAMPLES / "lenet.yaml")


def cortex(*arguments: str, **environment: str) -> Said:
    code = "import sys; from cortex.command.main import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def broken(tmp_path: Path) -> str:
    """A file that is no library."""
    path = tmp_path / "libdnnl.so.3"
    path.write_text("no library")
    return str(path)


@pytest.mark.slow
def test_a_broken_library_is_told_and_nothing_stands_in_for_it(broken: str) -> None:
    said = cortex("backends", "--json", "-", CORTEX_ONEDNN_LIBRARY=broken)
    rows = {row["name"]: row for row in json.loads(said.out)}
    assert said.code == 0
    assert rows["onednn"]["present"] is False
    assert rows["onednn"]["reason"].startswith(f"CORTEX_ONEDNN_LIBRARY={broken}: ")
    assert "onednn: absent: CORTEX_ONEDNN_LIBRARY=" in said.err
    assert "what 'auto' takes" not in said.err
    small = ("profile", LENET, "--batch-size", "2", "--runs", "1", "--json", "-")
    said = cortex(*small, CORTEX_ONEDNN_LIBRARY=broken)
    assert said.code == 2
    assert said.err.startswith(f"CORTEX_ONEDNN_LIBRARY={broken}: ")
    said = cortex(*small, "--backend", "numpy", CORTEX_ONEDNN_LIBRARY=broken)
    assert (said.code, json.loads(said.out)["backend"]) == (0, "numpy")


@pytest.mark.parametrize("command", ["train", "profile", "check"])
def test_a_broken_library_that_is_asked_for_is_an_error(broken: str, command: str) -> None:
    said = cortex(command, LENET, "--backend", "onednn", CORTEX_ONEDNN_LIBRARY=broken)
    assert said.code == 2
    assert said.err.startswith(f"backend onednn: CORTEX_ONEDNN_LIBRARY={broken}: ")
    assert said.err.rstrip().endswith("usable here: numpy")
    assert len(said.err.splitlines()) == 1


def test_what_is_known_of_onednn() -> None:
    row = next(row for row in available() if row.name == "onednn")
    if not row.present:
        pytest.skip(row.reason)
    assert set(row.facts) >= {"version", "instructions", "threads", "library"}
    assert Path(row.facts["library"]).name.startswith("libdnnl")


def test_check_needs_no_library() -> None:
    code = f"""
from cortex.command.main import run
assert run(["check", {LENET!r}]) == 0
import sys
print(*[name for name in sys.modules if "onednn" in name], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.strip()) == (0, "")
