"""Ending the runs whose processes died with everything around them."""

from __future__ import annotations

import dagster as dg

from learning_pipeline.defs.liveness import names_its_process, process_is_alive
from learning_pipeline.defs.under_way import UNFINISHED


def settle_lost_runs(
    instance: dg.DagsterInstance, *, only_tagged: bool = False
) -> list[str]:
    """End every run that was under way when its process tree was killed.

    Dagster's default launcher cannot tell that a run's process is gone, so such a
    run stays "started" for ever. Unless `only_tagged`, to be called while no launcher
    of this instance is alive. Runs in the queue stay: the daemon starts them. A run of
    another process that lives, such as of `learning-pipeline process`, stays too.

    Args:
        instance: Dagster's.
        only_tagged: Only runs that name their process; the others may be alive
            under a launcher of this instance.

    Returns:
        The runs that were ended. Those that failed are retried by the daemon, where
        retries are on.
    """
    settled = []
    statuses = [status for status in UNFINISHED if status.value != "QUEUED"]
    for record in instance.get_run_records(dg.RunsFilter(statuses=statuses)):
        run = record.dagster_run
        if process_is_alive(run) or (only_tagged and not names_its_process(run)):
            continue
        message = "Its process died; ended by learning-pipeline when it started."
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, message=message)
        else:
            instance.report_run_failed(run, message=message)
        settled.append(run.run_id)
    return settled
