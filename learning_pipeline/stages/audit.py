"""What must hold of a checkpoint, looked at from outside: by checks, status, tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from learning_pipeline.errors import TelemetryError
from learning_pipeline.model import Checkpoint
from learning_pipeline.store import HistoryStep
from learning_pipeline.telemetry import Verdict, open_telemetry_file


class FilePosition(msgspec.Struct, frozen=True):
    """Where a checkpoint stands in its file as it is now.

    Attributes:
        partition: The partition key.
        offset: Committed byte position.
        size_bytes: The file's size now; None when it cannot be opened.
        problem: Why the checkpoint does not fit the file, or None.
    """

    partition: str
    offset: int
    size_bytes: int | None
    problem: str | None

    @property
    def lag_bytes(self) -> int:
        """Bytes not committed yet; of a file that cannot be opened, none known."""
        return max((self.size_bytes or 0) - self.offset, 0)


def file_position(telemetry_root: Path, checkpoint: Checkpoint) -> FilePosition:
    """Open the file and compare it with the checkpoint."""
    partition, offset = checkpoint.partition, checkpoint.offset
    try:
        with open_telemetry_file(telemetry_root, partition) as file:
            problem = None
            if checkpoint.fingerprint is not None:
                verdict = file.compare(offset, checkpoint.fingerprint)
                if verdict is not Verdict.SAME:
                    problem = f"the file was {verdict.name.lower()} since"
            return FilePosition(partition, offset, file.size_bytes, problem)
    except TelemetryError as error:
        return FilePosition(partition, offset, None, str(error))


def range_problems(
    steps: Iterable[HistoryStep], checkpoints: Sequence[Checkpoint]
) -> list[str]:
    """Gaps and overlaps between committed ranges, and a checkpoint apart from them.

    Args:
        steps: The kept history, oldest first in each stage and partition.
        checkpoints: The current ones.
    """
    problems: list[str] = []
    last: dict[tuple[str, str], HistoryStep] = {}
    for step in steps:
        at = (step.stage, step.partition)
        before = last.get(at)
        last[at] = step
        if before is None or step.is_generation_start:
            continue
        if step.generation != before.generation:
            problems.append(
                f"{step.partition}: commit {step.sequence} is of generation "
                f"{step.generation}, the one before of {before.generation}"
            )
        elif step.start_offset != before.end_offset and not _pruned_between(
            before, step
        ):
            problems.append(
                f"{step.partition}: commit {step.sequence} begins at "
                f"{step.start_offset}, the one before ended at {before.end_offset}"
            )
    for checkpoint in checkpoints:
        newest = last.get((checkpoint.stage, checkpoint.partition))
        if newest is not None and newest.end_offset != checkpoint.offset:
            problems.append(
                f"{checkpoint.partition}: the checkpoint stands at "
                f"{checkpoint.offset}, its last commit ended at {newest.end_offset}"
            )
    return problems


def _pruned_between(before: HistoryStep, step: HistoryStep) -> bool:
    # A generation's start is kept for ever, the commits after it are not.
    return before.is_generation_start and step.sequence > before.sequence + 1
