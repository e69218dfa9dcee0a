"""YAML's syntax errors in plain words, at the place where the mistake was made."""

from __future__ import annotations

from typing import Any

# The parser's words, ours, what to do, and whether the mistake lies where the construct began.
_WORDS = (
    ("mapping values are not allowed", "a second ': ' where a value stands", "", False),
    ("could not find expected ':'", "a key without ': '", "Write 'key: value', with a space", True),
    ("found unexpected end of stream", "a quote that is never closed", "", True),
    ("',' or ']'", "no ',' or ']' before this", "Close the '['", False),
    ("',' or '}'", "no ',' or '}' before this", "Close the '{'", False),
    ("expected '-' indicator", "no '-' where the next item must be", "Indent as the first item", False),
    ("expected <block end>", "this does not fit the lines above", "Indent as its neighbours", False),
    ("expected key", "no key where the next one must be", "Indent as its neighbours", False),
    ("sequence entries are not allowed", "a '-' where no list can begin", "Begin it on its own line", False),
    ("unknown escape character", "an unknown escape in double quotes", "Use single quotes", False),
    ("tab character", "a tab", "YAML indents with spaces", False),
    ("node content", "a list or mapping that breaks off", "", False),
    ("undefined alias", "an alias (*)", "A description has no aliases", False),
    ("alphabetic or numeric character", "a '*' or '&' without a name", "Begin an item with '- '", False),
    ("document start", "text after the end of the description", "Indent it, or take it out", False),
)


def explain(error: Any, text: str) -> tuple[int, int, str, str]:
    """Line and column (from 1) of a syntax error, what is wrong there, and a hint."""
    mark = getattr(error, "problem_mark", None)
    context = getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "no YAML")
    for words, found, hint, at_start in _WORDS:
        if words in problem:
            place = (context if at_start else mark) or mark or context
            if place is None:
                continue
            if hint.startswith("Close") and context is not None:
                hint = f"{hint} of line {context.line + 1}, column {context.column + 1}"
                hint += ", or put a ',' between its items"
            if (
                found.startswith(("no key", "no '-'"))
                and (row := _glued_dash(text, context, place)) is not None
            ):
                return row
            if found.startswith("a second"):
                return _second_colon(text, place.line, place.column)
            return place.line + 1, place.column + 1, found, hint
    if mark is None:
        return *_control_character(text), "a control character", "Take it out"
    line, column = mark.line + 1, mark.column + 1
    return line, column, *_character(problem, text, mark)


def _glued_dash(text: str, context: Any, place: Any) -> tuple[int, int, str, str] | None:
    """``-relu: 5``, which YAML takes for a key that begins with a dash."""
    for mark in (context, place):
        line = "" if mark is None else _line(text, mark.line)[mark.column :]
        if line.startswith("-") and line[1:2].isalpha():
            return mark.line + 1, mark.column + 1, "a '-' without a space behind it", "Write '- '"
    return None


def _second_colon(text: str, row: int, column: int) -> tuple[int, int, str, str]:
    """``a: b: c`` in one line, or a key that is indented below a line that has a value."""
    line = _line(text, row)
    if ": " in line[:column]:
        return (
            row + 1,
            column + 1,
            "a second ': ' where a value stands",
            "Quote it, or write {key: value}",
        )
    start = len(line) - len(line.lstrip())
    return row + 1, start + 1, "a key below a line that has a value already", "Indent it as its neighbours"


def _character(problem: str, text: str, mark: Any) -> tuple[str, str]:
    character = _line(text, mark.line)[mark.column : mark.column + 1]
    if "cannot start any token" not in problem:
        return problem, ""
    if character == "\t":
        return "a tab", "YAML indents with spaces"
    return f"'{character}' begins no value", f"Quote a value that begins with '{character}'"


def _control_character(text: str) -> tuple[int, int]:
    for row, line in enumerate(text.split("\n"), start=1):
        for column, character in enumerate(line, start=1):
            if not character.isprintable() and character not in "\t\r\x85\xa0\u2028\u2029\ufeff":
                return row, column
    return 1, 1


def _line(text: str, index: int) -> str:
    lines = text.splitlines()
    return lines[index] if index < len(lines) else ""
