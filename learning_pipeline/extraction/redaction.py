"""Replaces secrets in text by `[REDACTED:kind]`, in linear time on any input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import re2

from learning_pipeline.extraction.redaction_rules import MARKER_START, RULES, Rule

NO_REDACTIONS: Mapping[str, int] = MappingProxyType({})
"""The counts of a text without secrets."""

# Some 40 MB are what the automaton of all rules may grow to; beyond, it starts over.
_AUTOMATON_BYTES = 64 * 1024 * 1024
# One round settles nearly every text; a marker may uncover another secret beside it.
_ROUNDS = 8
# No secret is recognised later than after so many of its bytes.
_LONGEST_UNRECOGNISED_BYTES = 1024


def _options() -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = _AUTOMATON_BYTES
    options.log_errors = False
    return options


class Redactor:
    """Finds and replaces secrets; holds no state but its compiled patterns.

    Guarantees: never raises on text without lone surrogates; `redact` of its own
    result changes nothing. It is *not* promised that every secret is known to it.

    Attributes:
        suspects: Returns which rules may apply to UTF-8 text, by position; None when
            none does. The only step that clean text pays for.
    """

    def __init__(self, rules: tuple[Rule, ...] = RULES) -> None:
        """Compile the rules; about ten milliseconds."""
        options = _options()
        screen = re2.Set.SearchSet(options)
        self._rules = []
        for rule in rules:
            screen.Add(rule.pattern)
            pattern = re2.compile(rule.pattern, options)
            self._rules.append((rule.kind, pattern, rule.replace))
        screen.Compile()
        # An attribute, as a method would cost each record one more call.
        self.suspects: Callable[[bytes], list[int] | None] = screen.Match

    def redact(self, text: str) -> tuple[str, Mapping[str, int]]:
        """Return `text` without its secrets, and how many there were of each kind."""
        data = text.encode()
        if self.suspects(data) is None:
            return text, NO_REDACTIONS
        redacted, counts = self.redact_bytes(data)
        return redacted.decode(), counts

    def redact_bytes(self, data: bytes) -> tuple[bytes, Mapping[str, int]]:
        """Do the same to bytes, which need not be valid UTF-8."""
        counts: dict[str, int] = {}
        for _ in range(_ROUNDS):
            hits = self.suspects(data)
            if hits is None:
                break
            before = data
            # The kinds overlap; a rule that was hit may have nothing left to do.
            for index in sorted(hits):
                data = self._apply(self._rules[index], data, counts)
            if data == before:
                break
        return data, counts

    def redact_prefix(
        self, data: bytes, limit_bytes: int, *, is_cut: bool = False
    ) -> tuple[bytes, Mapping[str, int]]:
        """Return at most `limit_bytes` of redacted `data`, in bounded work.

        Args:
            data: The bytes, of any length.
            limit_bytes: How much of the result to keep.
            is_cut: Whether `data` is itself only the beginning of something.

        Guarantees: a secret across the cut is not kept by half.
        """
        window = data[: limit_bytes + 4 * _LONGEST_UNRECOGNISED_BYTES]
        redacted, counts = self.redact_bytes(window)
        if is_cut or len(window) < len(data):
            # The last bytes may begin a secret whose rest nobody looked at.
            redacted = redacted[:-_LONGEST_UNRECOGNISED_BYTES]
        return redacted[:limit_bytes], counts

    @staticmethod
    def _apply(
        rule: tuple[str, Any, Any], data: bytes, counts: dict[str, int]
    ) -> bytes:
        kind, pattern, replace = rule
        pieces: list[bytes] = []
        end = 0
        for match in pattern.finditer(data):
            replacement = replace(match, kind)
            if replacement is None:
                continue
            text, name = replacement
            if text == match[0]:
                continue
            counts[name] = counts.get(name, 0) + 1
            start, stop = match.span()
            pieces += (data[end:start], text)
            end = stop
        if not pieces:
            return data
        pieces.append(data[end:])
        return b"".join(pieces)


__all__ = ["MARKER_START", "NO_REDACTIONS", "Redactor"]
