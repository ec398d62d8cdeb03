r"""Values of keys that say they hold a secret, in code, settings, JSON, options."""

from __future__ import annotations

import re

from learning_pipeline.extraction.redaction_rules.rule import (
    Match,
    Replacement,
    Rule,
    marker,
)
from learning_pipeline.extraction.redaction_rules.values import (
    PASSWORD_WORDS,
    is_bare_secret,
    is_quoted_secret,
)

_PASSWORD_KEYS = rb"password|passwd|passphrase|pwd|passwort|pass|pw"
# Whose `pass` is a password; others passed, bypass, or are a first pass.
_PASS_OWNER = re.compile(
    rb"(?:db|user|admin|root|smtp|mail|ftp|ssh|redis|mysql|pg|postgres|mongo|auth|login"
    rb"|bind|http|proxy|ldap|sudo|store)[_-]?\Z",
    re.IGNORECASE,
)
_PASS_OWNER_BYTES = len(b"postgres_")
_OTHER_KEYS = (
    rb"secret[_-]?access[_-]?key|secret[_-]?key|client[_-]?secret|private[_-]?key"
    rb"|api[_-]?key|access[_-]?key|account[_-]?key|shared[_-]?access[_-]?key"
    rb"|auth[_-]?key|encryption[_-]?key|signing[_-]?key|credentials?"
    rb"|auth[_-]?token|access[_-]?token|refresh[_-]?token|secret|token|authorization"
)
_VALUE = (
    rb"(?:"
    # an escaped quote, as inside a JSON string
    rb'([bru]{0,2}\\+["\'])((?:[^"\\\r\n]|\\+[^"\\\r\n])*)'
    rb'|([bru]{0,2}")((?:[^"\\\r\n]|\\[^\r\n])*)'
    rb"|([bru]{0,2}')((?:[^'\\\r\n]|\\[^\r\n])*)(')"
    rb"|([bru]{0,2}')([^'\"\\\r\n]*)"
    rb"|(`)([^`\\\r\n]*)"
    rb"|([^\s\"'`\\&,;:=<>][^\s\"'`\\&,;]*)"
    rb")"
)
_ASSIGNMENT = (
    rb"(?i)(("
    + _PASSWORD_KEYS
    + rb"|"
    + _OTHER_KEYS
    + rb")([0-9]*)"
    + rb"(\\*[\"'`])?\]?"
    + rb"([ \t]*(?::[ \t]*(?:Optional\[)?str\]?(?:[ \t]*\|[ \t]*None)?[ \t]*="
    + rb"|:=|=>|=|:)[ \t]*))"
    + _VALUE
)
_FLAG = (
    rb"(?i)((--(?:[a-z0-9]+-)*(?:password|passwd|passphrase|pwd|token|secret|api-key|"
    rb"secret-key|access-key|auth-token|access-token))()()( +))" + _VALUE
)
# Opening quote, value, closing quote if it is part of the match.
_QUOTED_GROUPS = ((6, 7, 0), (8, 9, 0), (10, 11, 12), (13, 14, 0), (15, 16, 0))
_BARE_GROUP = 17


def _assignment(match: Match, kind: str) -> Replacement:
    """Replace the value alone; keep key, separator and quotes."""
    head: bytes = match[1]
    key = match[2].lower()
    if key in (b"pass", b"pw") and not _has_owner(match):
        return None
    is_password = PASSWORD_WORDS.search(key) is not None
    name = kind if is_password else _kind_of(key)
    for opening, value_group, closing in _QUOTED_GROUPS:
        if match[opening] is not None:
            value = match[value_group]
            if not is_quoted_secret(value, is_password=is_password, key=key):
                return None
            end = match[closing] if closing else b""
            return head + match[opening] + marker(name) + end, name
    value = _without_closers(match[_BARE_GROUP])
    separator: bytes = match[5]
    if not is_bare_secret(
        value,
        is_password=is_password,
        in_code=_is_in_code(match, separator),
        is_setting=match[2].isupper() and separator[:1] not in b" \t",
        is_tight=separator == b"=" or key.startswith(b"--") or key.endswith(b"key"),
    ):
        return None
    replacement = marker(name)
    if match[4] and value.isdigit():
        # A JSON number becomes a JSON string.
        replacement = match[4] + replacement + match[4]
    return head + replacement + match[_BARE_GROUP][len(value) :], name


def _has_owner(match: Match) -> bool:
    start: int = match.start()
    before: bytes = match.string[max(start - _PASS_OWNER_BYTES, 0) : start]
    return _PASS_OWNER.search(before) is not None


def _kind_of(key: bytes) -> str:
    flat = key.replace(b"_", b"").replace(b"-", b"")
    if flat.endswith(b"secretaccesskey"):
        return "aws_secret_key"
    if flat.endswith((b"accountkey", b"sharedaccesskey")):
        return "azure_key"
    return "secret"


# How far back the parenthesis of a call is looked for.
_CALL_BYTES = 200


def _is_in_code(match: Match, separator: bytes) -> bool:
    """Whether a plain word is no value there, but prose or a variable's name."""
    text: bytes = match.string
    start, end = match.span()
    if match[4]:
        return True  # {"password": password}: JSON would have quotes
    if separator.rstrip().endswith(b":"):
        after = text[end : end + 2]
        if after[:1] == b" " and after != b" #":
            return True  # Password: the user enters it
    before = text[max(start - _CALL_BYTES, 0) : start]
    if separator[:1] == b" " and before.endswith((b", ", b"= ")):
        return True  # user, password = auth
    opening = before.rfind(b"(")
    return (
        opening > 0
        and opening > before.rfind(b")")
        and (before[opening - 1 : opening].isalnum() or before[opening - 1] == ord("_"))
    )


def _without_closers(value: bytes) -> bytes:
    """Leave out what closes a bracket that was opened before the value."""
    value = value.rstrip(b".:|")
    core = value.rstrip(b")]}>")
    opened = {
        closer: value.count(opener) - core.count(closer)
        for closer, opener in _OPENER.items()
    }
    end = len(core)
    for byte in value[end:]:
        opened[byte] -= 1
        if opened[byte] < 0:
            break
        end += 1
    return value[:end].rstrip(b".:|")


_OPENER = {ord(")"): b"(", ord("]"): b"[", ord("}"): b"{", ord(">"): b"<"}

RULES = (
    Rule("password", _ASSIGNMENT, _assignment),
    Rule("password", _FLAG, _assignment),
)
