"""What the tests of tables share: a reader from fields, streams as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cortex_core.registry import build
from cortex_datasets.table.encoding import TableEncoding
from cortex_datasets.table.reader import Table, TableExamples

Array = np.ndarray[Any, Any]


def opened(path: Path, **fields: Any) -> TableExamples:
    """The examples of a file; the other files of ``fields`` lie beside it."""
    return build(Table, {"file": path.name, **fields}).open(lambda name: path.parent / name)


def given(data: Any, **fields: Any) -> TableExamples:
    """The examples of an object in memory."""
    return build(Table, fields).read(data, Path)


def written(path: Path, *lines: str) -> Path:
    """A file with these lines."""
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


def every(examples: TableExamples) -> Array:
    return np.arange(len(examples))


def streams(encoding: TableEncoding, examples: TableExamples, *names: str) -> dict[str, Array]:
    """Streams of all rows, as they are gathered."""
    source = encoding.encode(examples, every(examples), names)
    made = {n: np.full((len(source), *source.streams[n].shape), 77, source.streams[n].dtype) for n in names}
    source.gather(every(examples), made)
    return made


def features(data: Any, **fields: Any) -> Array:
    """The features of the rows that they are learned from."""
    examples = given(data, **fields)
    return streams(examples.learn(every(examples), ["features"], []), examples, "features")["features"]
