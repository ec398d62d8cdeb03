"""What became of the files of one step, and how Dagster is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.execution.context.metadata_logging import (
    AssetMetadataHandle,
    OutputMetadataAccumulator,
)

from learning_pipeline.defs.reporting import final_metadata
from learning_pipeline.errors import (
    DependencyUnavailableError,
    IndexBusyError,
    LearningPipelineError,
)
from learning_pipeline.model import Progress
from learning_pipeline.stages.names import UPSTREAM_OF
from learning_pipeline.store import Claim

MAX_FAILURES_SHOWN = 10

WAITING = (DependencyUnavailableError, IndexBusyError)
"""What is no failure of a run: what was learned is kept, the rest is caught up with."""

WAITS_BECAUSE = "waits_because"
"""Metadata: why a file was not taken over to its end, which is no failure."""

_MAX_RETRIES_TAG = "dagster/max_retries"


@dataclass
class StepOutcome:
    """What became of the files of one step.

    Attributes:
        finished: How far those are that did not fail, by partition key.
        claims: The step's claims, to be synced.
        failures: Why the others failed.
        waiting: Why files wait for something, which is no failure of theirs.
        waiting_for: What they wait for; the others of the step need not try.
        described: What else there is to tell of finished ones.
    """

    finished: dict[str, Progress] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    failures: dict[str, LearningPipelineError] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    waiting_for: LearningPipelineError | None = None
    described: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def wait(self, partition: str, error: LearningPipelineError) -> None:
        """Record that a file waits for something: the next run goes on with it."""
        self.waiting[partition] = str(error)
        self.waiting_for = error

    def conclude(self, context: dg.OutputContext, log: Any) -> None:
        """Give every finished file its metadata.

        Raises:
            dagster.Failure: Files failed; the finished ones are materialised.
        """
        if self.waiting:
            first = next(iter(self.waiting.values()))
            log.warning("files_wait", file_count=len(self.waiting), because=first)
        if not self.failures:
            self._add_metadata(context)
            return
        total = len(self.failures) + len(self.finished)
        self.materialize_finished(context)
        retryable = any(error.retryable for error in self.failures.values())
        if not retryable:
            forbid_retries(context)
        shown = list(self.failures.items())[:MAX_FAILURES_SHOWN]
        lines = [f"- {partition}: {error}" for partition, error in shown]
        more = len(self.failures) - len(shown)
        if more:
            lines.append(f"- and {more} more, each with a line in the log")
        lines += _left_out(context.asset_key.to_user_string())
        log.error("run_failed", failed_count=len(self.failures), file_count=total)
        raise dg.Failure(
            description=(
                f"{len(self.failures)} of {total} files failed; the others are "
                "done and materialised, what was committed stays:\n" + "\n".join(lines)
            ),
            metadata={
                "failures": {
                    partition: str(error) for partition, error in self.failures.items()
                }
            },
            allow_retries=retryable,
        )

    def materialize_finished(self, context: dg.OutputContext) -> None:
        """Record them one by one: a failing step gives none of them a record."""
        for partition in self.finished:
            context.log_event(
                dg.AssetMaterialization(
                    asset_key=context.asset_key,
                    partition=partition,
                    metadata=self._metadata(partition),
                )
            )
        self.finished.clear()

    def _metadata(self, partition: str) -> dict[str, Any]:
        # The UI shows them in this order: what is only of this stage comes first.
        metadata: dict[str, Any] = {}
        if partition in self.waiting:
            metadata[WAITS_BECAUSE] = self.waiting[partition]
        metadata |= self.described.get(partition, {})
        progress = self.finished.get(partition)
        return metadata if progress is None else metadata | final_metadata(progress)

    def _add_metadata(self, context: dg.OutputContext) -> None:
        # What `add_asset_metadata` does, for all partitions at once: that reads every
        # dynamic partition from the database for each call, 14 ms at 2,000 of them.
        step = context.step_context
        step._metadata_accumulator = OutputMetadataAccumulator(  # noqa: SLF001
            per_output_metadata={
                **step._metadata_accumulator.per_output_metadata,  # noqa: SLF001
                **{
                    AssetMetadataHandle(
                        asset_key=context.asset_key, partition_key=partition
                    ): self._metadata(partition)
                    for partition in {**self.finished, **self.waiting}
                },
            }
        )


def _left_out(stage: str) -> list[str]:
    following: list[str] = []
    for name, upstream in UPSTREAM_OF.items():
        if upstream in {stage, *following}:
            following.append(name)
    if not following:
        return []
    what = (
        f"What follows ({', '.join(following)}) is left out of this run by Dagster: "
        "the sensor asks for it, or run `learning-pipeline process`"
    )
    return [what]


def forbid_retries(context: dg.OutputContext) -> None:
    """Have nobody try the run again."""
    # `allow_retries=False` stops only the step's own policy, not the run's retries.
    context.step_context.instance.add_run_tags(context.run_id, {_MAX_RETRIES_TAG: "0"})
