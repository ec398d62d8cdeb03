"""`learn_hourly`: the same look at the files as the sensor's, by the clock."""

from datetime import UTC, datetime

import dagster as dg

from learning_pipeline.defs.jobs import LEARN
from learning_pipeline.defs.sensors import plan_runs, run_requests
from learning_pipeline.errors import StateDiskFullError
from learning_pipeline.settings import load_settings
from learning_pipeline.store import free_space_guard

MAX_RUNS_AN_HOUR = 500
MAX_FILES_AN_HOUR = 100_000
"""More than the sensor's: the next look is an hour away."""


@dg.schedule(
    job_name=LEARN,
    cron_schedule="0 * * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description=(
        "Asks runs for all files with unread records, once an hour. Off by default: "
        "turn it on in place of the sensor, or beside it."
    ),
)
def learn_hourly(
    context: dg.ScheduleEvaluationContext,
) -> list[dg.RunRequest] | dg.SkipReason:
    """Ask for what is unread and has no run under way."""
    settings = load_settings()
    try:
        free_space_guard(settings)()
    except StateDiskFullError as error:
        return dg.SkipReason(f"no runs are asked for: {error}")
    plan = plan_runs(
        context.instance,
        settings,
        {},
        now=datetime.now(UTC),
        max_runs=MAX_RUNS_AN_HOUR,
        max_files=MAX_FILES_AN_HOUR,
    )
    if not plan.groups:
        return dg.SkipReason("no file has unread records without a run under way")
    return run_requests(plan)
