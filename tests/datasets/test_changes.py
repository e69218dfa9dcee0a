"""Editions of files that mirrors have, made into the published ones."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from cortex_datasets import named
from cortex_datasets.changes import crlf, utf8, without_first_line, without_passenger_id

has_data = pytest.mark.skipif("CORTEX_DATA" not in os.environ, reason="CORTEX_DATA is not set")

KAGGLE = b'PassengerId,Survived,Name\n1,0,"Braund, Mr."\n2,1,"Cumings, Mrs."\n'
OURS = b'survived,name\r\n0,"Braund, Mr."\r\n1,"Cumings, Mrs."\r\n'


@pytest.mark.parametrize("content", [b"a\nb\n", b"a\r\nb\r\n"])
def test_lines_end_in_cr_lf(content: bytes) -> None:
    assert crlf(content) == b"a\r\nb\r\n"


@pytest.mark.parametrize("content", [KAGGLE, KAGGLE.replace(b"\n", b"\r\n")])
def test_passengers_without_numbers(content: bytes) -> None:
    assert without_passenger_id(content) == OURS


def test_a_remark_at_the_start() -> None:
    assert without_first_line(b"|1x3 Cross validator\n25, Private\n\n") == b"25, Private\n\n"


def test_windows_1252() -> None:
    assert utf8(b"caf\xe9 \x96 \x85") == "café – …".encode()
    with pytest.raises(UnicodeError):
        utf8(b"\x81")


@has_data
def test_editions_of_the_published_files() -> None:
    """Their checksums are those of the package index and of the archive that carry them, looked up there."""
    folder = Path(os.environ["CORTEX_DATA"]) / "tabular"
    header, *rows = (folder / "titanic.csv").read_bytes().split(b"\r\n")[:-1]
    names = b"PassengerId,Survived,Pclass,Name,Sex,Age,SibSp,Parch,Ticket,Fare,Cabin,Embarked"
    kaggle = b"".join(
        line + b"\r\n" for line in [names, *(b"%d,%s" % (n, row) for n, row in enumerate(rows, 1))]
    )
    assert header == names.lower().partition(b",")[2]
    digest = hashlib.sha256(kaggle).hexdigest()
    assert digest == "7d118fef8b6ccf7f81111877bc388536f7b1e498a655e3d649d19aaa010e9f6f"
    assert hashlib.sha256(without_passenger_id(kaggle)).hexdigest() == named.titanic.files[0].checksum

    uci = b"|1x3 Cross validator\n" + (folder / "adult-test.csv").read_bytes()
    digest = hashlib.sha256(uci).hexdigest()
    assert digest == "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05"
    assert hashlib.sha256(without_first_line(uci)).hexdigest() == named.adult.files[1].checksum
