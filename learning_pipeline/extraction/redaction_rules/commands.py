"""Passwords where a tool, a file or a markup language has its own place for them."""

from __future__ import annotations

import re

from learning_pipeline.extraction.redaction_rules.rule import (
    Match,
    Replacement,
    Rule,
    marker,
)
from learning_pipeline.extraction.redaction_rules.values import (
    is_placeholder,
    is_template,
)

_QUOTE = rb"\\*[\"']"
_USER_OPTION = (
    rb"((?:^|\s|\\[nt])(?:-[A-Za-z]*u|--(?:proxy-)?user)(?:[ \t]+|=)?(?:"
    + _QUOTE
    + rb")?[^\s:\"'\\]+:)([^\s\"'\\]+)"
)
_PLACES = (
    rb"(?i)((?:sshpass[ \t]+-p[ \t]*(?:" + _QUOTE + rb")?"
    # .netrc
    rb"|machine\s+\S+\s+login\s+\S+\s+password\s+))"
    rb"([^\s\"'\\;]+)"
)
_SQL = rb"(?i)(\s(?:by|password)\s+" + _QUOTE + rb")([^\"'\\\r\n]+)"
_SQL_BEFORE = re.compile(rb"\b(?:identified|with|encrypted)\Z", re.IGNORECASE)
_ELEMENT = rb"(?i)((?:password|passwd|pwd)>)([^\s<>\"'\\]+)</"
_ELEMENT_BEFORE = re.compile(rb"<[\w.:-]*\Z")
# How far before its option the name of the command is looked for.
_COMMAND_BYTES = 300
_NAME_BYTES = 40


def _curl(match: Match, kind: str) -> Replacement:
    """Take `-u user:password` of curl only; docker and others mean a group."""
    start: int = match.start()
    before: bytes = match.string[max(start - _COMMAND_BYTES, 0) : start]
    if b"curl" not in before or is_template(match[2]):
        return None
    return match[1] + marker(kind), kind


def _place(match: Match, kind: str) -> Replacement:
    return None if is_template(match[2]) else (match[1] + marker(kind), kind)


def _sql(match: Match, kind: str) -> Replacement:
    if not _SQL_BEFORE.search(_before(match)):
        return None
    return _place(match, kind)


def _element(match: Match, kind: str) -> Replacement:
    if is_placeholder(match[2]) or not _ELEMENT_BEFORE.search(_before(match)):
        return None
    return match[1] + marker(kind) + b"</", kind


def _before(match: Match) -> bytes:
    start: int = match.start()
    before: bytes = match.string[max(start - _NAME_BYTES, 0) : start]
    return before


RULES = (
    Rule("password", _USER_OPTION, _curl),
    Rule("password", _PLACES, _place),
    Rule("password", _SQL, _sql),
    Rule("password", _ELEMENT, _element),
)
