"""`learn_hourly`: the same look at the files as the sensor's, by the clock."""

from datetime import UTC, datetime

import dagster as dg

from learning_pipeline.defs.jobs import learn
from learning_pipeline.defs.sensors import plan_runs, run_requests
from learning_pipeline.settings import load_settings


@dg.schedule(
    job=learn,
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
    plan = plan_runs(context.instance, load_settings(), {}, now=datetime.now(UTC))
    if not plan.groups:
        return dg.SkipReason("no file has unread records without a run under way")
    return run_requests(plan)
