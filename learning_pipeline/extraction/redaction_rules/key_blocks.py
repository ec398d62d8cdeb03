"""Private keys in their armour, whole or cut, on lines or escaped in a string."""

from __future__ import annotations

import re

from learning_pipeline.extraction.redaction_rules.rule import (
    EDGE,
    Match,
    Replacement,
    Rule,
    marker,
)

_BREAK = rb"(?:\\+[nrt]|\s)"
_NAME = rb"(?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
_PEM = (
    rb"-----BEGIN "
    + _NAME
    # Two hyphens end the body, so that many BEGINs without END stay linear.
    + rb'(?:((?:[^-"]|-[^-"])*)-----END '
    + _NAME
    + rb"|((?:"
    + _BREAK
    + rb"|[A-Za-z]+-[A-Za-z]+: [A-Za-z0-9,-]+|(?:Version|Comment): [^\s\\\"]+"
    + rb")*[A-Za-z0-9+/]{8,}=*(?:"
    + _BREAK
    + rb"+[A-Za-z0-9+/]{16,}=*)*(?:"
    + _BREAK
    + rb"+[A-Za-z0-9+/]+=*(?:$|[^A-Za-z0-9+/=\s.,]))?))"
)
_BODY = re.compile(rb"[A-Za-z0-9+/]{8,}")


def _pem(match: Match, kind: str) -> Replacement:
    cut = match[2]
    if not _BODY.search(match[1] or cut):
        return None
    is_closed = cut is None or cut[-1:].isalnum() or cut[-1:] in b"+/="
    return marker(kind) + (b"" if is_closed else cut[-1:]), kind


def _age(match: Match, kind: str) -> Replacement:
    return match[1] + marker(kind), kind


RULES = (
    Rule("private_key", _PEM, _pem),
    Rule("private_key", EDGE + rb"(AGE-SECRET-KEY-1[0-9A-Z]{40,})", _age),
)
