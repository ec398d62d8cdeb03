"""Reading one open file into commits, batch by batch."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from learning_pipeline.model import Checkpoint, Counters, Progress
from learning_pipeline.reading_process import (
    Extracted,
    ReadRange,
    TransformSpec,
    extract_here,
)
from learning_pipeline.stages.read_ahead import extract_ahead
from learning_pipeline.stages.stream import Transform
from learning_pipeline.steps import reached
from learning_pipeline.store import Claim, StageSession
from learning_pipeline.telemetry import (
    Listings,
    ReadLimits,
    Tail,
    TelemetryFile,
    telemetry_matcher,
)

MAX_REJECTIONS_LOGGED = 10
CAN_READ_AHEAD = (os.cpu_count() or 1) > 1
NO_LIMIT = 2**62


def _always_enough() -> None:
    """Look at no disk."""


@dataclass(frozen=True)
class Reading:
    """How a run reads its files.

    Attributes:
        telemetry_root: Where they are, below.
        limits: How much is read for one commit.
        read_ahead_bytes: An unread rest of at least this is read and extracted in a
            process of its own, where the transform is a `TransformSpec`.
        patterns: Which names below the root are those of telemetry.
        max_bytes: After so many bytes of a partition the run stops at a commit.
        require_free_space: Called before each commit; raises when there is none.
    """

    telemetry_root: Path
    limits: ReadLimits
    read_ahead_bytes: int
    patterns: Sequence[str] = ("**/*.jsonl",)
    max_bytes: int = NO_LIMIT
    require_free_space: Callable[[], None] = _always_enough

    @cached_property
    def listings(self) -> Listings:
        """Finds the physical files of partitions; remembers folders."""
        return Listings(self.telemetry_root, telemetry_matcher(self.patterns))


@dataclass(frozen=True)
class Source:
    """One physical file, and what is known of the generation that it holds.

    Attributes:
        file: Open.
        landmarks: The generation's, as far as they are known.
        tail: What becomes of the bytes after the last newline.
        is_late: Whether later generations were begun before this was read.
    """

    file: TelemetryFile
    landmarks: bytes
    tail: Tail
    is_late: bool


class Committer:
    """Commits what is unread of one file after another, for one partition.

    Attributes:
        claim: The run's claim, as the last commit left it; None before there is one.
        size_bytes: The size of the file that it stands in, when it was opened.
    """

    def __init__(
        self,
        session: StageSession,
        transform: Transform | TransformSpec,
        reading: Reading,
        on_commit: Callable[[Progress], None],
        log: Any,
    ) -> None:
        """Commit to `session`; see `PartitionDrain`."""
        self._session = session
        self._transform = transform
        self._reading = reading
        self._on_commit = on_commit
        self._log = log
        self._started = time.monotonic()
        self._done = Counters()
        self._read_bytes = 0
        self._commit_count = 0
        self.size_bytes = 0
        self._resumed_from_offset: int | None = None
        self.claim: Claim | None = None

    @property
    def is_out_of_budget(self) -> bool:
        """Whether as much was read as a run may."""
        return self._read_bytes >= self._reading.max_bytes

    def stand_in(self, claim: Claim, file: TelemetryFile) -> None:
        """Take the claim, standing in the generation that `file` holds."""
        # Nothing may be committed of it, but half a line may have come: once that is
        # gone, it is lost.
        checkpoint = msgspec.structs.replace(
            claim.checkpoint, size_bytes=file.size_bytes
        )
        self.claim = msgspec.structs.replace(claim, checkpoint=checkpoint)
        self.size_bytes = file.size_bytes
        if self._resumed_from_offset is None:
            self._resumed_from_offset = claim.checkpoint.offset

    def count_generation(self) -> None:
        """Count a generation that this run began after another."""
        self._done += Counters(generation_change_count=1)

    def read(self, claim: Claim, source: Source) -> Claim:
        """Commit what is unread of a file, up to its end or the run's limit.

        Raises:
            TelemetryError: It cannot be read; what was committed stays.
            FencedError: Another run claimed the partition.
            StoreError: The database failed; what was committed stays.
        """
        file, known = source.file, source.landmarks
        with contextlib.closing(self._extract(claim.checkpoint, source)) as stream:
            for extracted in stream:
                reached("extract.after")
                self._reading.require_free_space()
                landmarks = file.landmarks(known, extracted.end_offset)
                claim = self.claim = self._session.commit(
                    claim,
                    extracted.output,
                    end_offset=extracted.end_offset,
                    fingerprint=extracted.fingerprint,
                    size_bytes=file.size_bytes,
                    landmarks=landmarks if landmarks != known else b"",
                    is_late=source.is_late,
                )
                known = landmarks
                self._count(extracted)
                self._on_commit(self.progress(claim.checkpoint))
                if self.is_out_of_budget:
                    break
        return claim

    def progress(
        self,
        checkpoint: Checkpoint,
        *,
        is_final: bool = False,
        is_complete: bool = True,
    ) -> Progress:
        """How far the run is in the partition, at `checkpoint`."""
        return Progress(
            stage=checkpoint.stage,
            partition=checkpoint.partition,
            generation=checkpoint.generation,
            offset=checkpoint.offset,
            size_bytes=max(self.size_bytes, checkpoint.offset),
            counters=checkpoint.counters,
            run_event_count=self._done.event_count,
            run_row_count=self._done.row_count,
            run_dead_letter_count=self._done.dead_letter_count,
            run_bytes=self._read_bytes,
            elapsed_seconds=time.monotonic() - self._started,
            commit_count=self._commit_count,
            generation_change_count=self._done.generation_change_count,
            resumed_from_offset=self._resumed_from_offset or 0,
            is_final=is_final,
            is_complete=is_complete,
        )

    def _extract(
        self, checkpoint: Checkpoint, source: Source
    ) -> Generator[Extracted, None, None]:
        file = source.file
        span = ReadRange(
            checkpoint.offset,
            max(file.size_bytes, checkpoint.offset),
            checkpoint.fingerprint,
            self._reading.limits,
            source.tail,
        )
        transform = self._transform
        if isinstance(transform, TransformSpec):
            rest_bytes = span.end_offset - span.start_offset
            if (
                CAN_READ_AHEAD
                and not file.is_compressed
                and rest_bytes >= self._reading.read_ahead_bytes
            ):
                yield from extract_ahead(file, transform, span)
                return
            self._transform = transform = transform.build()
        yield from extract_here(file, transform, span)

    def _count(self, extracted: Extracted) -> None:
        output = extracted.output
        logged = self._done.dead_letter_count
        for letter in output.dead_letters[: max(MAX_REJECTIONS_LOGGED - logged, 0)]:
            self._log.warning(
                "record_rejected",
                reason=letter.reason,
                start_offset=letter.start_offset,
                end_offset=letter.end_offset,
            )
        self._done += Counters(
            event_count=output.counters.event_count,
            row_count=output.counters.row_count,
            dead_letter_count=output.counters.dead_letter_count,
        )
        self._read_bytes += extracted.end_offset - extracted.start_offset
        self._commit_count += 1
