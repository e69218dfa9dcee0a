"""What event files show, read by tensorboardX's own messages."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

TIMED = "seconds", "samples_per_second", "waiting_seconds"


def events(path: Path) -> Iterator[Any]:
    """The events of a file of TFRecords: length, its checksum, content, its checksum."""
    content, at = path.read_bytes(), 0
    while at < len(content):
        head = content[at : at + 8]
        (length,) = struct.unpack("<Q", head)
        body = content[at + 12 : at + 12 + length]
        assert struct.unpack("<I", content[at + 8 : at + 12])[0] == masked_crc32c(head)
        assert struct.unpack("<I", content[at + 12 + length : at + 16 + length])[0] == masked_crc32c(body)
        yield Event.FromString(body)
        at += 16 + length


def shown(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    """(step, value) by tag, as TensorBoard has it: a start takes back what is there from its step on."""
    found: dict[str, list[tuple[int, Any]]] = {}
    for path in sorted(folder.glob("*tfevents*")):
        for event in events(path):
            if event.session_log.status == SessionLog.START:
                found = {tag: [x for x in of if x[0] < event.step] for tag, of in found.items()}
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value))
    return found


def numbers(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    """The scalars, and the histograms as their bytes, of what a run computes (not of how fast)."""
    kinds = {"simple_value": lambda value: value.simple_value, "histo": lambda value: str(value.histo)}
    made = {}
    for tag, of in shown(folder).items():
        kind = of[0][1].WhichOneof("value") if of else None
        if kind in kinds and tag not in TIMED:
            made[tag] = [(step, kinds[kind](value)) for step, value in of]
    return made
