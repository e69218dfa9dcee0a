"""What makes a published file from the edition of it that a mirror has.  The outcome is checked."""

from __future__ import annotations


def crlf(content: bytes) -> bytes:
    """Lines end in CR LF."""
    return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def without_first_line(content: bytes) -> bytes:
    """UCI's adult.test starts with a remark."""
    return content.partition(b"\n")[2]


def without_passenger_id(content: bytes) -> bytes:
    """Kaggle's later edition of the Titanic's passengers numbers them, and has other names of columns."""
    header, *rows = (line.partition(b",")[2] for line in crlf(content).split(b"\r\n"))
    return b"\r\n".join([header.lower(), *rows])


def utf8(content: bytes) -> bytes:
    """From Windows-1252.  Raises UnicodeError for bytes that it does not have."""
    return content.decode("cp1252").encode()
