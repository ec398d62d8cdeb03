"""Named steps of load, commit and report, so that a test can stop at each.

Production code calls `reached`, which does nothing unless a listener was installed
in this process (`learning_pipeline.testing.crash_points` does that).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

NAMES: Final = (
    "claim.before",
    "claim.after",
    "load.before",
    "load.after",
    "extract.after",
    "commit.begun",
    "commit.checkpoint_written",
    "commit.counts_written",
    "commit.rows_written",
    "commit.after",
    "report.before",
    "report.after",
    "generation.before",
    "generation.after",
    "finish.before",
    "finish.after",
    "sync.before",
    "sync.after",
)
"""Every step, in the order of a run."""

DERIVING_NAMES: Final = (
    "derive.begun",
    "derive.rows_written",
    "derive.checkpoint_written",
    "derive.after",
)
"""Those of a stage that reads what another has committed, in place of `commit`."""

INDEX_NAMES: Final = ("index.before", "index.written")
"""Around each write to the search index, before `derive`."""

RETRY_NAMES: Final = (
    "retry.before",
    "retry.letters_removed",
    "retry.counted",
    "retry.rows_written",
    "retry.after",
)
"""Those of `dead-letters retry`, between claim and sync."""

RETENTION_NAMES: Final = (
    "retain.before",
    "retain.written",
    "retain.recorded",
    "retain.placed",
    "retain.aside",
    "retain.removed",
    "retain.after",
)
"""Every step of retiring a file, in order; two of them only when it is compressed."""

ALL_NAMES: Final = (
    *NAMES,
    *DERIVING_NAMES,
    *INDEX_NAMES,
    *RETRY_NAMES,
    *RETENTION_NAMES,
)

_listener: Callable[[str], None] | None = None


def reached(step: str) -> None:
    """Tell the listener, if there is one, that the process stands at `step`."""
    if _listener is not None:
        _listener(step)


def listen(listener: Callable[[str], None] | None) -> None:
    """Install the one listener of this process; None removes it."""
    global _listener  # noqa: PLW0603 - a single cheap hook on the hot path
    _listener = listener
