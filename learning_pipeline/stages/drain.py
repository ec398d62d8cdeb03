"""Draining a partition: its files in order, each from where the stage left it.

The order closes every crash window: rows exist exactly when the offset behind them
does, because one transaction holds both, and the offset is where the next run begins.
Which file is which generation is found out anew by each pass, from content.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from learning_pipeline.errors import (
    GenerationTakenError,
    TelemetryFileChangedError,
    TelemetryFilesMovedError,
    TelemetryFileUnreadableError,
)
from learning_pipeline.model import (
    Progress,
)
from learning_pipeline.reading_process import TransformSpec
from learning_pipeline.stages.committing import Committer, Reading
from learning_pipeline.stages.passage import Passage
from learning_pipeline.stages.stream import Transform
from learning_pipeline.steps import reached
from learning_pipeline.store import Claim, StageSession
from learning_pipeline.telemetry import (
    PartitionFiles,
    missing,
)

MAX_PASSES = 5
"""Files that change under their reader more often fail; the next run goes on."""


class PartitionDrain:
    """One pass of one stage over a partition, up to its end as it was when opened.

    Guarantees:
        After any crash, the committed rows are those of the bytes before the
        committed offset, each once. What was rotated away is read before what came
        after it; what cannot be found any more is counted. Not promised: that a
        commit survives a power cut before the session was synced; offset and rows
        then fall back together.
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
        self._reading = reading
        self._log = log.bind(partition=partition)
        self._committer = Committer(session, transform, reading, on_commit, self._log)

    @property
    def claim(self) -> Claim | None:
        """The run's claim on the partition; None before there is one."""
        return self._committer.claim

    def run(self) -> tuple[Claim, Progress]:
        """Drain the partition.

        Returns:
            The claim, to be synced, and how far it got.

        Raises:
            TelemetryError: A file cannot be read; what was committed stays.
            FencedError: Another run claimed the partition.
            StoreError: The database failed; what was committed stays.
        """
        for attempt in range(MAX_PASSES):
            reached("load.before")
            files = self._list(afresh=attempt > 0)
            if not files.files and not self._session.known_partitions(
                [self._partition]
            ):
                raise missing(self._partition)
            if self._committer.claim is None:
                self._committer.claim = self._session.claim(self._partition)
            try:
                return self._pass(files)
            except TelemetryFileChangedError as change:
                self._log.warning("file_changed_while_reading", offset=change.offset)
            except (TelemetryFilesMovedError, GenerationTakenError):
                self._log.info("files_moved_while_reading")
        message = (
            f"{self._partition!r} was truncated, rewritten or rotated {MAX_PASSES} "
            "times while it was being read; what could be read is committed, the next "
            "run goes on. Telemetry files must only grow: check what writes to it"
        )
        raise TelemetryFileUnreadableError(message, partition=self._partition)

    def _list(self, *, afresh: bool = False) -> PartitionFiles:
        return self._reading.listings.files_of(
            self._partition, self._session.known_partitions, afresh=afresh
        )

    def _pass(self, files: PartitionFiles) -> tuple[Claim, Progress]:
        one = Passage(self._session, self._committer, self._reading, files, self._log)
        is_complete = one.read_all()
        claim = one.claim
        if not is_complete:
            one.remember()
        else:
            claim = one.settle()
            if one.unreadable is not None:
                raise one.unreadable
            if not files.files:
                raise missing(self._partition)
            claim = self._committer.claim = self._session.finish_pass(
                claim,
                seen_signature=files.signature,
                size_bytes=claim.checkpoint.size_bytes,
            )
        progress = self._committer.progress(
            claim.checkpoint, is_final=True, is_complete=is_complete
        )
        return claim, progress
