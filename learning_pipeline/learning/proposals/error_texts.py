"""What an error's text says: that a connection failed, or that time ran out."""

from __future__ import annotations

from typing import Any, Final

import re2

from learning_pipeline.learning.events.fields import MAX_SECONDS


def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    return re2.compile(pattern, options)


_CONNECTION: Final = _compiled(
    r"connection (?:was )?(?:refused|reset|aborted|closed|lost|timed out|timeout)"
    r"|connect(?:ion)? ?(?:timed ?out|timeout)|connection error|connectionerror"
    r"|connection(?:refused|reset|aborted)error|econn(?:refused|reset|aborted)"
    r"|e(?:host|net)unreach|enotfound|eai_again|getaddrinfo|unreachable"
    r"|no route to host|name or service not known|name resolution|nxdomain"
    r"|(?:cannot|can't|could not|couldn't|unable to|failed to) "
    r"(?:resolve|connect|reach)"
    r"|max retries exceeded|dns (?:error|failure|lookup)|server disconnected"
    r"|failed to establish a new connection"
)
# Not every mention: "set the timeout to 30 s" is advice.
_TIMEOUT: Final = _compiled(
    r"timed ?out|deadline exceeded|etimedout|timeouterror|timeoutexpired"
    r"|timeoutexception|(?:read|write|request|response|operation|query) timeout"
    r"|timeout (?:error|exceeded|expired|reached|after|of [0-9])|timeout[=:] ?[0-9]"
    r"|^timeout\W*$|exceeded (?:the |its )?(?:timeout|time (?:limit|budget))"
)
_SECONDS: Final = _compiled(
    r"(?:after|of|within|exceeded|limit|timeout)[\s=:(]*([0-9]{1,9}(?:\.[0-9]{1,6})?)"
    r"\s*(ms|msec|milliseconds?|s|secs?|seconds?|m|mins?|minutes?)?\b"
)
_UNITS: Final = {"ms": 0.001, "msec": 0.001, "mi": 60.0, "m": 60.0}


def is_connection_error(text: str) -> bool:
    """Whether the text says that a dependency could not be reached."""
    return _CONNECTION.search(text) is not None


def is_timeout(text: str) -> bool:
    """Whether the text says that something took too long."""
    return _TIMEOUT.search(text) is not None


def limit_seconds_in(text: str) -> float | None:
    """Return the time that was allowed, where the text states it."""
    match = _SECONDS.search(text)
    if match is None:
        return None
    unit = (match[2] or "s").lower()
    if unit.startswith("milli"):
        unit = "ms"
    seconds = float(match[1]) * _UNITS.get(unit, _UNITS.get(unit[:2], 1.0))
    return seconds if 0 < seconds <= MAX_SECONDS else None
