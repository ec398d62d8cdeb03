"""What the embedded engine raises, turned into the errors of this project."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from learning_pipeline.errors import (
    IndexBusyError,
    IndexDamagedError,
    LearningPipelineError,
    PatternIndexError,
)
from learning_pipeline.learning.index.vectors import REBUILD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LONGEST_TEXT_CHARS = 300
_LOCKED_SIGN = "WouldBlock"
_DISK_SIGNS = ("No space left", "os error 28", "Disk quota", "os error 122")
_ACCESS_SIGNS = (
    "Permission denied",
    "os error 13",
    "Operation not permitted",
    "os error 1)",
    "Read-only",
    "os error 30",
)
_PANIC = "PanicException"
"""How a failed assertion of the engine shows: no `Exception`, and not importable."""


@contextlib.contextmanager
def explained(folder: Path, *, is_reading: bool = False) -> Iterator[None]:
    """Turn what the engine raises into errors of this project.

    Args:
        folder: The index.
        is_reading: Whether nothing is written: what fails then is damage.

    Raises:
        IndexDamagedError: It cannot be read.
        IndexBusyError: A process that does not take turns has it.
        PatternIndexError: Anything else that the engine refused.
    """
    try:
        yield
    except LearningPipelineError:
        raise
    except Exception as error:
        raise _explain(folder, error, is_reading=is_reading) from error
    except BaseException as error:
        if type(error).__name__ != _PANIC:
            raise
        raise _damaged(folder, error) from error


def _explain(folder: Path, error: Exception, *, is_reading: bool) -> PatternIndexError:
    text = _text(error)
    if _LOCKED_SIGN in text:
        return IndexBusyError(
            f"the index {folder} is open in another program, which does not take turns "
            "with ours: end it",
            holder="another program",
        )
    if any(sign in text for sign in _DISK_SIGNS):
        return PatternIndexError(
            f"the disk of the index {folder} is full ({text}): free some space; what "
            "was not committed is indexed again by the next run"
        )
    if any(sign in text for sign in _ACCESS_SIGNS):
        return PatternIndexError(
            f"the index {folder} may not be read or written ({text}): let this user do "
            "both, there and in all that is in it"
        )
    if is_reading:
        return _damaged(folder, error)
    return PatternIndexError(
        f"the index {folder} refused: {text}. If it does so again, {REBUILD}"
    )


def _damaged(folder: Path, error: BaseException) -> IndexDamagedError:
    return IndexDamagedError(
        f"the index {folder} is damaged ({_text(error)}). Nothing is lost by that: "
        f"{REBUILD} from the state database"
    )


def _text(error: BaseException) -> str:
    return " ".join(str(error).split())[:_LONGEST_TEXT_CHARS] or type(error).__name__
