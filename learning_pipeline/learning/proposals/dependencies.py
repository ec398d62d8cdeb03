"""Which dependency an error is about, in one spelling.

A host by name stands without its port, so that a URL, `host:port` and the bare name
are one; an address, and this machine itself, with it, as only that tells services
apart: `http://qdrant:6333/x` is `qdrant`, `127.0.0.1:6333` is `localhost:6333`.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Final

import re2

from learning_pipeline.extraction.decoding import default_redactor
from learning_pipeline.learning.events.texts import clean_text

MAX_NAME_CHARS: Final = 100

_HOST: Final = r"[a-z0-9][a-z0-9._-]*|\[[0-9a-f:.]+\]"


def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    return re2.compile(pattern, options)


_URL: Final = _compiled(
    rf"[a-z][a-z0-9+.-]*://(?:[^\s/@]*@)?({_HOST})(?::([0-9]{{1,5}}))?"
)
_ASSIGNED: Final = _compiled(
    rf"\b(?:host|service|server|dependency|database|upstream)\s*[=:]\s*[\"']?({_HOST})"
    rf"[\"']?(?:[,;\s]+port\s*[=:]?\s*([0-9]{{1,5}}))?"
)
_WITH_PORT: Final = _compiled(rf"(?:^|[^\w./-])({_HOST}):([0-9]{{2,5}})\b")
_AFTER_PHRASE: Final = _compiled(
    r"(?:resolve(?: host)?|lookup|"
    r"(?:getaddrinfo\s+)?(?:enotfound|eai_again)|getaddrinfo|"
    r"connect(?:ion|ing)? to(?: server at)?|reach|(?:refused|reset|closed) by|"
    r"service|host)\s*:?\s+"
    rf"[\"']?({_HOST})[\"']?(?:[,\s]+(?:\([^)]*\),?\s*)?port:?\s+([0-9]{{1,5}}))?"
)
_PATTERNS: Final = (_URL, _ASSIGNED, _WITH_PORT, _AFTER_PHRASE)
_MATCHES_LOOKED_AT: Final = 8

_NO_NAMES: Final = frozenset(
    {
        *("a", "address", "after", "all", "an", "and", "any", "at", "be", "because"),
        *("been", "by", "can", "cannot", "connect", "connection", "could", "database"),
        *("dependency", "did", "does", "down", "enotfound", "error", "eai_again"),
        *("failed", "failure", "for", "from", "getaddrinfo", "had", "has", "host"),
        *("http", "https", "in", "is", "it", "its", "known", "lookup", "may", "name"),
        *("no", "none", "not", "null", "of", "on", "or", "our", "peer", "port"),
        *("refused", "remote", "reset", "resolve", "server", "service", "that", "the"),
        *("their", "there", "these", "this", "those", "timed", "to", "unavailable"),
        *("undefined", "unknown", "unreachable", "upstream", "was", "were", "which"),
        *("will", "with", "within"),
    }
)
# `parser.py:120` is a place in code.
_CODE_ENDINGS: Final = (
    *(".py", ".js", ".ts", ".tsx", ".rs", ".go", ".nix", ".sh", ".c", ".h"),
    *(".cc", ".cpp", ".java", ".rb", ".md", ".json", ".yaml", ".yml", ".toml"),
)


def dependency_in(text: str) -> str | None:
    """Return the dependency that an error's text names; None when it names none.

    Guarantees: no known secret in it, though names are in lower case, in which a
    secret would not be known any more.
    """
    text, _ = default_redactor().redact(text)
    for pattern in _PATTERNS:
        for number, match in enumerate(pattern.finditer(text)):
            if number >= _MATCHES_LOOKED_AT:
                break
            name = _place(match[1], match[2])
            if name is not None:
                return name
    return None


def dependency_named(name: str | None, port: int | None = None) -> str | None:
    """Return the dependency that a field states, as a name, a host or a URL.

    Guarantees: as those of `dependency_in`.
    """
    stated, _ = clean_text(name)
    if stated is None:
        return None
    match = _URL.match(stated)
    if match is not None:
        return _place(match[1], match[2])
    host, _, ending = stated.rpartition(":")
    if host and ending.isascii() and ending.isdigit():
        return _place(host, ending)
    if all(each.isalnum() or each in "._-" for each in stated):
        return _place(stated, None if port is None else str(port))
    return stated.lower()[:MAX_NAME_CHARS]


def _place(host: str, port: str | None) -> str | None:
    name = host.lower().strip("[]").rstrip(".-_")[:MAX_NAME_CHARS]
    if not name or name in _NO_NAMES:
        return None
    suffix = f":{int(port)}" if port else ""
    if name == "localhost":
        return name + suffix
    try:
        address = ip_address(name)
    except ValueError:
        is_name = any(each.isalpha() for each in name)
        return None if not is_name or name.endswith(_CODE_ENDINGS) else name
    if address.is_loopback or address.is_unspecified:
        return "localhost" + suffix
    return (f"[{name}]" if address.version == _IPV6 and suffix else name) + suffix


_IPV6: Final = 6
