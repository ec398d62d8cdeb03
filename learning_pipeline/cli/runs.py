"""Executing runs of the job `learn` in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import click
import dagster as dg
from dagster import DagsterExecutionInterruptedError

from learning_pipeline.cli.rounds import PassTracker
from learning_pipeline.defs import build_definitions
from learning_pipeline.defs.checks import MAX_FILES_CHECKED
from learning_pipeline.defs.liveness import PROCESS_TAG, process_tag
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
from learning_pipeline.store import free_space_guard

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
    """

    failures: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)


def execute_runs(
    settings: Settings,
    instance: dg.DagsterInstance,
    lags: Mapping[str, int],
    listener: ProgressListener,
) -> RunOutcome:
    """Run `learn` over files up to their ends, one run after the other.

    Neighbours share a run. One reads at most `MAX_BYTES_PER_RUN` of a file, so the
    runs come in rounds: in each, every file that is not read to its end gets a turn.

    Args:
        settings: Of this process.
        instance: Dagster's.
        lags: About how many bytes there are to read, by partition key.
        listener: Called with the progress of each file.

    Raises:
        click.Abort: Interrupted; stopped at a batch boundary.
    """
    settle_lost_runs(instance, only_tagged=True)
    tracker = PassTracker(listener)
    job = build_definitions([tracker]).resolve_job_def("learn")
    known = known_keys(instance)
    there = frozenset(known)
    new = [key for key in lags if key not in there]
    add_keys(instance, new)
    known += new
    require_free_space = free_space_guard(settings)
    # The caller sees what failed; nobody else is to start it again.
    own = {PROCESS_TAG: process_tag(), "dagster/max_retries": "0"}
    outcome = RunOutcome()
    while lags:
        groups = share_runs(
            lags,
            known,
            max_files=settings.max_files_per_run,
            lags=lags,
            max_bytes=settings.max_bytes_per_run,
        )
        for number, group in enumerate(groups):
            try:
                require_free_space()
            except StateDiskFullError as error:
                left = [key for each in groups[number:] for key in each]
                outcome.failures.update(dict.fromkeys(left, str(error)))
                return outcome
            try:
                result = job.execute_in_process(
                    instance=instance,
                    run_config=_QUIET,
                    tags={**range_tags(group), **own},
                    raise_on_error=False,
                )
            except (DagsterExecutionInterruptedError, KeyboardInterrupt):
                raise _interrupted() from None
            if _was_interrupted(result):
                raise _interrupted()
            outcome.failures.update(_failures(result, tracker.unfinished(group)))
            # In a small fleet every run checks all files.
            of = "" if len(known) <= MAX_FILES_CHECKED else f" of {group[0]} …"
            _collect_warnings(result, of, outcome)
        again, stuck = tracker.next_round()
        outcome.failures.update(dict.fromkeys(stuck, _STOOD_STILL))
        lags = {key: left for key, left in again.items() if key not in outcome.failures}
    return outcome


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


def _failures(
    result: dg.ExecuteInProcessResult, unfinished: Sequence[str]
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
        failures.update(dict.fromkeys(unfinished, message))
    if not result.success and not failures:
        failures.update(dict.fromkeys(unfinished, "the run failed; see its log"))
    return failures
