"""What a rebuild loses and what can be learned again, as far as that can be said."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import msgspec

from learning_pipeline.stages.audit import file_position
from learning_pipeline.store.remains import GIVEN, Remains
from learning_pipeline.telemetry import Listings

RowCounts = Mapping[tuple[str, str, int], int]
"""Rows by stage, partition key and generation."""


class FileAccount(msgspec.Struct, frozen=True):
    """What becomes of one stage's rows of one generation.

    Attributes:
        stage: The stage.
        partition: The partition key.
        generation: Which physical file.
        row_count: Rows that the damaged database has of it, at least.
        kept_count: Rows of it that the backup has.
        is_there: Whether its telemetry still exists; None: that cannot be told.
        detail: Why not.
    """

    stage: str
    partition: str
    generation: int
    row_count: int
    kept_count: int
    is_there: bool | None
    detail: str

    @property
    def missing_count(self) -> int:
        """Rows that the backup does not have."""
        return max(self.row_count - self.kept_count, 0)


def accounts(
    telemetry_root: Path,
    listings: Listings,
    remains: Remains,
    kept: RowCounts,
) -> Iterator[FileAccount]:
    """One account per stage and generation that the damaged database had rows of.

    Args:
        telemetry_root: Where the telemetry is looked for.
        listings: Finds the files of a partition there, rotated ones too.
        remains: What could be read of the damaged database.
        kept: The rows of the backup, if there is one.
    """
    known = {each.partition for each in remains.positions}
    at = {
        (each.stage, each.partition, each.generation): each
        for each in remains.positions
    }

    def known_keys(keys: Collection[str]) -> Collection[str]:
        return known & set(keys)

    for (stage, partition, generation), row_count in sorted(
        remains.row_counts.items(), key=lambda item: str(item[0])
    ):
        position = at.get((stage, partition, generation))
        is_there: bool | None = None
        detail = "the damaged database no longer says which bytes it was made of"
        if position is not None and position.fingerprint is not None:
            found = file_position(telemetry_root, listings, known_keys, position)
            is_there = found.problem is None
            detail = found.problem or ""
        yield FileAccount(
            stage,
            partition,
            generation,
            row_count,
            kept.get((stage, partition, generation), 0),
            is_there,
            detail,
        )


def summary(
    found: Collection[FileAccount], remains: Remains, kept: Remains
) -> list[str]:
    """The account in sentences, totals only.

    Args:
        found: What becomes of the rows.
        remains: What could be read of the damaged database.
        kept: What the backup has.
    """
    again = [each for each in found if each.missing_count and each.is_there]
    gone = [each for each in found if each.missing_count and each.is_there is False]
    unclear = [each for each in found if each.missing_count and each.is_there is None]
    kept_count = sum(min(each.kept_count, each.row_count) for each in found)
    lines = []
    if kept_count:
        lines.append(f"{kept_count} rows are in the backup.")
    for group, what in (
        (again, "come from telemetry that still exists; they will be learned again"),
        (
            gone,
            "come from generations whose file is gone; they cannot be learned again",
        ),
        (unclear, "come from files; it cannot be said whether those still exist"),
    ):
        if group:
            row_count = sum(each.missing_count for each in group)
            file_count = len({each.partition for each in group})
            lines.append(f"{row_count} rows of {file_count} files {what}.")
    for table, what in GIVEN.items():
        count = remains.given_counts.get(table, 0)
        missing_count = max(count - kept.given_counts.get(table, 0), 0)
        if missing_count:
            lines.append(f"{missing_count} {what} are lost: no telemetry holds them.")
    if remains.unreadable:
        lines.append(
            "More may have been there, which cannot be said: "
            f"{', '.join(remains.unreadable)} could not be read to the end."
        )
    if not lines:
        lines.append("No rows were there.")
    return lines
