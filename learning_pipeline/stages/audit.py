"""What must hold of a checkpoint, looked at from outside: by checks, status, tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from learning_pipeline.errors import TelemetryError, TelemetryFileMissingError
from learning_pipeline.model import Checkpoint, PhysicalFile
from learning_pipeline.store import HistoryStep
from learning_pipeline.telemetry import (
    KnownKeys,
    Listings,
    Verdict,
    missing,
    open_telemetry_file,
)


class FilePosition(msgspec.Struct, frozen=True):
    """Where a checkpoint stands in its file as it is now.

    Attributes:
        partition: The partition key.
        offset: Committed byte position.
        size_bytes: The active file's size now; None when nothing can be opened.
        problem: Why the checkpoint fits no file, or None.
        is_settled: Whether a pass has dealt with the files as they are now, or there
            are none: what was lost with them is counted, and nothing is to do.
    """

    partition: str
    offset: int
    size_bytes: int | None
    problem: str | None
    is_settled: bool = False

    @property
    def lag_bytes(self) -> int:
        """Bytes not committed yet; of a file that cannot be opened, none known."""
        return max((self.size_bytes or 0) - self.offset, 0)


def file_position(
    telemetry_root: Path,
    listings: Listings,
    known_keys: KnownKeys,
    checkpoint: Checkpoint,
) -> FilePosition:
    """Find the file that the checkpoint stands in, active or rotated away.

    Args:
        telemetry_root: Where the files are.
        listings: Finds the files of a partition there.
        known_keys: Asks the store what was read before.
        checkpoint: Of one stage and partition.
    """
    partition, offset = checkpoint.partition, checkpoint.offset
    try:
        files = listings.files_of(partition, known_keys)
        if not files.files:
            raise missing(partition)
        newest = files.files[-1]
        size_bytes = newest.size_bytes if newest.is_active else 0
        problem = None
        for physical in reversed(files.files):
            verdict = _verdict(telemetry_root, physical, checkpoint)
            if verdict in {Verdict.SAME, None}:
                return FilePosition(partition, offset, size_bytes, None)
            problem = problem or f"the file was {verdict.name.lower()} since"
        is_settled = files.signature == checkpoint.seen_signature
        return FilePosition(partition, offset, size_bytes, problem, is_settled)
    except TelemetryFileMissingError as error:
        return FilePosition(partition, offset, None, str(error), is_settled=True)
    except TelemetryError as error:
        return FilePosition(partition, offset, None, str(error))


def _verdict(
    telemetry_root: Path, physical: PhysicalFile, checkpoint: Checkpoint
) -> Verdict | None:
    if checkpoint.fingerprint is None:
        return None
    with open_telemetry_file(
        telemetry_root, physical.key, physical.compression
    ) as file:
        return file.compare(checkpoint.offset, checkpoint.fingerprint)


def range_problems(
    steps: Iterable[HistoryStep], checkpoints: Sequence[Checkpoint]
) -> list[str]:
    """Gaps and overlaps between committed ranges, and a checkpoint apart from them.

    Args:
        steps: The kept history, oldest first in each stage and partition.
        checkpoints: The current ones.
    """
    problems: list[str] = []
    last: dict[tuple[str, str, int], HistoryStep] = {}
    for step in steps:
        at = (step.stage, step.partition, step.generation)
        before = last.get(at)
        last[at] = step
        if before is None or step.is_generation_start:
            continue
        if step.start_offset != before.end_offset and not _pruned_between(before, step):
            problems.append(
                f"{step.partition}: commit {step.sequence} begins at "
                f"{step.start_offset}, the one before ended at {before.end_offset}"
            )
    for checkpoint in checkpoints:
        newest = last.get(
            (checkpoint.stage, checkpoint.partition, checkpoint.generation)
        )
        if newest is not None and newest.end_offset != checkpoint.offset:
            problems.append(
                f"{checkpoint.partition}: the checkpoint stands at "
                f"{checkpoint.offset}, its last commit ended at {newest.end_offset}"
            )
    return problems


def _pruned_between(before: HistoryStep, step: HistoryStep) -> bool:
    # A generation's start is kept for ever, the commits after it are not.
    return before.is_generation_start and step.sequence > before.sequence + 1
