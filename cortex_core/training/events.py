"""Event files, as TensorBoard reads them: tensorboardX has the messages and writes the records.

A file is a list of TFRecords, each an event: a wall time, a step, and values by tag.
"""

from __future__ import annotations

import re
import struct
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, CheckpointError, CortexError
from cortex_core.spec.write import flow

NAME = "events.out.tfevents."  # TensorBoard reads what has "tfevents" in its name, in the order of names


def event_files(folder: Path) -> list[Path]:
    """The event files of a folder, in the order in which TensorBoard reads them."""
    return sorted(folder.glob("*tfevents*"))


def shown_steps(folder: Path, tag: str) -> set[int]:
    """The steps of which TensorBoard shows a value of this name: the start of a file takes back what those
    before it hold from its step on.  Raises `CheckpointError` for what is no event file."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    found: set[int] = set()
    for path in event_files(folder):
        try:
            for event in map(Event.FromString, _records(path)):
                if event.session_log.status == SessionLog.START:
                    found = {step for step in found if step < event.step}
                if any(value.tag == tag for value in event.summary.value):
                    found.add(event.step)
        except (OSError, DecodeError) as error:
            raise CheckpointError(f"{path}: cannot be read as event file ({error}); move it away") from error
    return found


def _records(path: Path) -> Iterator[bytes]:
    """The contents of a file's records, up to the first that is cut short, or whose length is damaged.

    A record is its length, a checksum of that, its content, and a checksum of it.
    """
    from tensorboardX.record_writer import masked_crc32c

    with path.open("rb") as file:
        left = path.stat().st_size
        while len(head := file.read(12)) == 12:
            length, checksum = struct.unpack("<QI", head)
            left -= 16 + length
            if left < 0 or masked_crc32c(head[:8]) != checksum:
                return
            yield file.read(length + 4)[:length]


def expect_writer() -> None:
    """Raises `ArgumentError` where tensorboardX is not installed."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise ArgumentError(
            "event files for TensorBoard are written by tensorboardX: pip install 'cortex-nn[tensorboard]'"
        ) from None


class EventFile:
    """A new file of a folder, behind those that lie there.

    ``first``: what the files before it hold from this step on is not shown any more.  Each `put` is on the
    disk when it returns.  Raises `CortexError` where the file cannot be written.
    """

    def __init__(self, folder: Path, first: int) -> None:
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.record_writer import RecordWriter

        # Numbered, where tensorboardX would take the second: two starts within one would write one file.
        taken = [int(path.suffix[1:]) for path in folder.glob(f"{NAME}*") if path.suffix[1:].isdecimal()]
        self.path = folder.absolute() / f"{NAME}{max(taken, default=-1) + 1:06d}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = RecordWriter(str(self.path))
        except OSError as error:
            raise self._failed(error) from error
        self._write(file_version="brain.Event:2")
        self._write(step=first, session_log=SessionLog(status=SessionLog.START))

    def put(self, step: int, values: Iterable[Any]) -> None:
        """Adds an event: values of one step."""
        from tensorboardX.proto.summary_pb2 import Summary

        self._write(step=step, summary=Summary(value=values))

    def close(self) -> None:
        """Nothing can be put any more."""
        try:
            self._writer.close()  # which tries once more to write what could not be written
        except OSError as error:
            raise self._failed(error) from error

    def _write(self, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        try:
            self._writer.write(Event(wall_time=time.time(), **content).SerializeToString())
            self._writer.flush()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> CortexError:
        return CortexError(
            f"{self.path}: cannot be written ({error.strerror or error}). Free some space, or give another "
            "folder"
        )


def scalars(numbers: Mapping[str, float], prefix: str = "") -> list[Any]:
    """A value for each number, rounded to float32, which is what TensorBoard keeps."""
    from tensorboardX.proto.summary_pb2 import Summary

    return [Summary.Value(tag=prefix + name, simple_value=value) for name, value in numbers.items()]


def histograms(found: Mapping[str, Mapping[str, Any]], prefix: str) -> list[Any]:
    """A value for each that `cortex_core.training.histograms.histogram` made, but for those of no finite
    number."""
    from tensorboardX.proto.summary_pb2 import HistogramProto, Summary

    made = []
    for name, of in found.items():
        if of["low"] is None:
            continue
        count, mean = sum(of["counts"]), of["mean"]
        histogram = HistogramProto(
            min=of["low"],
            max=of["high"],
            num=count,
            sum=count * mean,
            sum_squares=count * (of["std"] ** 2 + mean**2),
            bucket_limit=np.linspace(of["low"], of["high"], len(of["counts"]) + 1)[1:].tolist(),
            bucket=of["counts"],
        )
        made.append(Summary.Value(tag=prefix + name, histo=histogram))
    return made


def text(tag: str, content: str) -> list[Any]:
    """Text as it stands: to Markdown, which TensorBoard shows, lines that are set in are code."""
    from tensorboardX.summary import text

    return list(text(tag, textwrap.indent(content, "    ")).value)


def charts(columns: Iterable[str]) -> list[Any]:
    """Of each number that the validation measures, too, a chart with both curves, under Custom Scalars."""
    from tensorboardX.summary import custom_scalars

    names = list(columns)
    pairs = {name: (name, f"validation_{name}") for name in names if f"validation_{name}" in names}
    if not pairs:
        return []
    lines = {name: ["Multiline", [f"^{re.escape(tag)}$" for tag in pair]] for name, pair in pairs.items()}
    return list(custom_scalars({"training and validation": lines}).value)


def hyperparameters(options: Mapping[str, Any], measured: Iterable[str]) -> tuple[list[Any], list[Any]]:
    """The values that open and close a session of TensorBoard's table of hyperparameters: `flat` options, and
    the tags of the numbers beside them."""
    from tensorboardX.summary import hparams

    experiment, start, end = hparams(flat(options), dict.fromkeys(measured, 0.0))
    return [*experiment.value, *start.value], list(end.value)


def flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, bool | float | str]:
    """Options under dotted names (`optimizer.adam.learning_rate`); lists as text; those without a value are
    left out."""
    found: dict[str, bool | float | str] = {}
    for name, value in options.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{name}.")
        elif value is not None:
            found[prefix + name] = value if isinstance(value, (bool, int, float, str)) else flow(value)
    return found
