"""What several commands share: options, models, and where output goes."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from traceback import walk_tb
from typing import IO, TYPE_CHECKING, Any

import click

from cortex_compute.errors import CheckpointError

if TYPE_CHECKING:
    from cortex_core.network import Network

Command = Callable[..., Any]
VIZ = ("matplotlib", "scipy", "sklearn", "threadpoolctl")  # what the extra ``viz`` brings

json_option = click.option(
    "--json", "json_file", metavar="FILE", help="Writes the result as JSON; - is standard output."
)


def backend_option(command: Command) -> Command:
    """``--backend``, and the choices of the machine that go with it."""

    @click.option("--backend", default="auto", metavar="NAME", help="What computes; see `cortex backends`.")
    @click.option(
        "--cudnn", metavar="WHEN", help="cupy: whether cuDNN computes: auto (default), always or never."
    )
    @click.option(
        "--deterministic",
        is_flag=True,
        default=None,
        help="Equal runs give equal bits; dearer on a GPU.",
    )
    @click.option(
        "--tf32", is_flag=True, default=None, help="cupy: products of float32 may round their factors."
    )
    @wraps(command)
    def with_choices(
        *args: Any,
        backend: str,
        cudnn: str | None,
        deterministic: bool | None,
        tf32: bool | None,
        **options: Any,
    ) -> Any:
        if (cudnn, deterministic, tf32) == (None, None, None):
            return command(*args, backend=backend, **options)
        from cortex_compute.backends import expect_choices, get
        from cortex_compute.choices import chosen

        with chosen(cudnn, deterministic, tf32):
            expect_choices(get(backend), cudnn=cudnn, deterministic=deterministic, tf32=tf32)
            return command(*args, backend=backend, **options)

    return with_choices


precision_option = click.option(
    "--precision",
    metavar="P",
    help="What layers compute in training: float32 (default) or bfloat16, in short bf16.",
)
batch_size_option = click.option("--batch-size", type=click.IntRange(min=1), help="Examples in a step.")
spec_argument = click.argument("spec", metavar="SPEC")
overrides_argument = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")


def out_option(
    *suffixes: str, help: str, metavar: str = "FILE", required: bool = False
) -> Callable[[Command], Command]:
    """``--out``, or ``-o``: a file whose name ends in one of ``suffixes``, in letters of either case."""

    def checked(context: click.Context, option: click.Parameter, out: str | None) -> str | None:
        if out is not None and Path(out).suffix.lower() not in suffixes:
            *others, last = suffixes
            expected = f"{', '.join(others)} or {last}" if others else last
            raise click.BadParameter(f"{out}: expected a name that ends in {expected}")
        return out

    return click.option("-o", "--out", metavar=metavar, required=required, callback=checked, help=help)


@contextmanager
def needs_viz() -> Iterator[None]:
    """Ends the command where a package that draws is absent or broken, and says which."""
    try:
        yield
    except ImportError as error:
        named = (error.name or "").partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and named in VIZ:
            raise click.ClickException(f"{named} is not installed: pip install 'cortex-nn[viz]'") from None
        frames = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
        broken = next((name for name in VIZ if name in (named, *(x.partition(".")[0] for x in frames))), None)
        if broken is None:
            raise
        raise click.ClickException(f"{broken} cannot be imported: {error}") from None


def people(json_file: str | None) -> IO[str]:
    """Where text for people goes: aside, if standard output takes the JSON."""
    return sys.stderr if json_file == "-" else sys.stdout


def say(line: str, file: IO[str], end: str = "\n") -> None:
    """Prints a line; a character that the terminal cannot show becomes a question mark."""
    encoding = getattr(file, "encoding", None) or "utf-8"
    print(line.encode(encoding, "replace").decode(encoding), file=file, end=end)


def write_json(json_file: str | None, data: Any) -> None:
    """Writes the result where ``--json`` says, if it does, whole or not at all; a number that is not finite
    becomes null."""
    if json_file is None:
        return
    text = json.dumps(finite(data), indent=2) + "\n"
    if json_file == "-":
        sys.stdout.write(text)
    else:
        from cortex_core.training.files import write_atomically

        write_atomically(Path(json_file), text.encode())


def finite(data: Any) -> Any:
    """The data with null for numbers that are not finite, which JSON has no words for."""
    if isinstance(data, dict):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def model_file(path: str) -> Path:
    """The .cortex file that a path means: it, or that of the best model in the folder of a run."""
    from cortex_core.training.run import MODEL

    return Path(path, MODEL) if Path(path).is_dir() else Path(path)


def load_model(path: str) -> Network:
    """The network of a .cortex file, or of the folder of a run (its best model)."""
    from cortex_core.training.checkpoint import load
    from cortex_core.training.run import LAST, MODEL, fold_of

    folder, file = Path(path), model_file(path)
    if not file.is_file():
        what = "there is no such model; expected a .cortex file or the folder of a run"
        if (folder / LAST).is_file():
            what = f"no epoch of this run has ended, so it has no {MODEL}; its last state is {folder / LAST}"
        what = fold_of(folder) or what
        raise CheckpointError(f"{path}: {what}")
    return load(file)
