"""The command ``cortex``: finds the command that is meant, and turns errors into exit codes.

0: good; 1: a suite says no; 2: wrong input; 130: Ctrl-C; 141: whoever read the output went away.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from cortex import __version__
from cortex.command.lazy import Lazy
from cortex_compute.errors import CortexError, SpecError

COMMANDS = {
    "check": "Find every mistake in a description; print shapes and memory.",
    "train": "Train a network.",
    "evaluate": "Measure a trained network on data.",
    "predict": "Run a trained network on arrays, tables or images.",
    "generate": "Let a trained network continue a text.",
    "surgery": "Change a trained network, and keep the weights that fit.",
    "import": "Bring in models of other libraries.",
    "export": "Write a model for other libraries.",
    "keras-recorder": "Print a script that records what the layers of a Keras model give.",
    "verify": "Run a verification suite.",
    "backends": "List the compute backends and what each can do.",
    "profile": "Time each instruction of a step, beside the peak of the machine.",
    "data": "List, fetch, show and describe data.",
    "visualize": "Draw networks, what they learned, and runs.",
    "compare": "Compare runs: their numbers, curves and descriptions.",
    "descend": "Watch optimisers descend a function.",
    "schema": "Print the JSON schema of descriptions.",
}


@click.group(
    cls=Lazy,
    package="cortex.command",
    modules=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="cortex %(version)s")
@click.option(
    "--use", multiple=True, metavar="FILE.py", help="Runs a file that registers layers, losses, data."
)
def cli(use: tuple[str, ...]) -> None:
    """Neural networks as data, compiled for the machine at hand.

    \b
    Examples:
      cortex check examples/lenet.yaml
      cortex train examples/digits.yaml
      cortex --use my_layers.py train net.yaml
    """
    if use:
        from cortex.command.use import run_file

        for path in use:
            run_file(path)


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    try:
        with cli.make_context("cortex", list(arguments)) as context:
            cli.invoke(context)
        sys.stdout.flush()
        return 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        if isinstance(error, click.NoSuchOption) and error.option_name == "--use":
            return _say(f"--use stands before the command: {_use_first(list(arguments))}", 2)
        error.show()
    except (KeyboardInterrupt, click.Abort) as interrupt:
        return _say(str(interrupt) or "interrupted", 130)
    except CortexError as error:
        return _say(_text(error), 2)
    except BrokenPipeError:
        # Python would flush, and fail, once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        return _say(f"{error.filename or 'cannot go on'}: {error.strerror or error}", 2)
    except MemoryError as error:
        return _say(f"not enough memory: {error}. `cortex check` says how much a network takes", 2)
    return 2


def _say(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code


def _use_first(arguments: list[str]) -> str:
    """The command line with ``--use FILE.py`` where it belongs."""
    at = next(i for i, argument in enumerate(arguments) if argument.partition("=")[0] == "--use")
    before, (option, *after) = arguments[:at], arguments[at:]
    file = option.partition("=")[2] or (after.pop(0) if after else "FILE.py")
    return shlex.join(["cortex", "--use", file, *before, *after])


def _text(error: CortexError) -> str:
    """One mistake of a description, one line; other errors as they are."""
    if isinstance(error, SpecError) and error.problems:
        return "\n".join(map(str, error.problems))
    return str(error)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point of ``cortex``."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))
