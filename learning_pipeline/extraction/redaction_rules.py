r"""What counts as a secret: one pattern a rule, and what is left alone after all.

Patterns run on bytes as Latin-1 and name only ASCII, so they serve UTF-8 text and
raw bytes alike; none of them can end inside a UTF-8 sequence. They see three forms
of the same text: plain, inside a JSON string, and inside a JSON string that is
itself escaped. Hence `\\*"` for a quote, and escapes such as `\n` before a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

MARKER = b"[REDACTED:%s]"
MARKER_START = b"[REDACTED:"

Match = Any
"""A match of google-re2, which ships no types."""

Replace = Callable[[Match, bytes], tuple[bytes, str] | None]
"""`(match, kind)` to its replacement and the kind counted; None leaves it alone."""


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


def _marker(kind: str) -> bytes:
    return MARKER % kind.encode()


def _token(match: Match, kind: bytes) -> tuple[bytes, str] | None:
    """Replace the token, keep what stands before it; a plain long word is no token."""
    body: bytes = match[2]
    if len(body) < _SURE_LENGTH and not _has_digit(body):
        return None
    name = kind.decode()
    return match[1] + _marker(name), name


def _token_with_capital(match: Match, kind: bytes) -> tuple[bytes, str] | None:
    return None if match[2] == match[2].lower() else _token(match, kind)


def _token_with_digit(match: Match, kind: bytes) -> tuple[bytes, str] | None:
    return _token(match, kind) if _has_digit(match[2]) else None


def _has_digit(value: bytes) -> bool:
    return _DIGIT.search(value) is not None


_DIGIT = re.compile(rb"[0-9]")


_SURE_LENGTH = 30
# `\n` in JSON is a backslash and an `n`, which would hide the word boundary.
_EDGE = rb"((?:^|[^0-9A-Za-z_-]|\\(?:[nrtbf]|u[0-9A-Fa-f]{4})))"


def _prefixed(prefixes: bytes, body: bytes) -> bytes:
    return _EDGE + rb"((?:" + prefixes + rb")" + body + rb")"


_BREAK = rb"(?:\\+[nrt]|\s)"
_PEM_BEGIN = rb"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
_PEM_END = rb"-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
_PEM = (
    _PEM_BEGIN
    # Two hyphens end the body, so that many BEGINs without END stay linear.
    + rb'(?:((?:[^-"]|-[^-"])*)'
    + _PEM_END
    + rb"|((?:"
    + _BREAK
    + rb"|[A-Za-z]+-[A-Za-z]+: [A-Za-z0-9,-]+)*[A-Za-z0-9+/]{8,}=*(?:"
    + _BREAK
    + rb"+[A-Za-z0-9+/]{16,}=*)*(?:"
    + _BREAK
    + rb"+[A-Za-z0-9+/]+=*(?:$|[^A-Za-z0-9+/=\s.,]))?))"
)
_PEM_BODY = re.compile(rb"[A-Za-z0-9+/]{8,}")


def _pem(match: Match, kind: bytes) -> tuple[bytes, str] | None:
    if not _PEM_BODY.search(match[1] or match[2]):
        return None
    tail = b""
    if match[2] is not None and not (
        match[2][-1:].isalnum() or match[2][-1:] in b"+/="
    ):
        tail = match[2][-1:]
    return _marker(kind.decode()) + tail, kind.decode()


_STRONG_KEYS = rb"password|passwd|passphrase|pwd|passwort"
_OTHER_KEYS = (
    rb"secret[_-]?access[_-]?key|secret[_-]?key|client[_-]?secret|private[_-]?key"
    rb"|api[_-]?key|access[_-]?key|account[_-]?key|shared[_-]?access[_-]?key"
    rb"|auth[_-]?key|encryption[_-]?key|signing[_-]?key|credentials?"
    rb"|auth[_-]?token|access[_-]?token|refresh[_-]?token|secret|token"
)
_VALUE = (
    rb"(?:"
    # an escaped quote, as inside a JSON string
    rb'([bru]{0,2}\\+["\'])((?:[^"\\\r\n]|\\+[^"\\\r\n])*)'
    rb'|([bru]{0,2}")((?:[^"\\\r\n]|\\[^\r\n])*)'
    rb"|([bru]{0,2}')((?:[^'\\\r\n]|\\[^\r\n])*)(')"
    rb"|([bru]{0,2}')([^'\"\\\r\n]*)"
    rb"|(`)([^`\\\r\n]*)"
    rb"|([^\s\"'`\\&,;=<>][^\s\"'`\\&,;]*)"
    rb")"
)
_ASSIGNMENT = (
    rb"(?i)("
    rb"("
    + _STRONG_KEYS
    + rb"|"
    + _OTHER_KEYS
    + rb")([0-9]*)"
    + rb"(\\*[\"'`])?\]?"
    + rb"[ \t]*(:[ \t]*(?:Optional\[)?str\]?(?:[ \t]*\|[ \t]*None)?[ \t]*="
    + rb"|:=|=>|=|:)[ \t]*)"
    + _VALUE
)
_FLAG = (
    rb"(?i)((--(?:[a-z0-9]+-)*(?:password|passwd|passphrase|pwd|token|secret|api-key|"
    rb"secret-key|access-key|auth-token|access-token))()()( +))" + _VALUE
)

_NO_SECRET = frozenset(
    b"none null nil true false undefined str string text bytes int bool any object "
    b"secretstr required optional empty unset missing invalid incorrect wrong "
    b"hidden masked redacted removed self this the an is and or to for in with on "
    b"option flag argument parameter value field file stdin prompt varchar char "
    b"yes no not input var env example placeholder default".split()
)
_REFERENCE = re.compile(
    rb"""[A-Za-z_]\w*(?:(?:\.|::|->|\?\.)[A-Za-z_]\w*)*  # name, dotted or not
         (?:[(\[{].*)?""",
    re.VERBOSE | re.DOTALL,
)
_PLACEHOLDER = re.compile(
    rb"""<.*>?|\$\{.*|\$\(.*|\$[A-Z_][A-Z0-9_]*|\$[0-9@*]|\{.*\}?|%\(.*|%[sdr]|%\w+%
         |\[REDACTED:.*|\.{2,}|[*xX.#-]+|[(\[|/].*
         |.*\b(?:your|enter|insert)[\s_-].*|change[_-]?me|redacted|![a-z]+""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_KEY_WORDS = re.compile(rb"pass|pwd|secret|token|key|cred", re.IGNORECASE)
_STRONG_WORDS = re.compile(rb"pass|pwd", re.IGNORECASE)
_WORDS_ONLY = re.compile(rb"[A-Za-z_ .:!?*-]+")
_WEAK_LENGTH = 8
_LONG_LENGTH = 20


def _assignment(match: Match, kind: bytes) -> tuple[bytes, str] | None:
    """Replace the value alone; keep key, separator and quotes."""
    head: bytes = match[1]
    key = match[2].lower()
    strong = key.endswith((b"password", b"passwd", b"passphrase", b"pwd", b"passwort"))
    name = kind.decode() if strong else "secret"
    flat = key.replace(b"_", b"").replace(b"-", b"")
    if flat.endswith(b"secretaccesskey"):
        name = "aws_secret_key"
    elif flat.endswith((b"accountkey", b"sharedaccesskey")):
        name = "azure_key"
    for opening, value_group, closing in _QUOTED_GROUPS:
        if match[opening] is not None:
            value = match[value_group]
            if not _is_quoted_secret(value, strong=strong, key=key):
                return None
            end = match[closing] if closing else b""
            return head + match[opening] + _marker(name) + end, name
    whole: bytes = match[17]
    value = _without_closers(whole)
    rest = whole[len(value) :]
    prose = (
        match[5].endswith(b":") and match.string[match.end() : match.end() + 1] == b" "
    )
    if not _is_bare_secret(value, strong=strong, prose=prose):
        return None
    marker = _marker(name)
    if match[4] and value.isdigit():
        # A JSON number becomes a JSON string.
        marker = match[4] + marker + match[4]
    return head + marker + rest, name


def _without_closers(value: bytes) -> bytes:
    """Leave out what closes a bracket that was opened before the value."""
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
# Opening quote, value, closing quote if it is part of the match.
_QUOTED_GROUPS = ((6, 7, 0), (8, 9, 0), (10, 11, 12), (13, 14, 0), (15, 16, 0))


def _is_quoted_secret(value: bytes, *, strong: bool, key: bytes) -> bool:
    stripped = value.strip()
    if (
        _is_placeholder(stripped)
        or stripped.lower().replace(b"-", b"_") == key.replace(b"-", b"_")
        # The quote closed a string, as in input("Password: ").
        or value[:1] in b"),+;]}: "
    ):
        return False
    words = _STRONG_WORDS if strong else _KEY_WORDS
    if words.search(stripped) and _WORDS_ONLY.fullmatch(stripped):
        # A label or the name of a setting: "Password is required", "DB_PASSWORD".
        return stripped.isalpha() and len(stripped) >= _WEAK_LENGTH * 2
    if strong or (key == b"secret" and len(stripped) >= _WEAK_LENGTH * 2):
        return True
    return b" " not in stripped and _looks_random(stripped)


def _is_placeholder(value: bytes) -> bool:
    return (
        not value
        or value.lower() in _NO_SECRET
        or _PLACEHOLDER.fullmatch(value) is not None
    )


def _names_setting(value: bytes) -> bool:
    return value.isupper() or b"_" in value or b"." in value or value.isalpha()


def _is_bare_secret(value: bytes, *, strong: bool, prose: bool) -> bool:
    if _is_placeholder(value):
        return False
    if _REFERENCE.fullmatch(value):
        if _CODE.search(value):
            return False
        named = prose or b"." in value or _KEY_WORDS.search(value)
        if named and not _has_digit(value):
            return False
    return len(value) > 1 if strong else _looks_random(value)


_CODE = re.compile(rb"[(\[{]|::")


def _looks_random(value: bytes) -> bool:
    """Whether a value of a key like `token` is one: long enough, not just a word."""
    if len(value) < _WEAK_LENGTH or not _LETTER.search(value):
        return False
    if _has_digit(value):
        return True
    if _JOINT.search(value):
        return False
    mixed = value != value.lower() and value != value.upper()
    return len(value) >= _LONG_LENGTH or (mixed and len(value) >= _WEAK_LENGTH * 2)


_LETTER = re.compile(rb"[A-Za-z]")
_JOINT = re.compile(rb"[_./:]")

_AUTHORIZATION = (
    rb"(?i)((?:authorization\\*[\"']?[ \t]*[:=,][ \t]*[bru]?\\*[\"']?[ \t]*)"
    rb"(?:bearer|basic|token)[ \t]+)([0-9A-Za-z._~+/=-]{6,})"
)
_BEARER = rb"(?i)(\bbearer[ \t]+)([0-9A-Za-z._~+/=-]{20,})"


def _authorization(match: Match, kind: bytes) -> tuple[bytes, str] | None:
    value: bytes = match[2]
    plain = value.isalpha() and (value.islower() or value.isupper())
    if plain and len(value) < _WEAK_LENGTH * 2:
        return None
    if _KEY_WORDS.search(value) and not _has_digit(value) and _names_setting(value):
        return None
    name = kind.decode()
    return match[1] + _marker(name), name


_URL = rb"([A-Za-z][0-9A-Za-z+.-]*://[^\s/:@\"'`\\<>]*:)([^\s/\"'`\\<>]+)@"


def _url(match: Match, kind: bytes) -> tuple[bytes, str] | None:
    value: bytes = match[2]
    if _PLACEHOLDER.fullmatch(value):
        return None
    name = kind.decode()
    return match[1] + _marker(name) + b"@", name


_EMAIL = (
    rb"(\\(?:[nrtbf]|u[0-9A-Fa-f]{4}))?([0-9A-Za-z._%+-]+)"
    rb"@((?:[0-9A-Za-z-]+\.)+[A-Za-z]{2,})"
)
# systemd units, source files, attributes of objects in code
_NO_TOP_LEVEL = frozenset(
    b"service socket journal timer mount target slice scope path device swap "
    b"automount conf json jsonl yaml yml toml lock log txt py pyi js mjs "
    b"cjs ts tsx jsx go css html "
    b"nix patch diff tar gz zip xz tgz whl beta alpha rc dev get post put delete route "
    b"websocket command group setter getter deleter fixture mark parametrize property "
    b"cache asset task".split()
)


def _email(match: Match, kind: bytes) -> tuple[bytes, str] | None:
    user: bytes = match[2]
    domain: bytes = match[3]
    labels = domain.lower().split(b".")
    if labels[-1] in _NO_TOP_LEVEL or user == b"git":
        return None
    if labels[0].isdigit() and labels[1][:1].isdigit():
        return None  # a version, pkg@1.2.3-beta.rc
    text: bytes = match.string
    start, end = match.span()
    before = text[max(start - 2, 0) : start]
    if before == b"//" or text[end : end + 2] in (b":/", b":~"):
        return None  # user and host of a URL or an scp target
    if before[-1:] == b"\\" and user in (b"n", b"r", b"t", b"b", b"f"):
        return None  # a decorator after an escaped newline
    name = kind.decode()
    return (match[1] or b"") + _marker(name), name


RULES = (
    Rule("private_key", _PEM, _pem),
    Rule("url_password", _URL, _url),
    Rule(
        "jwt",
        _prefixed(
            rb"eyJ", rb"[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}(?:\.[0-9A-Za-z_-]*)?"
        ),
        _token_with_capital,
    ),
    Rule(
        "aws_access_key",
        _prefixed(rb"AKIA|ASIA|AIDA|AROA|AGPA|ANPA|ANVA", rb"[0-9A-Z]{16}"),
        _token_with_capital,
    ),
    Rule("google_api_key", _prefixed(rb"AIza", rb"[0-9A-Za-z_-]{30,}"), _token),
    Rule("azure_key", rb"(?i)([?&]sig=)([0-9A-Za-z%+/=]{40,})", _token),
    Rule(
        "github_token",
        _prefixed(rb"gh[pousr]_|github_pat_", rb"[0-9A-Za-z_]{20,}"),
        _token,
    ),
    Rule(
        "gitlab_token", _prefixed(rb"gl(?:pat|dt|rt)-", rb"[0-9A-Za-z_-]{16,}"), _token
    ),
    Rule(
        "bitbucket_token",
        _prefixed(rb"ATBB|ATCTT3|ATATT3|BBDC-", rb"[0-9A-Za-z_=-]{20,}"),
        _token_with_capital,
    ),
    Rule("anthropic_key", _prefixed(rb"sk-ant-", rb"[0-9A-Za-z_-]{16,}"), _token),
    Rule(
        "openai_key",
        _prefixed(rb"sk-(?:proj|svcacct|admin|None|or-v1)-", rb"[0-9A-Za-z_-]{16,}"),
        _token,
    ),
    Rule("openai_key", _prefixed(rb"sk-", rb"[0-9A-Za-z]{20,}"), _token_with_digit),
    Rule("huggingface_token", _prefixed(rb"hf_", rb"[0-9A-Za-z]{20,}"), _token),
    Rule("groq_key", _prefixed(rb"gsk_", rb"[0-9A-Za-z]{20,}"), _token),
    Rule("replicate_token", _prefixed(rb"r8_", rb"[0-9A-Za-z]{20,}"), _token),
    Rule("xai_key", _prefixed(rb"xai-", rb"[0-9A-Za-z]{20,}"), _token),
    Rule(
        "slack_token",
        _prefixed(rb"xox[abceoprs]-|xapp-", rb"[0-9A-Za-z-]{10,}"),
        _token_with_digit,
    ),
    Rule(
        "stripe_key",
        _prefixed(rb"[sr]k_(?:live|test)_|whsec_", rb"[0-9A-Za-z]{10,}"),
        _token,
    ),
    Rule("npm_token", _prefixed(rb"npm_", rb"[0-9A-Za-z]{24,}"), _token),
    Rule(
        "pypi_token", _prefixed(rb"pypi-", rb"[0-9A-Za-z_-]{32,}"), _token_with_capital
    ),
    Rule("bearer_token", _AUTHORIZATION, _authorization),
    Rule("bearer_token", _BEARER, _authorization),
    Rule("password", _ASSIGNMENT, _assignment),
    Rule("password", _FLAG, _assignment),
    Rule("email", _EMAIL, _email),
)
"""In order: what contains others, such as a key block or a URL, comes first."""
