"""The assets of this project, as declarations: what is read, what is made of it."""

import warnings

import dagster as dg
from dagster import BetaWarning, PreviewWarning

from learning_pipeline.defs.partitions import telemetry_files
from learning_pipeline.settings import load_settings
from learning_pipeline.stages import StageOutput, TelemetryStream, TransformSpec
from learning_pipeline.store import patterns

IO_MANAGER_KEY = "checkpoint_io_manager"

_settings = load_settings()

# Backfill policies: used on purpose, with Dagster's version bounded.
warnings.filterwarnings("ignore", category=BetaWarning)
warnings.filterwarnings("ignore", category=PreviewWarning)

shared_runs = dg.BackfillPolicy.multi_run(
    max_partitions_per_run=_settings.max_files_per_run
)
"""Backfills start a run per so many files, not per file."""

telemetry_file = dg.AssetSpec(
    "telemetry_file",
    description=(
        "One partition per append-only JSONL file below the telemetry root, written "
        "by agents. Observed: size, and how far each stage has read."
    ),
    partitions_def=telemetry_files,
    metadata={"dagster/io_manager_key": IO_MANAGER_KEY},
    kinds={"json"},
    group_name="learning",
)


@dg.asset(
    partitions_def=telemetry_files,
    io_manager_key=IO_MANAGER_KEY,
    backfill_policy=shared_runs,
    group_name="learning",
    kinds={"sql"},
)
def interaction_patterns(telemetry_file: TelemetryStream) -> StageOutput:
    """One row per task done, error resolved or question answered well.

    Rows and the offset behind them are committed together, so a rerun goes on from
    the byte where the last commit stood. Materialise a partition as often as you
    like: nothing is lost, nothing is there twice.
    """
    settings = load_settings()
    extraction = TransformSpec(
        "learning_pipeline.extraction:build_extractor",
        {
            "dead_letter_raw_bytes": settings.dead_letter_raw_bytes,
            "extractor_timeout_seconds": settings.extractor_timeout_seconds,
            "extractor_memory_bytes": settings.extractor_memory_bytes,
        },
    )
    return telemetry_file.batches(extraction, into=patterns)
