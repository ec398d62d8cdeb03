"""Credentials in an Authorization header, or after the word Bearer."""

from __future__ import annotations

from learning_pipeline.extraction.redaction_rules.rule import (
    Match,
    Replacement,
    Rule,
    marker,
)
from learning_pipeline.extraction.redaction_rules.values import (
    KEY_WORDS,
    WEAK_LENGTH,
    has_digit,
    is_name,
)

_HEADER = (
    rb"(?i)((?:authorization\\*[\"']?[ \t]*[:=,][ \t]*[bru]?\\*[\"']?[ \t]*)"
    rb"(bearer|basic|token|api-?key)[ \t]+)([0-9A-Za-z._~+/=-]{6,})"
)
_BEARER = rb"(?i)(\b(bearer)[ \t]+)([0-9A-Za-z._~+/=-]{20,})"

_DESCRIPTIONS = frozenset(
    b"access auth authentication authorization credentials header header. scheme "
    b"scheme. encoded string support required prefix format".split()
)


def _authorization(match: Match, kind: str) -> Replacement:
    value: bytes = match[3]
    if _is_described(value, match.string[match.end() : match.end() + 1]):
        return None
    if match[2].lower() == b"basic":
        kind = "basic_auth"
    return match[1] + marker(kind), kind


def _is_described(value: bytes, after: bytes) -> bool:
    """Whether the words speak of a credential instead of being one."""
    if has_digit(value):
        return False
    if KEY_WORDS.search(value) and (is_name(value) or value.isalpha()):
        return True
    is_word = value.rstrip(b".").isalpha() and (value.islower() or value.isupper())
    return (
        is_word
        and len(value) < 2 * WEAK_LENGTH
        and (after == b" " or value.lower() in _DESCRIPTIONS)
    )


RULES = (
    Rule("bearer_token", _HEADER, _authorization),
    Rule("bearer_token", _BEARER, _authorization),
)
