"""Passwords in URLs, and e-mail addresses.

`user@host` is left alone, and so is a host of a local network (`bob@nas.local`): it
says where a command went, and no mail reaches it from outside.
"""

from __future__ import annotations

from learning_pipeline.extraction.redaction_rules.rule import (
    Match,
    Replacement,
    Rule,
    marker,
)
from learning_pipeline.extraction.redaction_rules.values import has_digit, is_template

_URL = (
    rb"([A-Za-z][0-9A-Za-z+.-]*://)"
    # The user may be a key that has been replaced already.
    rb"(?:((?:\[REDACTED:[a-z_]+\]|[^\s/:@\"'`\\<>\[])*:)([^\s/\"'`\\<>]+)"
    rb"|([0-9A-Za-z_-]{16,}))@"
)


def _url(match: Match, kind: str) -> Replacement:
    """Replace the password, or the token that stands where the user would."""
    token: bytes | None = match[4]
    if token is not None:
        return (match[1] + marker(kind) + b"@", kind) if has_digit(token) else None
    if is_template(match[3]):
        return None
    return match[1] + match[2] + marker(kind) + b"@", kind


_EMAIL = (
    rb"(\\(?:[nrtbf]|u[0-9A-Fa-f]{4}))?([0-9A-Za-z._%+-]+)"
    rb"@((?:[0-9A-Za-z-]+\.)+[A-Za-z]{2,})"
)
_NO_TOP_LEVEL = frozenset(
    # systemd units
    b"service socket journal timer mount target slice scope path device swap automount "
    # files
    b"conf json jsonl yaml yml toml lock log txt py pyi js mjs cjs ts tsx jsx go css "
    b"scss html xml csv sql db nix patch diff tar gz zip xz tgz whl bak tmp png jpg "
    b"jpeg gif svg webp ico pdf ini cfg env "
    # versions
    b"beta alpha rc "
    # decorators and other attributes of objects in code
    b"get post put delete route websocket command group setter getter deleter fixture "
    b"mark parametrize property cache asset task weight transpose "
    # local networks
    b"local lan localdomain internal".split()
)


def _email(match: Match, kind: str) -> Replacement:
    user: bytes = match[2]
    text: bytes = match.string
    start, end = match.span()
    before = text[max(start - 2, 0) : start]
    after = text[end : end + 2]
    if (
        user == b"git"
        or _is_no_domain(match[3].lower().split(b"."))
        # user and host of a URL or an scp target
        or before == b"//"
        or after in (b":/", b":~")
        # a call or a longer chain in code
        or after[:1] in (b"(", b"[")
        or (after[:1] == b"." and after[1:].isalnum())
        # a decorator after an escaped newline
        or (before[-1:] == b"\\" and user in (b"n", b"r", b"t", b"b", b"f"))
    ):
        return None
    return (match[1] or b"") + marker(kind), kind


def _is_no_domain(labels: list[bytes]) -> bool:
    if labels[-1] in _NO_TOP_LEVEL:
        return True
    # A version, as in pkg@1.2.3-beta.rc or pkg@1.dev; but 163.com is a domain.
    return labels[0].isdigit() and (labels[1][:1].isdigit() or labels[1] == b"dev")


URL_RULES = (Rule("url_password", _URL, _url),)
EMAIL_RULES = (Rule("email", _EMAIL, _email),)
