"""Executing runs of the job `learn` in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import click
import dagster as dg
from dagster import DagsterExecutionInterruptedError

from learning_pipeline.defs import build_definitions
from learning_pipeline.defs.liveness import PROCESS_TAG, process_tag
from learning_pipeline.defs.partitions import (
    add_keys,
    known_keys,
    range_tags,
    share_runs,
)
from learning_pipeline.defs.reporting import ProgressListener
from learning_pipeline.defs.settling import settle_lost_runs
from learning_pipeline.settings import Settings

# Dagster's own console log; ours, and the progress, are on the terminal already.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class RunOutcome:
    """What became of the files.

    Attributes:
        failures: Why each file that failed did, by partition key.
        warnings: Asset checks that failed.
    """

    failures: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def execute_runs(
    settings: Settings,
    instance: dg.DagsterInstance,
    keys: Sequence[str],
    listener: ProgressListener,
) -> RunOutcome:
    """Run `learn` over `keys`, neighbours sharing a run, one run after the other.

    Raises:
        click.Abort: Interrupted; stopped at a batch boundary.
    """
    settle_lost_runs(instance, only_tagged=True)
    job = build_definitions([listener]).resolve_job_def("learn")
    known = known_keys(instance)
    there = frozenset(known)
    new = [key for key in keys if key not in there]
    add_keys(instance, new)
    # The caller sees what failed; nobody else is to start it again.
    own = {PROCESS_TAG: process_tag(), "dagster/max_retries": "0"}
    outcome = RunOutcome()
    for group in share_runs(keys, [*known, *new], max_files=settings.max_files_per_run):
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
        _collect(result, group, outcome)
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


def _collect(
    result: dg.ExecuteInProcessResult, group: Sequence[str], outcome: RunOutcome
) -> None:
    for evaluation in result.get_asset_check_evaluations():
        if not evaluation.passed:
            outcome.warnings.append(
                f"check {evaluation.check_name}: {evaluation.description}"
            )
    for event in result.all_events:
        if not event.is_step_failure:
            continue
        failure = event.step_failure_data.user_failure_data
        if failure is not None and "failures" in failure.metadata:
            data = failure.metadata["failures"].value
            if isinstance(data, dict):
                outcome.failures.update(data)
                continue
        error = event.step_failure_data.error
        cause = error.cause if error is not None and error.cause else error
        message = cause.message.strip() if cause is not None else "failed"
        outcome.failures.update(dict.fromkeys(group, message))
    if not result.success and not outcome.failures:
        outcome.failures.update(dict.fromkeys(group, "the run failed; see its log"))
