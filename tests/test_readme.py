"""Every example of the pages runs: sessions print what is shown, Python runs, descriptions are right."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cortex_core.check import check
from tests.conftest import Cli
from tests.page_files import write_data

ROOT = Path(__file__).parents[1]
PAGES = [
    "README.md",
    *(
        f"docs/{name}.md"
        for name in (
            "data",
            "descent",
            "description",
            "detection",
            "eager",
            "examples",
            "export",
            "extending",
            "generate",
            "import",
            "onnx",
            "pictures",
            "safetensors",
            "sequences",
            "sklearn",
            "surgery",
            "verification",
        )
    ),
]
NAMED = re.compile(r"# (\S+\.(?:py|yaml))\n")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a language on a page."""
    return [
        text for name, text in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")) if name == language
    ]


def every(language: str) -> list[tuple[str, str]]:
    return [(page, text) for page in PAGES for text in blocks(page, language)]


@pytest.fixture
def page_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_registry: None) -> Iterator[Path]:
    """A folder with the files that the pages write and read, and the clone's examples; Python may import from
    it."""
    before = set(sys.modules)
    write_data(tmp_path)
    monkeypatch.delenv("CORTEX_DATA", raising=False)
    monkeypatch.setenv("CORTEX_CACHE", str(tmp_path / "cache"))
    for _, text in every("yaml") + every("python"):
        if named := NAMED.match(text):
            (tmp_path / named[1]).write_text(text)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in {path.stem for path in tmp_path.glob("*.py")} - before:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("page", "text"), every("yaml"))
def test_descriptions_are_right(page: str, text: str, page_files: Path) -> None:
    for code in blocks(page, "python"):
        if named := NAMED.match(code):
            runpy.run_path(named[1])
    path = page_files / "net.yaml"
    path.write_text(text)
    assert [str(p) for p in check(path).problems] == []


@pytest.mark.parametrize(("page", "text"), every("console"))
def test_shell_sessions_print_what_is_shown(page: str, text: str, page_files: Path, cli: Cli) -> None:
    commands = [part for part in text.split("$ ") if part]
    assert commands
    for part in commands:
        line, _, expected = part.partition("\n")
        program, *arguments = shlex.split(line)
        said = cli(*arguments)
        assert program == "cortex"
        assert said.code in (0, 1, 2)
        assert (said.out + said.err).startswith(expected.rstrip())


@pytest.mark.parametrize(("page", "text"), every("python"))
def test_python_runs(page: str, text: str, page_files: Path) -> None:
    (page_files / "example.py").write_text(text)
    runpy.run_path("example.py")


def test_the_guide_to_data_shows_the_example_that_it_names() -> None:
    shown = next(text for text in blocks("docs/data.md", "yaml") if text.startswith("# titanic.yaml"))
    assert yaml.safe_load(shown) == yaml.safe_load(
        (ROOT / "examples/titanic.yaml").read_text(encoding="utf-8")
    )


def test_the_first_network_has_ten_lines_or_about() -> None:
    assert len(blocks("README.md", "yaml")[0].splitlines()) <= 11


def test_what_the_readme_names_exists() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
