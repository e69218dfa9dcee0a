"""The notebooks run, all but the last in a base install, and print what is stored in them."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

import cortex

LEARN = Path(__file__).parents[1] / "docs" / "learn"
NOTEBOOKS = sorted(path.name for path in LEARN.glob("*.ipynb"))
PICTURES = "6_pictures.ipynb"  # trains, and needs the extra viz
NUMBER = re.compile(r"-?\d+(?:\.(\d*))?(?:e([+-]\d+))?")
NOT_IN_THE_BASE_INSTALL = ("IPython", "matplotlib", "PIL", "pandas", "scipy", "sklearn")


def load(name: str) -> Any:
    return json.loads((LEARN / name).read_text(encoding="utf-8"))


def assert_same(found: str, stored: str) -> None:
    """The same text; each number to the last digit that is printed."""
    assert NUMBER.sub("#", found) == NUMBER.sub("#", stored)
    for a, b in zip(NUMBER.finditer(found), NUMBER.finditer(stored)):
        digits, exponent = b.groups()
        unit = 10.0 ** (int(exponent or 0) - len(digits or ""))
        assert float(a[0]) == pytest.approx(float(b[0]), abs=1.01 * unit if digits else 0), (a[0], b[0])


def flat(data: Any) -> Any:
    """A notebook as text and plain structure: lists of lines are joined, spaces around numbers are one."""
    return re.sub(r" +", " ", json.dumps(data, ensure_ascii=False, indent=1, sort_keys=True))


@pytest.mark.parametrize("backend", ["auto", "numpy"])
@pytest.mark.parametrize("name", sorted({*NOTEBOOKS} - {PICTURES}))
def test_a_notebook_prints_what_is_stored(name: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in NOT_IN_THE_BASE_INSTALL:
        monkeypatch.setitem(sys.modules, module, None)
    stored = load(name)
    executed = runpy.run_path(str(LEARN / "execute.py"))["executed"]
    with cortex.using(backend):
        found = executed(stored, Path(name).stem)
    try:
        assert_same(flat(found), flat(stored))
    except AssertionError as error:
        raise AssertionError(f"{error}\nrun: python docs/learn/execute.py docs/learn/{name}") from None


def without_numbers(text: str) -> str:
    """What a training gives on every machine: all but its numbers, and the pictures made of them."""
    pictures = re.sub(r'base64,[\w+/=]+|("image/png": )"[\w+/=]+"', r"\1#", text)
    return NUMBER.sub("#", pictures)


def test_the_pictures_are_those_of_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("matplotlib", "sklearn"):
        pytest.importorskip(module)
    monkeypatch.setitem(sys.modules, "IPython", None)
    monkeypatch.chdir(tmp_path)
    stored = load(PICTURES)
    found = runpy.run_path(str(LEARN / "execute.py"))["executed"](stored, Path(PICTURES).stem)
    assert without_numbers(flat(found)) == without_numbers(flat(stored))
    shown = [kind for cell in found["cells"] for o in cell.get("outputs", ()) for kind in o.get("data", ())]
    assert (shown.count("image/png"), shown.count("image/svg+xml")) == (2, 3)


def test_there_are_six_and_the_page_names_them() -> None:
    assert len(NOTEBOOKS) == 6
    page = (LEARN / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((\w+\.ipynb)\)", page) == NOTEBOOKS
    assert "python -m ipykernel install --user --name cortex" in page


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_a_document(name: str) -> None:
    notebook = load(name)
    cells = notebook["cells"]
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "cortex"
    assert cells[0]["cell_type"] == "markdown"
    assert cells[0]["source"][0].startswith("# ")
    assert len({cell["id"] for cell in cells}) == len(cells)
    links = re.findall(r"\]\((\w+\.ipynb)\)", json.dumps(cells))
    assert [link for link in links if link not in NOTEBOOKS] == []


def test_the_comparison_can_fail() -> None:
    assert_same("loss 0.4999, 12 steps", "loss 0.5000, 12 steps")
    for other in ("loss 0.4990, 12 steps", "loss 0.4999, 13 steps", "lost 0.5000, 12 steps"):
        with pytest.raises(AssertionError):
            assert_same(other, "loss 0.5000, 12 steps")
