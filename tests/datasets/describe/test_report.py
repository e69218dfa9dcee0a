"""Reports have the shape that report.py documents."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np
import pytest
from PIL import Image

from cortex_datasets.describe import describe, report


def check(value: Any, kind: Any, where: str = "report") -> None:
    """Fails where plain data are not what an annotation says."""
    origin, inner = get_origin(kind), get_args(kind)
    if is_typeddict(kind):
        assert kind.__required_keys__ <= set(value) <= kind.__required_keys__ | kind.__optional_keys__, where
        for name, of in get_type_hints(kind).items():
            if name in value:
                check(value[name], of, f"{where}.{name}")
    elif origin is list:
        assert type(value) is list, where
        for i, item in enumerate(value):
            check(item, inner[0], f"{where}[{i}]")
    elif origin in (Union, types.UnionType):
        if value is not None:
            check(value, next(k for k in inner if k is not type(None)), where)
        else:
            assert type(None) in inner, where
    elif origin is Literal:
        assert value in inner, where
    else:
        assert type(value) is kind, f"{where}: {value!r} is no {kind}"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("t.csv", report.TableReport),
        ("a.npz", report.ArraysReport),
        ("t.txt", report.TextReport),
        ("photos", report.PicturesReport),
    ],
)
def test_the_documented_shape(tmp_path: Path, name: str, kind: Any) -> None:
    rows = "".join(f"{i / 3},{'ab'[i % 2]},2020-01-{i + 1:02},some words of text {i},\n" for i in range(30))
    (tmp_path / "t.csv").write_text("n,c,d,t,nothing\n" + rows)
    np.savez(tmp_path / "a.npz", x=np.eye(3), y=np.arange(3), z=np.zeros((0, 2)), s=np.array(["a"]))
    (tmp_path / "t.txt").write_text("a b\n\nc\n")
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    Image.new("RGB", (4, 3)).save(tmp_path / "photos/cat/1.png")
    (tmp_path / "photos/cat/2.png").write_bytes(b"")
    found: Any = describe(tmp_path / name)
    check(found, kind)
    if name == "t.csv":
        parts = {part for c in found["columns"] for part in c} & {"number", "category", "date", "text"}
        assert parts == {"number", "category", "date", "text"}
