"""What NumPy computes beside oneDNN in the programs that are measured is what the page says."""

from __future__ import annotations

import pytest

from benchmarks.numpy_share import HEAD, PROGRAMS, shares
from benchmarks.report import PAGE, by_numpy, with_by_numpy
from cortex_compute.backends import available

ROW = next(row for row in available() if row.name == "onednn")
BFLOAT16 = any(x in ROW.facts.get("instructions", "") for x in ("BF16", "FP16", "AMX"))
FITS = BFLOAT16 and ROW.facts["version"].startswith("3.2.")
TOLD = "the page is of oneDNN 3.2 on a CPU with AVX-512 and bfloat16: costs decide, and others refuse more"
PAGE_TEXT = PAGE.read_text(encoding="utf-8")


@pytest.mark.skipif(not FITS, reason=TOLD)
def test_the_page_lists_what_numpy_computes() -> None:
    listed = [cells[:-1] for cells in by_numpy(PAGE_TEXT)]
    assert listed == [share.cells() for share in shares()], "run: python -m benchmarks.report --numpy"


def test_the_page_gives_a_reason_for_each() -> None:
    assert by_numpy(PAGE_TEXT)
    for cells in by_numpy(PAGE_TEXT):
        assert len(cells) == 3 + len(PROGRAMS) + 1
        assert cells[-1], f"{cells[0]}: why is it NumPy's?"


def test_the_table_is_written_anew_with_its_reasons() -> None:
    page = (
        "before\n<!-- numpy -->\n| primitive | oneDNN | why NumPy |\n| --- | --- | --- |\n"
        "| `Gemm` | dearer | one row |\n| `Gemm` | refuses | no post-op |\n<!-- end -->\nafter\n"
    )
    rows = [["`Gemm`", "refuses", "2"], ["`Sort`", "refuses", "1"]]
    new = with_by_numpy(page, ["primitive", "oneDNN", "mlp"], rows)
    assert new == (
        "before\n<!-- numpy -->\n| primitive | oneDNN | mlp | why NumPy |\n| --- | --- | --- | --- |\n"
        "| `Gemm` | refuses | 2 | no post-op |\n| `Sort` | refuses | 1 |  |\n<!-- end -->\nafter\n"
    )
    assert with_by_numpy(PAGE_TEXT, HEAD, [cells[:-1] for cells in by_numpy(PAGE_TEXT)]) == PAGE_TEXT
