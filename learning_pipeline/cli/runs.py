"""Executing runs of the job `learn` in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import click
import dagster as dg
from dagster import DagsterExecutionInterruptedError

from learning_pipeline.cli.rounds import PassTracker
from learning_pipeline.defs import build_definitions
from learning_pipeline.defs.checks import MAX_FILES_CHECKED
from learning_pipeline.defs.liveness import PROCESS_TAG, process_tag
from learning_pipeline.defs.outcome import WAITS_BECAUSE
from learning_pipeline.defs.partitions import (
    add_keys,
    known_keys,
    range_tags,
    share_runs,
)
from learning_pipeline.defs.reporting import ProgressListener
from learning_pipeline.defs.settling import settle_lost_runs
from learning_pipeline.errors import StateDiskFullError
from learning_pipeline.settings import Settings
from learning_pipeline.stages.names import UPSTREAM_OF, stages_to_learn
from learning_pipeline.store import Store, free_space_guard
from learning_pipeline.store.behind import partitions_behind

# Dagster's own console log; ours, and the progress, are on the terminal already.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_STOOD_STILL = (
    "stopped before its end twice at the same byte; run again, and see the log of the "
    "run if it stops there again"
)


@dataclass
class RunOutcome:
    """What became of the files.

    Attributes:
        failures: Why each file that failed did, by partition key.
        warnings: Asset checks that failed, as they were last evaluated.
        waiting: Files of which something waits for a dependency.
    """

    failures: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)


def execute_runs(
    settings: Settings,
    instance: dg.DagsterInstance,
    lags: Mapping[str, int],
    listener: ProgressListener,
) -> RunOutcome:
    """Run `learn` over files up to their ends, one run after the other.

    Neighbours share a run. One reads at most `MAX_BYTES_PER_RUN` of a file, so the
    runs come in rounds: in each, every file that is not read to its end gets a turn.
    A run in which a file fails leaves what is derived of the others: that comes last.

    Args:
        settings: Of this process.
        instance: Dagster's.
        lags: About how many bytes there are to read, by partition key.
        listener: Called with the progress of each file.

    Raises:
        click.Abort: Interrupted; stopped at a batch boundary.
    """
    settle_lost_runs(instance, only_tagged=True)
    runs = _Runs(settings, instance, listener)
    wanted = list(lags)
    runs.add_keys(wanted)
    while lags and runs.execute(lags):
        lags = runs.left()
    behind = runs.behind(wanted)
    if behind:
        runs.execute(behind, stages=runs.takers)
    return runs.outcome


def execute_report(instance: dg.DagsterInstance) -> str | None:
    """Materialise dataset and report, for the UI to show; why not, if that failed."""
    job = build_definitions().resolve_job_def("report")
    result = job.execute_in_process(
        instance=instance,
        run_config=_QUIET,
        tags={PROCESS_TAG: process_tag()},
        raise_on_error=False,
    )
    failures = _failures(result, lambda stage: [stage])
    return next(iter(failures.values()), None)


class _Runs:
    """The runs of one pass.

    Attributes:
        outcome: What became of the files so far.
        takers: The stages that take over what others have committed.
    """

    def __init__(
        self,
        settings: Settings,
        instance: dg.DagsterInstance,
        listener: ProgressListener,
    ) -> None:
        self._settings = settings
        self._instance = instance
        self._tracker = PassTracker(listener)
        self._job = build_definitions([self._tracker]).resolve_job_def("learn")
        self._known = known_keys(instance)
        self.takers = [
            stage for stage in stages_to_learn(settings) if stage in UPSTREAM_OF
        ]
        self.outcome = RunOutcome()

    def add_keys(self, keys: Sequence[str]) -> None:
        """Make partitions of those that are none yet."""
        there = frozenset(self._known)
        new = [key for key in keys if key not in there]
        add_keys(self._instance, new)
        self._known += new

    def execute(
        self, lags: Mapping[str, int], *, stages: Sequence[str] | None = None
    ) -> bool:
        """One round of runs over files; whether there is space for another.

        Args:
            lags: By partition key.
            stages: Only these; None: all.
        """
        groups = share_runs(
            lags,
            self._known,
            max_files=self._settings.max_files_per_run,
            lags=lags,
            max_bytes=self._settings.max_bytes_per_run,
        )
        require_free_space = free_space_guard(self._settings)
        for number, group in enumerate(groups):
            try:
                require_free_space()
            except StateDiskFullError as error:
                left = [key for each in groups[number:] for key in each]
                self.outcome.failures.update(dict.fromkeys(left, str(error)))
                return False
            self._execute(group, stages)
        return True

    def left(self) -> dict[str, int]:
        """The bytes left of each file that needs another round."""
        again, stuck = self._tracker.next_round()
        self.outcome.failures.update(dict.fromkeys(stuck, _STOOD_STILL))
        failures = self.outcome.failures
        return {key: left for key, left in again.items() if key not in failures}

    def behind(self, wanted: Sequence[str]) -> dict[str, int]:
        """What is to be taken over of files still, and need not wait."""
        chosen = frozenset(wanted) - self.outcome.waiting
        with Store(self._settings.resolved_store_url) as store:
            return {
                each.partition: each.lag_bytes
                for stage in self.takers
                for each in partitions_behind(store, stage, UPSTREAM_OF[stage])
                if each.partition in chosen
            }

    def _execute(self, group: Sequence[str], stages: Sequence[str] | None) -> None:
        # The caller sees what failed; nobody else is to start it again.
        own = {PROCESS_TAG: process_tag(), "dagster/max_retries": "0"}
        try:
            result = self._job.execute_in_process(
                instance=self._instance,
                run_config=_QUIET,
                tags={**range_tags(group), **own},
                raise_on_error=False,
                asset_selection=(
                    None if stages is None else list(map(dg.AssetKey, stages))
                ),
            )
        except (DagsterExecutionInterruptedError, KeyboardInterrupt):
            raise _interrupted() from None
        if _was_interrupted(result):
            raise _interrupted()
        self.outcome.failures.update(
            _failures(result, partial(self._tracker.unfinished, group))
        )
        # In a small fleet every run checks all files.
        of = "" if len(self._known) <= MAX_FILES_CHECKED else f" of {group[0]} …"
        _collect_warnings(result, of, self.outcome)


def _interrupted() -> click.Abort:
    click.echo(
        "Interrupted: everything up to the last commit is kept, the next run goes "
        "on there.",
        err=True,
    )
    return click.Abort()


def _was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    for event in result.all_events:
        data = event.step_failure_data if event.is_step_failure else None
        error = data.error if data is not None else None
        if error is not None and DagsterExecutionInterruptedError.__name__ in {
            error.cls_name,
            error.cause.cls_name if error.cause else None,
        }:
            return True
    return False


def _collect_warnings(
    result: dg.ExecuteInProcessResult, of: str, outcome: RunOutcome
) -> None:
    for evaluation in result.get_asset_check_evaluations():
        name = f"check {evaluation.check_name}{of}"
        outcome.warnings.pop(name, None)
        if not evaluation.passed:
            outcome.warnings[name] = str(evaluation.description)
    for event in result.all_events:
        if not event.is_step_materialization:
            continue
        materialization = event.step_materialization_data.materialization
        why = materialization.metadata.get(WAITS_BECAUSE)
        if why is not None and materialization.partition is not None:
            outcome.waiting.add(materialization.partition)
            outcome.warnings[materialization.asset_key.to_user_string()] = str(
                why.value
            )


def _failures(
    result: dg.ExecuteInProcessResult, unfinished: Callable[[str], Sequence[str]]
) -> dict[str, str]:
    failures: dict[str, str] = {}
    for event in result.all_events:
        if not event.is_step_failure:
            continue
        failure = event.step_failure_data.user_failure_data
        if failure is not None and "failures" in failure.metadata:
            data = failure.metadata["failures"].value
            if isinstance(data, dict):
                failures.update(data)
                continue
        error = event.step_failure_data.error
        cause = error.cause if error is not None and error.cause else error
        message = cause.message.strip() if cause is not None else "failed"
        if failure is not None and failure.description:
            # Ours; Dagster's own puts the name of a class before it.
            message = failure.description
        failures.update(dict.fromkeys(unfinished(event.step_key or ""), message))
    if not result.success and not failures:
        failures.update(dict.fromkeys(unfinished(""), "the run failed; see its log"))
    return failures
