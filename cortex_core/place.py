"""Where something stands in a description, and what is wrong there.

Errors, the profile and the search for a NaN all point with a :class:`Place`.
"""

from __future__ import annotations

from cortex_compute.frozen import frozen

DICT = "<dict>"
OVERRIDE = "<override>"


@frozen
class Place:
    """A spot in a description.  Lines and columns count from 1; both are None where there is no file.

    ``path`` is the path in the data, such as ``layers[6].dense.units`` (indices count from 0).
    Prints as ``lenet.yaml:12:5: layers[6].dense``; a description that is a dict prints the path alone.
    """

    file: str = DICT
    line: int | None = None
    column: int | None = None
    path: str = ""

    def __str__(self) -> str:
        if self.line is not None:
            spot = f"{self.file}:{self.line}:{self.column}"
        else:
            spot = "" if self.file == DICT else self.file
        return ": ".join(part for part in (spot, self.path) if part)


@frozen
class Problem:
    """One mistake in a description: what was found, what would be right, and a hint.

    ``str(problem)`` is one line: ``FILE:LINE:COLUMN: PATH: found: expected. hint``.
    """

    path: str
    found: str
    expected: str
    hint: str
    place: Place

    def __str__(self) -> str:
        text = ": ".join(part for part in (str(self.place), self.found, self.expected) if part)
        if self.hint:
            text += f". {self.hint}"
        return " ".join(text.splitlines())

    def as_data(self) -> dict[str, object]:
        """The entry of ``cortex check --json`` for this problem."""
        return {
            "file": self.place.file,
            "line": self.place.line,
            "column": self.place.column,
            "path": self.path,
            "found": self.found,
            "expected": self.expected,
            "hint": self.hint,
        }
