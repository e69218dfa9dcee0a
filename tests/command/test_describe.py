"""``cortex data describe`` and ``show``: what they print and write, and what bad input gets."""

from __future__ import annotations

import errno
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cortex.command.common import say
from cortex.command.described import bars
from tests.command.conftest import EXAMPLES
from tests.conftest import Cli

TABLE = "kind,mass,born\nbat,1.5,2020-01-01\ncat,,2021-06-30\nbat,4.5,2020-03-01\nbat,1.5,2020-01-01\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    return path


def test_a_table_as_text(cli: Cli, table: Path) -> None:
    said = cli("data", "describe", table)
    assert (said.code, said.err) == (0, "")
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert lines[0].endswith("t.csv: 4 rows, 3 columns, 88 bytes")
    assert lines[1] == "1 row equal to an earlier one"
    assert "mass number 1 25.0 % 2 all cells are numbers, 1.5 to 4.5" in lines
    assert any(line.startswith("mass 1.5 1.5 1.5 3 4.5 2.5 1.732 ") for line in lines)
    assert "kind bat (3), cat (1)" in lines
    assert any(line.startswith("born 2020-01-01 2021-06-30") for line in lines)


def test_json_and_a_page(cli: Cli, table: Path, tmp_path: Path) -> None:
    said = cli("data", "describe", table, "--json", "-", "--html", tmp_path / "page.html")
    report = json.loads(said.out)
    assert (report["kind"], report["rows"], report["duplicates"]) == ("table", 4, 1)
    assert "t.csv: 4 rows" in said.err
    assert "<th" in (tmp_path / "page.html").read_text("utf-8")


def test_json_is_whole_or_not_there(
    cli: Cli, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.json").write_text("before")
    (tmp_path / "link.json").symlink_to("old.json")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        said = cli("data", "describe", table, "--json", tmp_path / "link.json")
    assert said.code == 2
    assert "link.json: cannot be written (No space left" in said.err
    assert (tmp_path / "old.json").read_text() == "before"
    assert cli("data", "describe", table, "--json", tmp_path / "link.json").code == 0
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "old.json").read_text())["rows"] == 4


def test_json_into_a_pipe(cli: Cli, table: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit((tmp_path / "pipe").read_text)
        assert cli("data", "describe", table, "--json", tmp_path / "pipe").code == 0
        assert json.loads(read.result(10))["rows"] == 4
    assert (tmp_path / "pipe").is_fifo()


def test_other_files(cli: Cli, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(6.0).reshape(2, 3), y=np.array([1, 0]))
    out = cli("data", "describe", tmp_path / "a.npz").out
    assert "2 x 3" in out
    assert "0 (1), 1 (1)" in out
    (tmp_path / "t.pos").write_text("a b\nb\n")
    out = cli("data", "describe", tmp_path / "t.pos", "--as", "text").out
    assert "common words: b (2), a (1)" in out
    (tmp_path / "t.txt").write_text("a , ; " * 3 + " ".join(f"word{i:02d}" for i in range(30)))
    out = cli("data", "describe", tmp_path / "t.txt").out
    assert "common words: ',' (3), ';' (3), a (3), word00 (1)," in out
    assert max(map(len, out.splitlines())) < 150
    (tmp_path / "photos/cat").mkdir(parents=True)
    Image.new("L", (4, 3)).save(tmp_path / "photos/cat/1.png")
    (tmp_path / "photos/cat/2.png").write_bytes(b"")
    out = cli("data", "describe", tmp_path / "photos").out
    assert "height x width: 3 x 4 (1)" in out
    assert "1 picture damaged:\n  cat/2.png is empty" in out


def test_a_table_without_a_header(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("1;gr\xfcn\n2;rot\n".encode("latin-1"))
    options = ["--header", "n, colour", "--separator", ";", "--encoding", "latin-1"]
    out = cli("data", "describe", tmp_path / "t.csv", *options).out
    assert "2 rows, 2 columns" in out
    assert "colour" in out


def test_cells_that_mean_missing(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n-999,none\n1.5,x\n2.5,NA\n")
    said = cli("data", "describe", tmp_path / "t.csv", "--missing", "-999, none", "--json", "-")
    columns = json.loads(said.out)["columns"]
    assert [(c["name"], c["missing"], c["distinct"]) for c in columns] == [("a", 1, 2), ("b", 1, 2)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--separator", "ab"), "separator: 'ab' is no separator"),
        (("--separator", ""), "separator: this text is empty"),
        (("--separator", '"'), "separator: '\"' is no separator"),
        (("--separator", ' " '), "separator: ' \" ' is no separator"),
        (("--encoding", "foo"), "encoding: unknown encoding 'foo'"),
        (("--encoding", "hex"), "encoding: "),
        (("--as", "text", "--encoding", "foo"), "encoding: "),
        (("--as", "text", "--encoding", "hex"), "encoding: "),
        (("--header", "a,a"), "header: 'a' is given twice"),
    ],
)
def test_options_are_checked_as_those_of_a_reader(
    cli: Cli, table: Path, options: tuple[str, ...], expected: str
) -> None:
    said = cli("data", "describe", table, *options)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert f"t.csv: {expected}" in said.err


def test_names_do_not_move_the_cursor(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('"a\x1b[2J","b\nc"\n\x1b[31m,2\nx,3\n')
    out = cli("data", "describe", tmp_path / "t.csv").out
    assert "\x1b" not in out
    assert "b\\nc" in out


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b""),
        ("t.csv", b"a\n"),
        ("t.csv", b"a\n\xff\n"),
        ("t.npz", b"x"),
        ("t.txt", b""),
        ("t.x", b"1"),
    ],
)
def test_bad_files(cli: Cli, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    said = cli("data", "describe", tmp_path / name, "--html", tmp_path / "page.html")
    assert (said.code, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert name in said.err
    assert not (tmp_path / "page.html").exists()


def test_a_terminal_without_blocks() -> None:
    content = io.BytesIO()
    terminal = io.TextIOWrapper(content, encoding="ascii")
    say("a ▁█ \udcff", terminal)
    terminal.flush()
    assert content.getvalue() == b"a ?? ?\n"


def test_bars() -> None:
    assert bars({"edges": [], "counts": [0, 1, 8, 50, 100]}) == " ▁▁▄█"
    assert bars(None) == ""


def test_a_sheet_of_augmented_pictures(cli: Cli, tmp_path: Path) -> None:
    options = ["--examples", 3, "--out", tmp_path / "sheet.png", "train.augment=[shift: 2]"]
    assert cli("data", "show", EXAMPLES / "digits.yaml", *options).code == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("L"))
    pictures = pixels.reshape(3, pixels.shape[0] // 3, 8, pixels.shape[1] // 8).swapaxes(1, 2)
    assert len({picture.tobytes() for picture in pictures[0]}) > 2


@pytest.mark.parametrize("out", ["sheet.gif", "sheet.png"])
def test_no_sheet(cli: Cli, spec: Path, tmp_path: Path, out: str) -> None:
    said = cli("data", "show", spec, "--out", tmp_path / out)
    assert said.code == 2
    assert ("'features' [4]" if out == "sheet.png" else "ends in .png") in said.err
    assert not (tmp_path / out).exists()


def test_texts_are_shown_as_texts(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("abcd" * 20)
    (tmp_path / "net.yaml").write_text(
        "cortex: 1\nname: next\ninputs: {text: auto}\nlayers:\n  - embedding: {tokens: 6, units: 2}\n"
        "  - dense: {units: 6, id: next}\nloss: {softmax_cross_entropy: {of: next, target: next}}\n"
        "train: {data: {text: {file: t.txt, window: 8}}}\n"
    )
    out = cli("data", "show", tmp_path / "net.yaml", "--examples", 1).out.splitlines()
    assert out[-2:] == ["text: abcdabcd", "next: bcdabcda"]
