"""Draining a file into commits: open, claim, identify, read, transform, commit.

The order closes every crash window: rows exist exactly when the offset behind them
does, because one transaction holds both, and the offset is where the next run begins.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learning_pipeline.errors import (
    TelemetryFileChangedError,
    TelemetryFileUnreadableError,
)
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
from learning_pipeline.store import Claim, GenerationIdentity, StageSession
from learning_pipeline.telemetry import (
    ReadLimits,
    TelemetryFile,
    Verdict,
    open_telemetry_file,
)

MAX_GENERATIONS_PER_PASS = 5
"""A file that changes under its reader more often fails; the next run goes on."""

MAX_REJECTIONS_LOGGED = 10
CAN_READ_AHEAD = (os.cpu_count() or 1) > 1


@dataclass(frozen=True)
class Reading:
    """How a run reads its files.

    Attributes:
        telemetry_root: Where they are, below.
        limits: How much is read for one commit.
        read_ahead_bytes: An unread rest of at least this is read and extracted in a
            process of its own, where the transform is a `TransformSpec`.
    """

    telemetry_root: Path
    limits: ReadLimits
    read_ahead_bytes: int


class PartitionDrain:
    """One pass of one stage over one file, up to its end as it was when opened.

    Guarantees:
        After any crash, the committed rows are those of the bytes before the
        committed offset, each once. Not promised: that a commit survives a power
        cut before the session was synced; offset and rows then fall back together.
    """

    def __init__(  # noqa: PLR0913 - what, how, and whom to tell
        self,
        session: StageSession,
        *,
        partition: str,
        transform: Transform | TransformSpec,
        reading: Reading,
        on_commit: Callable[[Progress], None],
        log: Any,
    ) -> None:
        """Describe the pass.

        Args:
            session: The run's session on the stage.
            partition: Its partition key.
            transform: Makes rows of records.
            reading: How files are read.
            on_commit: Called after each commit. What it raises ends the pass at
                this batch boundary, with everything before it committed.
            log: A structlog logger.
        """
        self._session = session
        self._partition = partition
        self._transform = transform
        self._reading = reading
        self._on_commit = on_commit
        self._log = log.bind(partition=partition)
        self._started = time.monotonic()
        self.claim: Claim | None = None
        self._done = Counters()
        self._read_bytes = 0
        self._commit_count = 0
        self._size_bytes = 0
        self._resumed_from_offset = 0

    def run(self) -> tuple[Claim, Progress]:
        """Drain the file.

        Returns:
            The claim, to be synced, and how far it got.

        Raises:
            TelemetryError: The file cannot be read; what was committed stays.
            FencedError: Another run claimed the file.
            StoreError: The database failed; what was committed stays.
        """
        for _ in range(MAX_GENERATIONS_PER_PASS):
            reached("load.before")
            with open_telemetry_file(
                self._reading.telemetry_root, self._partition
            ) as file:
                if self.claim is None:
                    self.claim = self._session.claim(self._partition)
                claim = self.claim = self._identify(self.claim, file)
                reached("load.after")
                try:
                    claim = self._read(claim, file)
                except TelemetryFileChangedError as change:
                    self._log.warning(
                        "file_changed_while_reading", offset=change.offset
                    )
                    continue
                claim = self.claim = self._session.finish_pass(
                    claim,
                    seen_size_bytes=file.size_bytes,
                    seen_mtime_ns=file.mtime_ns,
                )
                return claim, self.progress(claim.checkpoint, is_final=True)
        message = (
            f"{self._partition!r} was truncated or rewritten "
            f"{MAX_GENERATIONS_PER_PASS} times while it was being read; what could "
            "be read is committed, the next run goes on. Telemetry files must only "
            "grow: check what writes to it"
        )
        raise TelemetryFileUnreadableError(message, partition=self._partition)

    def progress(self, checkpoint: Checkpoint, *, is_final: bool = False) -> Progress:
        """How far the pass is, at `checkpoint`."""
        return Progress(
            stage=checkpoint.stage,
            partition=checkpoint.partition,
            generation=checkpoint.generation,
            offset=checkpoint.offset,
            size_bytes=max(self._size_bytes, checkpoint.offset),
            counters=checkpoint.counters,
            run_event_count=self._done.event_count,
            run_row_count=self._done.row_count,
            run_dead_letter_count=self._done.dead_letter_count,
            run_bytes=self._read_bytes,
            elapsed_seconds=time.monotonic() - self._started,
            commit_count=self._commit_count,
            generation_change_count=self._done.generation_change_count,
            resumed_from_offset=self._resumed_from_offset,
            is_final=is_final,
        )

    def _read(self, claim: Claim, file: TelemetryFile) -> Claim:
        with contextlib.closing(self._extract(claim.checkpoint, file)) as stream:
            for extracted in stream:
                reached("extract.after")
                claim = self.claim = self._session.commit(
                    claim,
                    extracted.output,
                    end_offset=extracted.end_offset,
                    fingerprint=extracted.fingerprint,
                    size_bytes=file.size_bytes,
                )
                self._count(extracted)
                self._on_commit(self.progress(claim.checkpoint))
        return claim

    def _extract(
        self, checkpoint: Checkpoint, file: TelemetryFile
    ) -> Generator[Extracted, None, None]:
        span = ReadRange(
            checkpoint.offset,
            max(file.size_bytes, checkpoint.offset),
            checkpoint.fingerprint,
            self._reading.limits,
        )
        transform = self._transform
        if isinstance(transform, TransformSpec):
            rest_bytes = span.end_offset - span.start_offset
            if CAN_READ_AHEAD and rest_bytes >= self._reading.read_ahead_bytes:
                yield from extract_ahead(file, transform, span)
                return
            transform = transform.build()
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

    def _identify(self, claim: Claim, file: TelemetryFile) -> Claim:
        """Decide whether the file is still the one that the checkpoint is about."""
        self._size_bytes = file.size_bytes
        checkpoint = claim.checkpoint
        latest = self._session.latest_generation(claim)
        if checkpoint.fingerprint is None:
            return self._identify_unread(claim, file, latest)
        verdict = file.compare(checkpoint.offset, checkpoint.fingerprint)
        overtaken = latest is not None and latest.generation > checkpoint.generation
        if verdict is Verdict.SAME and not overtaken:
            self._resumed_from_offset = checkpoint.offset
            self._log.info(
                "resuming_from_checkpoint",
                generation=checkpoint.generation,
                offset=checkpoint.offset,
                size_bytes=file.size_bytes,
            )
            return claim
        because = "noticed_by_another_stage" if overtaken else verdict.name.lower()
        return self._begin(claim, file, latest, because)

    def _identify_unread(
        self, claim: Claim, file: TelemetryFile, latest: GenerationIdentity | None
    ) -> Claim:
        # Nothing of this generation is committed yet, so nothing can be compared
        # but what other stages, or this one before a rewind, know of the file.
        checkpoint = claim.checkpoint
        begun = checkpoint.sequence > 0
        if (
            begun
            and latest is not None
            and latest.generation == checkpoint.generation
            and self._is_latest(file, latest)
        ):
            return claim
        return self._begin(claim, file, latest, "replaced" if begun else "first_seen")

    def _begin(
        self,
        claim: Claim,
        file: TelemetryFile,
        latest: GenerationIdentity | None,
        because: str,
    ) -> Claim:
        before = claim.checkpoint
        known = latest.generation if latest else -1
        ours = before.generation if before.fingerprint or before.sequence else -1
        # A newer generation that another stage began is joined; else it is a new one.
        joins = latest is not None and known > ours and self._is_latest(file, latest)
        generation = known if joins else known + 1
        changed = ours >= 0
        lost_bytes = max(before.size_bytes - before.offset, 0) if changed else 0
        after = self._session.begin_generation(
            claim,
            generation=generation,
            fingerprint=file.prefix_fingerprint(),
            because=because,
            size_bytes=file.size_bytes,
            lost_bytes=lost_bytes,
        )
        if changed:
            self._done += Counters(generation_change_count=1)
            self._log.warning(
                "generation_began",
                because=because,
                generation=generation,
                left_at_offset=before.offset,
                lost_bytes_at_least=lost_bytes,
                size_bytes=file.size_bytes,
            )
        return after

    @staticmethod
    def _is_latest(file: TelemetryFile, latest: GenerationIdentity) -> bool:
        return file.prefix_matches(latest.prefix_length_bytes, latest.prefix_digest)
