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

    The stage's own partition page shows only what is newer than its latest
    materialisation, so nothing during a file's first run; the page of the external
    asset `telemetry_file` has no such limit, and gets the same observations.
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

    def __call__(self, progress: Progress) -> None:
        """Report `progress` if it is time."""
        now = self._clock()
        if progress.partition != self._partition:
            self._partition = progress.partition
            self._reported_at = now
            if not self._report_start:
                return
        elif now - self._reported_at < self._interval_seconds:
            return
        self._reported_at = now
        reached("report.before")
        self.observe(progress)
        reached("report.after")

    def observe(self, progress: Progress) -> None:
        """Write the observations now."""
        metadata = progress_metadata(progress)
        for asset_key, entries in (
            (self._context.asset_key, metadata),
            (SOURCE_KEY, {"stage": progress.stage, **metadata}),
        ):
            self._context.log_event(
                dg.AssetObservation(
                    asset_key=asset_key,
                    partition=progress.partition,
                    metadata=entries,
                )
            )
