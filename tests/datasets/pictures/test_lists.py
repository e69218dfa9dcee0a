"""Lists of pictures that are wrong, or large."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cortex_compute.errors import DataError
from cortex_datasets.pictures import Images
from cortex_datasets.pictures.listing import from_list
from tests.datasets.pictures.made import beside, folder_of, noise, save, write_list


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["name,label", "a.png,x"], r"no column 'file'; it has name, label"),
        (["file,label", "0.png,x", "0.png,y,z"], r"l.csv:3: has 3 cells, the first line 2"),
        (["file,label", "0.png,x", "7.png,y", "8.png,y"], r"l.csv:3: there is no file '7.png' .* 1 more"),
        (["file,label,part", "0.png,x,train", "0.png,y,tests"], r"l.csv:3: part is 'tests', expected train"),
        (["file,label,part", "0.png,x,test"], "no picture is of the part 'train'"),
        (["file,label"], "names no pictures"),
        ([""], "names no pictures"),
        (["file,a,a", "0.png,1,2"], "has the column 'a' twice"),
        (["file,image", "0.png,1"], "rename the column 'image'"),
        (["file,label", '0.png,"x'], "l.csv:2: .*"),
        (["file,label", "0.png," + "x" * 10_000_000], r"l.csv:2: field larger than field limit"),
    ],
)
def test_lists_that_are_wrong(tmp_path: Path, lines: list[str], message: str) -> None:
    save(tmp_path / "0.png", noise())
    write_list(tmp_path / "l.csv", *lines)
    with pytest.raises(DataError, match=message) as caught:
        Images(list="l.csv").open(beside(tmp_path))
    assert len(str(caught.value)) < 400


def test_a_list_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes(b"file,label\n" + b"caf\xe9.png,x\n")
    with pytest.raises(DataError, match=r"l.csv: byte 14 is no UTF-8; save the list as UTF-8"):
        Images(list="l.csv").open(beside(tmp_path))


@pytest.mark.parametrize("cell", ["old", "nan", "-inf", "1,5", "1e39"])
def test_a_cell_that_is_no_number(tmp_path: Path, cell: str) -> None:
    folder_of(tmp_path, {".": 2})
    write_list(tmp_path / "l.csv", "file,age", "0.png,3", f'1.png,"{cell}"')
    examples = Images(list="l.csv", numbers=["age"]).open(beside(tmp_path))
    encoding = examples.learn(np.arange(2), ["image"], ["age"])
    with pytest.raises(DataError, match=f"l.csv:3: 'age' is '{cell}', expected a number"):
        encoding.encode(examples, np.arange(2), ["image", "age"])


def test_one_long_text_does_not_make_all_cells_long(tmp_path: Path) -> None:
    save(tmp_path / "0.png", noise())
    captions = ["x" * (100_000 if i == 5 else 3) for i in range(4000)]  # as fixed width: 1.6 GB
    write_list(tmp_path / "l.csv", "file,caption", *(f"0.png,{caption}" for caption in captions))
    tracemalloc.start()
    listing = from_list(tmp_path / "l.csv")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000, peak
    assert listing.columns["caption"].tolist() == captions
