"""Short texts of telemetry that are stored: stripped, redacted, bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from learning_pipeline.extraction.decoding import default_redactor
from learning_pipeline.extraction.redaction import NO_REDACTIONS

MAX_TEXT_CHARS: Final = 200
MAX_TEXTS_REMEMBERED: Final = 1_000

_NO_CONTROLS: Final = dict.fromkeys((*range(32), 127))
# A secret that the cut would split is still seen whole.
_LOOKED_AT_CHARS: Final = 10 * MAX_TEXT_CHARS


def clean_text(text: str | None) -> tuple[str | None, Mapping[str, int]]:
    """Return what is stored of a text, and what was redacted in it by kind.

    Guarantees: None, or 1 to 200 characters, none of them a control character, no
    known secret among them; it raises for no text.
    """
    if not text:
        return None, NO_REDACTIONS
    # Half a surrogate pair cannot be stored.
    looked_at = text.strip()[:_LOOKED_AT_CHARS].encode(errors="replace").decode()
    redacted, counts = default_redactor().redact(looked_at.translate(_NO_CONTROLS))
    return redacted.strip()[:MAX_TEXT_CHARS].strip() or None, counts


class TextCleaner:
    """Remembers what became of texts that come again and again."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._known: dict[str, tuple[str | None, Mapping[str, int]]] = {}

    def clean(self, text: str | None, redactions: dict[str, int]) -> str | None:
        """Return what is stored of `text`; adds to `redactions` by kind."""
        if not text:
            return None
        known = self._known.get(text)
        if known is None:
            known = clean_text(text)
            if len(text) <= MAX_TEXT_CHARS and (
                len(self._known) < MAX_TEXTS_REMEMBERED
            ):
                self._known[text] = known
        cleaned, counts = known
        for kind, count in counts.items():
            redactions[kind] = redactions.get(kind, 0) + count
        return cleaned
