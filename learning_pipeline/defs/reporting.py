"""Progress, as Dagster's UI shows it: metadata, observations, materialisations."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import dagster as dg

from learning_pipeline.model import Progress
from learning_pipeline.steps import reached

ProgressListener = Callable[[Progress], None]

SOURCE_KEY = dg.AssetKey("telemetry_file")


def progress_metadata(progress: Progress) -> dict[str, Any]:
    """What the UI plots and lists for a file; numbers where a number says it.

    Totals (`event_count`, …) are of the partition, over all runs and generations;
    what begins with `run_` is of this run.
    """
    counters = progress.counters
    return {
        "percent": round(progress.percent, 2),
        "offset": progress.offset,
        "size_bytes": progress.size_bytes,
        "lag_bytes": progress.lag_bytes,
        "event_count": counters.event_count,
        "row_count": counters.row_count,
        "quality_count": counters.quality_count,
        "ignored_count": counters.ignored_count,
        "dead_letter_count": counters.dead_letter_count,
        "redaction_count": sum(counters.redactions_by_kind.values()),
        "generation": progress.generation,
        "generation_change_count": counters.generation_change_count,
        "lost_bytes_at_least": counters.lost_bytes,
        "resumed_from_offset": progress.resumed_from_offset,
        "run_event_count": progress.run_event_count,
        "run_row_count": progress.run_row_count,
        "run_dead_letter_count": progress.run_dead_letter_count,
        "run_bytes": progress.run_bytes,
        "run_commit_count": progress.commit_count,
        "events_per_second": round(progress.events_per_second, 1),
        "elapsed_seconds": round(progress.elapsed_seconds, 3),
    }


def final_metadata(progress: Progress) -> dict[str, Any]:
    """Progress, and what is worth a table: kinds of events and of secrets."""
    metadata = progress_metadata(progress)
    metadata["events_by_kind"] = dict(progress.counters.events_by_kind)
    if progress.counters.redactions_by_kind:
        metadata["redactions_by_kind"] = dict(progress.counters.redactions_by_kind)
    return metadata


class ObservationReporter:
    """Reports a file's progress while its run goes on, at most every so often.

    Dagster's partition page shows only observations that are newer than a
    materialisation, so the stage's own shows nothing during a file's first run.
    The external asset `telemetry_file` gets the same reports, the first of a new
    file as a materialisation (the file is there), so its page shows every run's.
    """

    def __init__(
        self,
        context: dg.OutputContext,
        *,
        interval_seconds: float,
        report_start: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Report to the run of `context`.

        Args:
            context: The output's.
            interval_seconds: Least time between two reports of one file. Each costs
                two writes to Dagster's event log.
            report_start: Whether the first commit of a file is reported at once.
            clock: Gives seconds.
        """
        self._context = context
        self._interval_seconds = interval_seconds
        self._report_start = report_start
        self._clock = clock
        self._partition: str | None = None
        self._reported_at = 0.0
        self._is_reported = False

    def __call__(self, progress: Progress) -> None:
        """Report `progress` if it is time."""
        now = self._clock()
        if progress.partition != self._partition:
            self._partition = progress.partition
            self._reported_at = now
            self._is_reported = False
            if not self._report_start:
                return
        elif now - self._reported_at < self._interval_seconds:
            return
        self._reported_at = now
        reached("report.before")
        self.observe(progress)
        reached("report.after")

    def finish(self, progress: Progress) -> None:
        """Correct the last report of a file, which else would stand for ever.

        The stage itself is materialised instead.
        """
        if self._is_reported and progress.partition == self._partition:
            self._observe_source(progress, progress_metadata(progress))

    def observe(self, progress: Progress) -> None:
        """Write the observations now."""
        metadata = progress_metadata(progress)
        self._context.log_event(
            dg.AssetObservation(
                asset_key=self._context.asset_key,
                partition=progress.partition,
                metadata=metadata,
            )
        )
        self._observe_source(progress, metadata)

    def _observe_source(self, progress: Progress, metadata: dict[str, Any]) -> None:
        # A partition's page shows only what is newer than a materialisation.
        is_new = not self._is_reported and progress.resumed_from_offset == 0
        kind = dg.AssetMaterialization if is_new else dg.AssetObservation
        self._is_reported = True
        self._context.log_event(
            kind(
                asset_key=SOURCE_KEY,
                partition=progress.partition,
                metadata={"stage": progress.stage, **metadata},
            )
        )
