"""Reading YAML: hostile files, syntax errors in plain words, and YAML 1.2's scalars."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from cortex_core.spec.read import MAX_BYTES, MAX_NODES, parse
from cortex_core.spec.tree import Problems
from tests.core.spec.reading import inspected

# 2 to the power of 40 values, if anybody unfolded them.
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))

REFUSED = {
    "a tag": (
        "name: !!python/object/apply:os.system ['echo']",
        "1:7: name: a tag (!!python/object/apply:os.system): a description is plain data",
    ),
    "a harmless tag": ("name: !!str 3", "1:7: name: a tag (!!str)"),
    "aliases": (LAUGHS, "1:5: a0: an anchor (&a0): a description has no anchors"),
    "an alias": ("layers: *x", "1:9: layers: an alias (*x)"),
    "an alias of itself": ("layers: &x [*x]", "1:9: layers: an anchor (&x)"),
    "brackets": ("[" * 100_000, "1:66: [0][0][0]"),
    "dashes": ("- " * 100_000, "1:131: [0][0][0]"),
    "braces": ("{a: " * 100_000, "1:258: a.a.a"),
    "indentation": ("".join(" " * i + "a:\n" for i in range(1000)), "65:65: a.a.a"),
    "a large file": ("#" * (MAX_BYTES + 1), f"1:1: the file has {MAX_BYTES + 1:,} bytes"),
    "a binary file": (b"\x89PNG\r\n\x1a\n\x00\xff", "1:1: byte 0x89 is not UTF-8"),
    "a model": (
        b"\x89HDF\r\n\x1a\n\x00\xff",
        "1:1: this is HDF5, as the file of a model is: expected the text",
    ),
    "a large model": (b"\x89HDF\r\n\x1a\n" + b"\0" * MAX_BYTES, "1:1: this is HDF5"),
    "zeros": ("\0" * 100, "1:1: a control character"),
    "nothing": ("# only a comment\n", "1:1: the file is empty"),
    "two documents": ("a: 1\n---\nb: 2\n", "2:1: a second document ('---')"),
    "a key that is a list": ("? [a]\n: b\n", "1:3: a list as a key: expected a name"),
    "a template": ("name: {{name}}\n", "1:8: name: a mapping as a key: expected a name"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_hostile_files_are_refused_in_little_memory(tmp_path: Path, case: str) -> None:
    text, expected = REFUSED[case]
    tracemalloc.start()
    try:
        _, problems = inspected(tmp_path, text)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(problems) == 1
    assert problems[0].startswith(f"net.yaml:{expected}")
    assert len(problems[0]) < 400
    assert peak < 50 * 2**20


@pytest.mark.slow
def test_a_file_of_too_many_values_is_refused(tmp_path: Path) -> None:
    _, problems = inspected(tmp_path, "[" + "0," * (MAX_NODES + 1) + "]")
    assert problems == ["net.yaml:1:1000000: [499999]: more than 500,000 values in one file"]


SYNTAX = {
    "a:\n\tb: 1\n": "2:1: a tab. YAML indents with spaces",
    "a:\n  b: 1\n\tc: 2\n": "3:1: a tab. YAML indents with spaces",
    "a: b: c\n": "1:5: a second ': ' where a value stands. Quote it, or write {key: value}",
    "a: 1\n  b: 2\n": "2:3: a key below a line that has a value already. Indent it as its neighbours",
    "a: 1\nb\nc: 2\n": "2:1: a key without ': '. Write 'key: value', with a space",
    "a: [1, 2\nb: 3\n": "2:2: no ',' or ']' before this. "
    "Close the '[' of line 1, column 4, or put a ',' between its items",
    "a: {x: 1\nb: 3\n": "2:2: no ',' or '}' before this. "
    "Close the '{' of line 1, column 4, or put a ',' between its items",
    "a: 'x\nb: 3\n": "1:4: a quote that is never closed",
    "a: @x\n": "1:4: '@' begins no value. Quote a value that begins with '@'",
    "a:\n    b: 1\n  c: 2\n": "3:3: no key where the next one must be. Indent as its neighbours",
    "a: 1\nb: x\x01y\n": "2:5: a control character. Take it out",
    'a: "\\q"\n': "1:5: an unknown escape in double quotes. Use single quotes",
}


@pytest.mark.parametrize("text", SYNTAX)
def test_syntax_errors_have_places_and_plain_words(tmp_path: Path, text: str) -> None:
    assert inspected(tmp_path, text)[1] == [f"net.yaml:{SYNTAX[text]}"]


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    text = "inputs: {x: [3]}\nlayers:\n  - dense: {units: 3, units: 4}\nlayers: [relu]\n"
    assert inspected(tmp_path, text)[1] == [
        "net.yaml:3:23: layers[0].dense.units: 'units' stands here twice: "
        "expected it once (the first is in line 3, column 13)",
        "net.yaml:4:1: layers: 'layers' stands here twice: "
        "expected it once (the first is in line 2, column 1)",
    ]


SCALARS: dict[str, Any] = {
    "1": 1,
    "-3": -3,
    "010": 10,
    "0x1F": 31,
    "0o17": 15,
    "1e-3": 0.001,
    "1E5": 100000.0,
    ".5": 0.5,
    "1.": 1.0,
    "-.inf": float("-inf"),
    "true": True,
    "False": False,
    "null": None,
    "~": None,
    "": None,
    # What YAML 1.1 takes for truth values, sixty-based numbers, dates and merges is text.
    "yes": "yes",
    "no": "no",
    "on": "on",
    "off": "off",
    "y": "y",
    "1:30": "1:30",
    "2024-01-01": "2024-01-01",
    "1_000": "1_000",
    "<<": "<<",
    "'1'": "1",
    '"true"': "true",
    "'it''s'": "it's",
    "ü": "ü",
}


@pytest.mark.parametrize("text", SCALARS)
def test_scalars_are_those_of_yaml_1_2(text: str) -> None:
    problems = Problems()
    value = parse(f"a: {text}\n", "x", problems).plain()["a"]
    assert not problems
    assert (value, type(value)) == (SCALARS[text], type(SCALARS[text]))


def test_keys_are_names_whatever_they_look_like() -> None:
    tree = parse("{on: 1, 1: 2, null: 3, true: 4, 1e3: 5}", "x", Problems())
    assert tree.plain() == {"on": 1, "1": 2, "null": 3, "true": 4, "1e3": 5}


def test_columns_count_characters() -> None:
    tree = parse("ü: {ä: ö, b: c}\n", "x", Problems())
    assert tree.value["ü"].keys["b"].column == 11


def test_long_numbers_are_no_trouble(tmp_path: Path) -> None:
    for number in ("9" * 500, "9" * 5000, "9" * 1_000_000, f"1e{'9' * 500}"):
        _, problems = inspected(tmp_path, f"inputs: {{x: [3]}}\nlayers: [dense: {number}]\n")
        assert len(problems) == 1
        assert problems[0].startswith("net.yaml:2:17: layers[0].dense")
        assert len(problems[0]) < 300
