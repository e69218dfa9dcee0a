"""The command line that repeats a training, or why there is none."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cortex_compute.choices import Choices, choices
from cortex_compute.threads import threads
from cortex_core.network import Network
from cortex_core.registry import AUGMENTATIONS, LAYERS, READERS
from cortex_core.spec.write import flow
from cortex_core.training.source import registered

if TYPE_CHECKING:
    from cortex_core.training.trainer import Trainer

USED = "cortex_use_"  # how modules of `--use FILE` are called


class Command(NamedTuple):
    """A line for a shell, of a training of so many epochs; None, and why, where no line repeats it."""

    line: str | None = None
    why: str = "how the training began was not written down"
    epochs: int = 0


def command(
    trainer: Trainer,
    given: Any,
    parts: Mapping[str, Any],
    overrides: Sequence[str],
    changes: Mapping[str, Any],
) -> Command:
    """The command line of a training that begins; what callbacks of the user's own do is not in it.

    ``given``: the network as `train` got it; ``parts``: its data and validation; ``changes``: other options
    that it got.  A description that was no file lies in the folder of the run.
    """
    objects = [name for name, value in parts.items() if not isinstance(value, (str, int, float, type(None)))]
    if isinstance(given, Network):
        return Command(None, "the network that it began with was an object of a Python program")
    if objects:
        return Command(None, f"its {' and '.join(objects)} came as objects of a Python program")
    description = trainer.network.description
    own = sorted({*_own_classes(description), *_own_data(description.train)})
    used = [str(m.__file__) for name, m in sys.modules.items() if name.startswith(USED)] if own else []
    if own and not used:
        return Command(None, f"a Python program made {', '.join(own)} known, and no file of --use")
    words = ["cortex", *(word for file in used for word in ("--use", file)), "train"]
    if isinstance(given, (str, Path)):
        names = [name for name, value in {**parts, **changes}.items() if value is not None]
        options = description.canonical["train"]
        words += [str(given), *overrides, *(f"train.{name}={flow(options[name])}" for name in names)]
    else:
        words.append(str(trainer.path / "description.yaml"))
    return Command(f"{shlex.join(words)} {_machine(trainer)}", "", trainer.epochs)


def resumed(trainer: Trainer) -> Command:
    """The command line of a training that goes on: the one that it began with, where that still repeats
    it."""
    began, machine = trainer.command, _machine(trainer)
    if began.line is None or (began.line.endswith(machine) and began.epochs == trainer.epochs):
        return began
    if not began.line.endswith(machine):
        return Command(None, "it went on with another backend, number of threads or choice of the machine")
    if trainer.options.schedule is not None:
        told = f"it was to end after {began.epochs} epochs first, after {trainer.epochs} then"
        return Command(None, f"{told}, and its learning rates may depend on that")
    epochs = max(trainer.epochs, trainer.epoch)
    line = f"{began.line.removesuffix(machine)}train.epochs={epochs} {machine}"
    return Command(line, "", epochs)


def _machine(trainer: Trainer) -> str:
    """What computes, and how, as options."""
    backend, taken = trainer.compiled.backend, choices()
    words = ["--backend", backend.name, "--threads", str(threads())]
    for choice in fields(Choices):
        value = getattr(taken, choice.name)
        if choice.name in backend.choices and value != choice.default:
            words += [f"--{choice.name}", *([value] if isinstance(value, str) else [])]
    return shlex.join(words)


def _own_classes(description: Any) -> Iterator[str]:
    """The layers, losses and so on of a description that no installed package brings."""
    groups = {registry.group for registry in (LAYERS, READERS, AUGMENTATIONS)}
    installed = {_package(point.value) for group in groups for point in entry_points(group=group)}
    for cls in set(_classes(description)):
        if _package(cls.__module__) not in {"cortex_core", *installed}:
            yield getattr(cls, "kind", cls.__name__)


def _own_data(options: Any) -> set[str]:
    named = {x for x in (options.data, options.test, options.validation) if isinstance(x, str)}
    return named & registered()


def _package(module: str) -> str:
    return module.partition(":")[0].partition(".")[0]


def _classes(value: Any) -> Iterator[type]:
    if is_dataclass(value):
        yield type(value)
        for field in fields(value):
            yield from _classes(getattr(value, field.name))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _classes(item)
