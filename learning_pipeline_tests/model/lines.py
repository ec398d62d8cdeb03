"""The lines that the model's writers write, and what is to become of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache

ANSWER = "done, and the tests are green"


@dataclass(frozen=True)
class Outcome:
    """What a stage has to make of some bytes that begin a generation.

    Attributes:
        rows: Offset and text of each row.
        dead_letters: Start and end of each record that gives none.
    """

    rows: tuple[tuple[int, str], ...]
    dead_letters: tuple[tuple[int, int], ...]


def good_line(name: str, *, padding: int = 0) -> bytes:
    """A line that gives one row, whose text is the padding and `name`.

    The name is in its first bytes and in its last: by those, files are told apart.
    """
    event = {
        "event": "error_resolution",
        "error_description": text_of(name, padding=padding),
        "solution": ANSWER,
    }
    return json.dumps(event).encode() + b"\n"


def bad_line(name: str) -> bytes:
    """A line that becomes a dead letter."""
    return b"{broken %s\n" % name.encode()


def text_of(name: str, *, padding: int = 0) -> str:
    """The text of the row that `good_line` gives."""
    return f"{name} {'la ' * padding}{name}"


@lru_cache(maxsize=4096)
def outcome(content: bytes) -> Outcome:
    """What all of `content` has to give, its last line also without a newline."""
    rows: list[tuple[int, str]] = []
    letters: list[tuple[int, int]] = []
    offset = 0
    for line in content.splitlines(keepends=True):
        end = offset + len(line)
        if line.strip():
            try:
                rows.append((offset, json.loads(line)["error_description"]))
            except (ValueError, TypeError, KeyError):
                letters.append((offset, end))
        offset = end
    return Outcome(tuple(rows), tuple(letters))


def complete_length(content: bytes, *, is_finished: bool) -> int:
    """How much of a file is to be read.

    Args:
        content: All of it.
        is_finished: Whether nothing is written to it any more; then its last line
            is taken without a newline, if it is a whole object.
    """
    end = content.rfind(b"\n") + 1
    if is_finished and not outcome(content[end:]).dead_letters:
        return len(content)
    return end
