"""Text files: decoded or refused, with the place of the first byte that does not fit."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cortex_compute.errors import DataError

Find = Callable[[str], Path]

FILE_NAME = re.compile(r"\S*/\S*|\S+\.\w{1,8}")


class Document(NamedTuple):
    """A text; where it comes from, a file or words such as "text 2"; and what was done while reading."""

    text: str
    origin: str
    is_file: bool = False
    notes: tuple[str, ...] = ()


def read_text(path: Path, encoding: str) -> Document:
    """The text of a file, with ends of lines as "\\n" and without a byte order mark.

    Raises DataError for bytes that are not in this encoding, NUL characters, and a file without text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: {_undecodable(content, error)}") from None
    except UnicodeError as error:  # codecs of names, such as idna, tell no place
        raise DataError(f"{path}: is no {encoding}: {error}; write encoding: utf-8 (or what it is)") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        remedy = "write encoding: utf-16 if it is that" if encoding != "utf-16" else "this is no text file"
        raise DataError(f"{path}: line {line} holds a NUL character, which no text does; {remedy}")
    notes = []
    if text.startswith("\ufeff"):
        text = text[1:]
        notes.append(f"{path}: the byte order mark is left out")
    if ends := text.count("\r"):
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        notes.append(f"{path}: {ends:,} ends of lines \\r\\n or \\r are read as \\n")
    if not text.strip():
        raise DataError(f"{path}: there is no text in this file, {len(content)} bytes")
    return Document(text, str(path), True, tuple(notes))


def _undecodable(content: bytes, error: UnicodeDecodeError) -> str:
    line = content.count(b"\n", 0, error.start) + 1
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    remedy = "utf-16" if content.startswith(marks) else "latin-1 (or what it is)"
    found = f"byte {error.start} (line {line}) is 0x{content[error.start]:02x}, which is no {error.encoding}"
    remedy = f"write encoding: {remedy} in the description, or save it as {error.encoding}"
    return f"{found}: {error.reason}; {remedy}"


def is_encoding(name: str) -> bool:
    """Whether Python knows an encoding of text by this name."""
    try:
        "".encode(name)
    except (LookupError, ValueError):
        return False
    return True


def is_texts(given: Any) -> bool:
    """Whether this is a list of texts, or of names of files."""
    return isinstance(given, (list, tuple)) and bool(given) and all(isinstance(x, (str, Path)) for x in given)


def documents(given: Any, find: Find, encoding: str) -> list[Document]:
    """What ``given`` means: a path, a text, or a list of texts.

    A str is the name of a file where it looks like one (no white space, a slash or a suffix) or such a file
    exists; every other is the text itself.  Raises DataError for other objects, and as `read_text` does.
    """
    if isinstance(given, Path) or (isinstance(given, str) and _is_file(given)):
        return [read_text(find(str(given)), encoding)]
    texts = [given] if isinstance(given, str) else given
    if not hasattr(texts, "__iter__"):
        raise DataError(f"found {type(given).__name__}; expected a path, a text, or a list of texts")
    found = [Document(text, f"text {number}") for number, text in enumerate(texts)]
    for document in found:
        if not isinstance(document.text, str):
            what = type(document.text).__name__
            raise DataError(f"{document.origin} is {what}; expected a path, a text, or a list of texts")
    if not found:
        raise DataError("the list of texts is empty; expected at least one")
    return found


def _is_file(given: str) -> bool:
    if FILE_NAME.fullmatch(given):
        return True
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # too long for a name, or a NUL in it
        return False
