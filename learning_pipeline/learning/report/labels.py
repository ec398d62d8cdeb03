"""Names that come from telemetry, as they may stand in tables and pictures."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from learning_pipeline.store.chunks import NONE_STATED

MAX_LABEL_CHARS: Final = 80
MAX_NARROW_CHARS: Final = 200

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP: Final = 1024

_UNSEEN: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
"""Categories of characters that show nothing, or turn around what stands by them."""


def shown_label(text: str | None, max_chars: int = MAX_LABEL_CHARS) -> str:
    """Return a name as one line of at most `max_chars` visible characters.

    Args:
        text: Of whatever characters; None: none was stated.
        max_chars: What is longer ends in an ellipsis.
    """
    if text is None:
        return NONE_STATED
    line = " ".join(text.split())
    # Cut first: what is looked at character by character is short.
    if len(line) > max_chars:
        line = f"{line[: max_chars - 1]}…"
    seen = (
        "\ufffd" if unicodedata.category(character) in _UNSEEN else character
        for character in line
    )
    label = "".join(seen) or NONE_STATED
    # What is literally called so is told from what is called nothing.
    return f'"{text}"' if text == NONE_STATED else label


def shown_narrow(text: str | None, max_run_chars: int) -> str:
    """Return a name as `shown_label` does, for a narrow column.

    Args:
        text: Of whatever characters; None: none was stated.
        max_run_chars: A line can be broken at spaces and hyphens; what is longer
            between two of them loses its middle.
    """
    head = max_run_chars // 3
    tail = max_run_chars - head - 1

    def cut(run: re.Match[str]) -> str:
        return f"{run[0][:head]}…{run[0][-tail:]}"

    label = shown_label(text, MAX_NARROW_CHARS)
    return re.sub(rf"[^\s-]{{{max_run_chars + 1},}}", cut, label)


def shown_bytes(count: float) -> str:
    """Return a number of bytes for people: `0 B`, `1.5 KiB`, `312 MiB`."""
    units = iter(_UNITS)
    unit = next(units)
    while abs(count) >= _STEP and unit != _UNITS[-1]:
        count /= _STEP
        unit = next(units)
    digits = 0 if unit == _UNITS[0] or abs(count) >= 100 else 1  # noqa: PLR2004 - 3 figures
    return f"{count:,.{digits}f} {unit}"
