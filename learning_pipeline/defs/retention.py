"""The job `retain`: rotated files that every stage has passed are let go of."""

from typing import Literal

import dagster as dg

from learning_pipeline import logs
from learning_pipeline.settings import load_settings
from learning_pipeline.stages.retention import (
    Decision,
    Retention,
    RetentionPolicy,
)
from learning_pipeline.store import Store

MAX_SHOWN = 1_000
"""Rows of the table in the UI; the rest is counted."""


class RetainConfig(dg.Config):
    """What `retain` does; without a value, as the settings say."""

    execute: bool = False
    """Do it; else only say what would be done."""

    action: Literal["", "compress", "delete"] = ""
    """What becomes of the files; else RETAIN_ACTION."""

    older_than_days: float | None = None
    """Only files not written to for so long; else RETAIN_AFTER_DAYS."""


@dg.op(out=dg.Out(dg.Nothing))
def retain_files(context: dg.OpExecutionContext, config: RetainConfig) -> None:
    """Compress or delete rotated files; the run's metadata says which, and why not."""
    settings = load_settings()
    after_days = config.older_than_days
    policy = RetentionPolicy(
        action=config.action or settings.retain_action,
        older_than_days=settings.retain_after_days
        if after_days is None
        else after_days,
        execute=config.execute,
    )
    with Store(settings.resolved_store_url) as store:
        decisions = list(
            Retention(
                store,
                telemetry_root=settings.telemetry_dir,
                patterns=settings.patterns,
                policy=policy,
                log=logs.get_logger(),
            ).run()
        )
    context.add_output_metadata(_metadata(decisions, policy))
    failed = [each for each in decisions if each.outcome == "failed"]
    if failed:
        raise dg.Failure(
            description="; ".join(each.reason for each in failed[:10]),
            metadata=_metadata(decisions, policy),
            allow_retries=False,
        )


def _metadata(
    decisions: list[Decision], policy: RetentionPolicy
) -> dict[str, dg.MetadataValue]:
    # What was done, and what failed, before what was kept.
    ordered = sorted(decisions, key=lambda each: each.outcome == "kept")
    return {
        "executed": dg.MetadataValue.bool(policy.execute),
        "action": dg.MetadataValue.text(policy.action),
        "older_than_days": dg.MetadataValue.float(policy.older_than_days),
        "file_count": dg.MetadataValue.int(len(decisions)),
        "kept_count": dg.MetadataValue.int(
            sum(each.outcome == "kept" for each in decisions)
        ),
        "freed_bytes": dg.MetadataValue.int(
            sum(each.freed_bytes for each in decisions)
        ),
        "files": dg.MetadataValue.table(
            [_row(each) for each in ordered[:MAX_SHOWN]], schema=_SCHEMA
        ),
    }


_SCHEMA = dg.TableSchema(
    [
        dg.TableColumn("file"),
        dg.TableColumn("outcome"),
        dg.TableColumn("why"),
        dg.TableColumn("generation", "int"),
        dg.TableColumn("size_bytes", "int"),
        dg.TableColumn("days_old", "float"),
    ]
)


def _row(decision: Decision) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "file": decision.file,
            "outcome": decision.outcome,
            "why": decision.reason,
            "generation": decision.generation,
            "size_bytes": decision.size_bytes,
            "days_old": round(decision.age_days, 1),
        }
    )


@dg.job(executor_def=dg.in_process_executor)
def retain() -> None:
    """Compress or delete rotated files that every stage has passed.

    Only says what it would do unless its run config says `execute: true`:
    `ops: {retain_files: {config: {execute: true}}}`.
    """
    retain_files()


retain_daily = dg.ScheduleDefinition(
    name="retain_daily",
    job=retain,
    cron_schedule="30 3 * * *",
    run_config=dg.RunConfig({"retain_files": RetainConfig(execute=True)}),
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description=(
        "Compresses or deletes, as RETAIN_ACTION and RETAIN_AFTER_DAYS say, once a "
        "day. Off by default."
    ),
)
