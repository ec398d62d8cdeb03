"""The shape of a rule, and the marker that takes a secret's place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

MARKER_START = b"[REDACTED:"

# `\n` in JSON is a backslash and an `n`, which would hide the word boundary.
EDGE = rb"((?:^|[^0-9A-Za-z_-]|\\(?:[nrtbf]|u[0-9A-Fa-f]{4})))"
"""A group before a word, for patterns that see JSON as it is spelled."""

Match = Any
"""A match of google-re2, which ships no types."""

Replacement = tuple[bytes, str] | None
"""New text and the kind counted; None leaves the match alone."""

Replace = Callable[[Match, str], Replacement]
"""`(match, kind)` to its replacement."""


class Rule(NamedTuple):
    """One family of secrets.

    Attributes:
        kind: The name in `[REDACTED:kind]`.
        pattern: What to look for.
        replace: What to put in its place.
    """

    kind: str
    pattern: bytes
    replace: Replace


def marker(kind: str) -> bytes:
    """Return what stands for a secret of this kind."""
    return b"[REDACTED:%s]" % kind.encode()
