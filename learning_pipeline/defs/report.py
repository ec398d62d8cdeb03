"""`learning_report`: everything at a glance, by job and by the hour."""

from datetime import UTC, datetime
from typing import Final

import dagster as dg

from learning_pipeline.defs.assets import STAGE_ASSETS
from learning_pipeline.defs.dataset import finetuning_dataset
from learning_pipeline.defs.report_metadata import (
    EXAMPLE_COUNT,
    MARK,
    Earlier,
    report_metadata,
)
from learning_pipeline.errors import LearningPipelineError
from learning_pipeline.settings import load_settings
from learning_pipeline.stages.fleet import look_at_fleet
from learning_pipeline.store import Store
from learning_pipeline.store.report_counts import state_mark

REPORT_KEY: Final = dg.AssetKey("learning_report")


@dg.asset(
    key=REPORT_KEY,
    deps=list(STAGE_ASSETS),
    group_name="learning",
    kinds={"report"},
)
def learning_report(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Everything at a glance, in the metadata: figures, tables and charts.

    Progress of the files, patterns by kind, size and growth of the dataset, what could
    not be processed, lag, services, how well the agents do, and proposals. It is made
    of the state database alone, so it comes out whatever else is down.
    """
    # They calculate and draw: seconds to import, which no other run should wait for.
    from learning_pipeline.learning.report.charts import draw_charts  # noqa: PLC0415
    from learning_pipeline.learning.report.gathering import gather  # noqa: PLC0415

    settings = load_settings()
    before = earlier_report(context.instance)
    try:
        with Store(settings.resolved_store_url) as store:
            fleet = look_at_fleet(store, settings)
            facts = gather(store, settings, fleet, now=datetime.now(UTC))
    except LearningPipelineError as error:
        raise dg.Failure(
            description=str(error), allow_retries=error.retryable
        ) from error
    if fleet.problem is not None:
        context.log.warning("the report is without files: %s", fleet.problem)
    return dg.MaterializeResult(
        metadata=report_metadata(facts, draw_charts(facts), before)
    )


def earlier_report(instance: dg.DagsterInstance) -> Earlier | None:
    """What the last report said; None before there is one."""
    event = instance.get_latest_materialization_event(REPORT_KEY)
    materialization = event and event.asset_materialization
    if event is None or materialization is None:
        return None
    values = {name: each.value for name, each in materialization.metadata.items()}
    count, mark = values.get(EXAMPLE_COUNT), values.get(MARK)
    at = datetime.fromtimestamp(event.timestamp, UTC)
    return Earlier(
        at=at.isoformat(timespec="seconds"),
        mark=mark if isinstance(mark, str) else "",
        example_count=count if isinstance(count, int) else None,
    )


report = dg.define_asset_job(
    "report",
    selection=dg.AssetSelection.assets(finetuning_dataset, learning_report),
    executor_def=dg.in_process_executor,
    description="The dataset as it is now, and everything at a glance.",
)


@dg.schedule(
    job=report,
    cron_schedule="0 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="A report every hour in which something was committed.",
)
def report_hourly(
    context: dg.ScheduleEvaluationContext,
) -> dg.RunRequest | dg.SkipReason:
    """Ask for a report, unless it would say what the last one says."""
    with Store(load_settings().resolved_store_url) as store:
        mark = state_mark(store)
    if not mark:
        return dg.SkipReason("nothing was committed yet")
    before = earlier_report(context.instance)
    if before is None or before.mark != mark:
        return dg.RunRequest()
    return dg.SkipReason(f"nothing was committed since the report of {before.at}")
