"""The benchmark of eager code runs, and compares what both sides compute before it times them."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import pytest

from benchmarks import eager


def options(**changes: Any) -> argparse.Namespace:
    made = {"rounds": 2, "seconds": 0.01, "threads": 1, "backend": "auto", "peers_python": sys.executable}
    return argparse.Namespace(**made, **changes)


@pytest.mark.slow
def test_a_step_beside_that_of_a_description(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--only", "step.cnn", "--rounds", "2", "--seconds", "0.01", "--threads", "1", "--json", "-"]
    monkeypatch.setattr(sys, "argv", ["eager", *arguments, "--peers-python", sys.executable])
    eager.main()
    said = capsys.readouterr()
    row = json.loads(said.out)["rows"]["step.cnn"]
    assert row["ratio"]["low"] <= row["ratio"]["median"] <= row["ratio"]["high"]
    assert len(row["rounds"]) == 2
    assert "at most 1.1" in said.err


def test_other_numbers_are_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    class Made:
        def __init__(self, library: str, *_: object) -> None:
            self.values = [[1.0 if library == "cortex" else 1.1]]

        def close(self) -> None:
            pass

    monkeypatch.setattr(eager, "start", Made)
    result = eager.measure(eager.ROWS["op.add"], options())
    assert result["failed"] == "cortex gives [[1.0]], torch [[1.1]]"
    assert "cortex gives" in eager.text("op.add", result)


@pytest.mark.peers
@pytest.mark.parametrize("name", ["op.matmul", "loop.mlp", "loop.cnn"])
def test_eager_code_gives_what_pytorch_gives(name: str) -> None:
    assert "ratio" in eager.measure(eager.ROWS[name], options())
