"""ONNX's own tests of operators: all whose operators are in our table pass, or are refused with a reason."""

from __future__ import annotations

import pytest

from tests.exchange.onnx.nodes import PAGE, REASONS, cases, known, page, run

SOME = ("conv", "gemm", "lstm", "reshape", "slice", "softmax", "transpose", "split", "where", "reducemean")


def test_some_operators() -> None:
    rows, failed = run(case for case in known(cases(SOME)) if case.kind)
    assert failed == []
    assert rows["Conv"].passed == 6
    assert sum(row.passed for row in rows.values()) >= 60


@pytest.mark.slow
def test_all_operators() -> None:
    """And the page shows what came of them."""
    rows, failed = run(known(cases()))
    assert failed == []
    assert {word for row in rows.values() for word in row.refused or ()} <= {*REASONS.values()}
    assert page(rows) == PAGE.read_text(encoding="utf-8"), "run: python -m tests.exchange.onnx.nodes"
