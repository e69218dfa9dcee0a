"""Every example of the pages runs: sessions print what is shown, Python runs, descriptions are right."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest

from cortex_core.check import check
from tests.conftest import Cli

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "docs/description.md", "docs/verification.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a language on a page."""
    return [
        text for name, text in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")) if name == language
    ]


def every(language: str) -> list[tuple[str, str]]:
    return [(page, text) for page in PAGES for text in blocks(page, language)]


@pytest.fixture
def page_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the README writes, and the clone's examples."""
    for text in blocks("README.md", "yaml"):
        named = re.match(r"# (\S+\.yaml)\n", text)
        if named:
            (tmp_path / named[1]).write_text(text)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("page", "text"), every("yaml"))
def test_descriptions_are_right(page: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
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
        assert said.code in (0, 2)
        assert (said.out + said.err).startswith(expected.rstrip())


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize(("page", "text"), every("python"))
def test_python_runs(page: str, text: str, page_files: Path) -> None:
    (page_files / "example.py").write_text(text)
    runpy.run_path("example.py")


def test_the_first_network_has_ten_lines_or_about() -> None:
    assert len(blocks("README.md", "yaml")[0].splitlines()) <= 11


def test_what_the_readme_names_exists() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
