"""An event's context as compact JSON text, without its secrets, of bounded length."""

from __future__ import annotations

import re

import msgspec

from learning_pipeline.extraction.families.fields import ABSENT

MAX_CONTEXT_CHARS = 4_000

_NUL_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def compact_json(raw: msgspec.Raw) -> str | None:
    """Return the value as JSON text in its one compact spelling; None when absent."""
    if raw is ABSENT:
        return None
    data = bytes(raw)
    if not data or data == b"null":
        return None
    try:
        return msgspec.json.encode(msgspec.json.decode(data)).decode()
    except msgspec.ValidationError:
        # A number that no float can hold: keep it as it is spelled.
        return msgspec.json.format(data, indent=-1).decode()


def holds_nul(text: str) -> bool:
    r"""Whether a `\u0000` stands in JSON text, which Postgres cannot take as JSON."""
    return "\\u0000" in text and _NUL_ESCAPE.search(text) is not None


def bounded_context(redacted: str, *, changed: bool) -> str:
    """Return JSON text that is valid whatever redaction did to it.

    Args:
        redacted: JSON text, redacted.
        changed: Whether redaction changed it.
    """
    if len(redacted) > MAX_CONTEXT_CHARS:
        return _as_string(redacted[:MAX_CONTEXT_CHARS])
    if changed and not _is_json(redacted):
        # A secret that ran across the strings of the value.
        return _as_string(redacted)
    return redacted


def _as_string(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _is_json(text: str) -> bool:
    try:
        _check_syntax(text)
    except msgspec.DecodeError:
        return False
    return True


_check_syntax = msgspec.json.Decoder(msgspec.Raw).decode
