"""Exit codes, help, and what is printed when something goes wrong."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

import cortex
from cortex.command import main
from cortex.command.visualize import PICTURES
from cortex_compute.errors import DataError
from cortex_core.registry import LAYERS
from cortex_core.training import source
from tests.conftest import Cli

COMMANDS = ["check", "train", "evaluate", "predict", "generate", "surgery", "import", "export"]
COMMANDS += [
    "keras-recorder",
    "verify",
    "backends",
    "profile",
    "data",
    "visualize",
    "compare",
    "descend",
    "schema",
]
INNER = {
    "import": ["keras", "onnx", "safetensors"],
    "export": ["keras", "onnx", "safetensors"],
    "data": ["list", "fetch", "show", "describe"],
    "verify": ["backend", "gradients", "mnist", "examples", "same"],
    "visualize": list(PICTURES),
}
INNERMOST = [[outer, inner] for outer, names in INNER.items() for inner in names]


@pytest.mark.parametrize("command", [[], *([x] for x in COMMANDS), *INNERMOST])
def test_help_shows_an_example(cli: Cli, command: list[str]) -> None:
    said = cli(*command, "--help")
    assert said.code == 0
    assert "Example" in said.out
    assert f"cortex {' '.join(command)}".strip() in said.out


def test_the_commands_of_the_interface(cli: Cli) -> None:
    lines = cli("--help").out.partition("Commands:\n")[2].splitlines()
    listed = [line.split()[0] for line in lines if not line.startswith("   ")]  # which goes on with one
    assert listed == COMMANDS


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"cortex {cortex.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [["chek"], ["check"], ["train"], ["check", "x.yaml", "--batch-size", "0"], ["train", "--nix"]],
)
def test_wrong_usage(cli: Cli, arguments: list[str]) -> None:
    said = cli(*arguments)
    assert (said.code, said.out) == (2, "")
    assert "Usage:" in said.err


def test_a_missing_file_is_one_line(cli: Cli) -> None:
    said = cli("check", "nowhere.yaml")
    assert (said.code, said.out) == (2, "")
    assert said.err == "nowhere.yaml: cannot be read: No such file or directory\n"


def failing(error: BaseException) -> Callable[..., click.Command]:
    @click.command("check")
    def command() -> None:
        raise error

    return lambda *_: command


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (DataError("no such data"), 2, "no such data\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (KeyboardInterrupt("go on with resume"), 130, "go on with resume\n"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 2, "runs/x: No space left on device\n"),
        (MemoryError("8 TB"), 2, "not enough memory: 8 TB. `cortex check` says how much a network takes\n"),
    ],
)
def test_errors_have_no_traceback(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    monkeypatch.setattr(main.Lazy, "get_command", failing(error))
    said = cli("check")
    assert (said.code, said.err) == (code, text)


def test_an_error_that_nobody_expected_is_not_hidden(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main.Lazy, "get_command", failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli("check")


def test_a_broken_pipe_is_silent() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "cortex", "schema"], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


LAYER = """\
import cortex

@cortex.layer("twice_for_a_test")
class Twice:
    \"\"\"2 x\"\"\"

    def forward(self, p, x):
        return x * 2.0
"""


@pytest.mark.usefixtures("own_registry")
def test_use_registers_a_layer(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LAYER)
    net = tmp_path / "net.yaml"
    net.write_text("inputs: {x: [3]}\nlayers: [twice_for_a_test]\n")
    assert cli("check", net).code == 2
    assert "twice_for_a_test" not in LAYERS
    said = cli("--use", tmp_path / "mine.py", "check", net)
    assert (said.code, said.err) == (0, "")
    assert "twice_for_a_test" in said.out


DATA = """\
import cortex
from cortex_datasets.source import DataSet, Stream

class Mine(DataSet):
    def load(self, split):
        raise cortex.DataError("not here")

cortex.register_data(Mine("mine", "my own", {"x": Stream((3,), "float32")}, {"train": 7}))
"""


def test_use_registers_data(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_registered", {})
    (tmp_path / "mine.py").write_text(DATA)
    said = cli("--use", tmp_path / "mine.py", "data", "list")
    assert said.code == 0
    assert "mine: x 3 float32; train 7" in said.out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\nraise RuntimeError('no')\n", "mine.py:2: RuntimeError: no"),
        ("def f(:\n", "mine.py:1: SyntaxError: "),
        ("import nothing_of_that_name\n", "mine.py:1: ModuleNotFoundError: "),
    ],
)
def test_an_error_in_the_users_file(cli: Cli, tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    said = cli("--use", tmp_path / "mine.py", "backends")
    assert said.code == 2
    assert expected in said.err
    assert "Traceback" not in said.err


def test_use_of_a_missing_file(cli: Cli) -> None:
    said = cli("--use", "nowhere.py", "backends")
    assert (said.code, said.err) == (2, "--use nowhere.py: there is no such file\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("trian", "a.yaml"), "no such command 'trian'. Did you mean 'train'?"),
        (("export", "onxx", "runs/a"), "no such command 'onxx'. Did you mean 'onnx'?"),
        (("export", "pickle"), "no such command 'pickle'. There are keras, onnx, safetensors."),
    ],
)
def test_a_misspelt_command(cli: Cli, arguments: tuple[str, ...], told: str) -> None:
    said = cli(*arguments)
    assert said.code == 2
    assert told in said.err
