"""What an event's kind is called where it is counted, stored or shown."""

from __future__ import annotations

from collections.abc import Mapping

from learning_pipeline.extraction.decoding import default_redactor
from learning_pipeline.extraction.redaction import NO_REDACTIONS

NO_KIND = "(none)"
"""Under what an event is counted that states no kind."""

MAX_KIND_CHARS = 100

_NO_CONTROLS = dict.fromkeys((*range(32), 127))
# A secret that the cut would split is still seen whole.
_LOOKED_AT_CHARS = 10 * MAX_KIND_CHARS


def kind_label(kind: object) -> str:
    """Return the name under which to count events of a kind, as the engine does.

    Args:
        kind: The event's `event`, else its `event_type`; anything but a text that
            says something counts as none.

    Guarantees: one to 100 characters, none of them a control character, no known
    secret among them; it raises for no kind.
    """
    return label_and_redactions(kind)[0]


def label_and_redactions(kind: object) -> tuple[str, Mapping[str, int]]:
    """Return the label, and what was redacted in it by kind of secret."""
    if not isinstance(kind, str):
        return NO_KIND, NO_REDACTIONS
    # Half a surrogate pair cannot be stored.
    text = kind[:_LOOKED_AT_CHARS].encode(errors="replace").decode()
    redacted, counts = default_redactor().redact(text)
    return redacted.translate(_NO_CONTROLS)[:MAX_KIND_CHARS] or NO_KIND, counts
