"""Text files: what is read, and what is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from cortex_compute.errors import DataError
from cortex_datasets.text.files import documents, is_encoding, read_text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.txt"


def test_ends_of_lines_and_the_mark_in_front(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\nfour\r\n")
    found = read_text(file, "utf-8")
    assert found.text == "one\ntwo\nthree\nfour\n"
    assert found.notes == (
        f"{file}: the byte order mark is left out",
        f"{file}: 3 ends of lines \\r\\n or \\r are read as \\n",
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "latin-1", "cp1252"])
def test_encodings(file: Path, encoding: str) -> None:
    file.write_bytes("é à\nö".encode(encoding))
    assert read_text(file, encoding).text == "é à\nö"
    assert not read_text(file, encoding).notes


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (b"ab\ncaf\xe9 au lait", "utf-8", r"byte 6 \(line 2\) is 0xe9, which is no utf-8.*encoding: latin-1"),
        ("ab".encode("utf-16"), "utf-8", r"byte 0 \(line 1\) is 0x.*write encoding: utf-16"),
        (b"a\nb\xe9", "ascii", r"byte 3 \(line 2\) is 0xe9, which is no ascii"),
        (b"a\n\nb\0c", "utf-8", r"line 3 holds a NUL character.*encoding: utf-16"),
        ("ab".encode("utf-16-le"), "latin-1", r"line 1 holds a NUL character.*encoding: utf-16"),
        ("a\nb\0".encode("utf-16"), "utf-16", r"line 2 holds a NUL character.*this is no text file"),
        (b"xn--a..b " * 30, "idna", "is no idna: .*; write encoding: utf-8"),
        (b"", "utf-8", "there is no text in this file, 0 bytes"),
        (b" \n\t\r\n", "utf-8", "there is no text in this file, 5 bytes"),
    ],
)
def test_what_is_refused(file: Path, content: bytes, encoding: str, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_text(file, encoding)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: "):
        read_text(tmp_path, "utf-8")


@pytest.mark.parametrize("name", ["utf-8", "latin-1", "hex", "x", "a\0b"])
def test_names_of_encodings(name: str) -> None:
    assert is_encoding(name) is (name in ("utf-8", "latin-1"))


def find(name: str) -> Path:
    """Finds nothing but what is there."""
    if not Path(name).exists():
        raise DataError(f"there is no {name!r}")
    return Path(name)


def test_what_is_a_file_and_what_is_text(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    file.write_text("in the file")
    Path("plain").write_text("in a file without a suffix")
    for given in (file, str(file), "some.txt", Path("some.txt")):
        assert [document.text for document in documents(given, find, "utf-8")] == ["in the file"]
    assert documents("plain", find, "utf-8")[0].is_file
    for given in ("good film", "good", "a.b c", "Good.", "x" * 10_000, "a\0b"):
        (document,) = documents(given, find, "utf-8")
        assert (document.text, document.is_file) == (given, False)
    assert [d.text for d in documents(["a", "some.txt", ""], find, "utf-8")] == ["a", "some.txt", ""]


@pytest.mark.parametrize("given", ["reveiws.txt", "texts/reviews", Path("reveiws")])
def test_a_misspelled_file_is_not_taken_for_text(given: str | Path) -> None:
    with pytest.raises(DataError, match="there is no"):
        documents(given, find, "utf-8")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "found int; expected a path, a text, or a list of texts"),
        (None, "found NoneType"),
        ([], "the list of texts is empty"),
        (["a", 3], "text 1 is int; expected"),
    ],
)
def test_what_is_no_text(given: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        documents(given, find, "utf-8")
