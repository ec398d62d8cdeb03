"""The assets of this project, as declarations: what is read, what is made of it."""

import warnings
from collections.abc import Callable
from typing import Any

import dagster as dg
from dagster import BetaWarning, PreviewWarning

from learning_pipeline.defs.describing import (
    describe_examples,
    describe_index,
    describe_metrics,
    describe_proposals,
)
from learning_pipeline.defs.partitions import telemetry_files
from learning_pipeline.learning.index.stage import indexing
from learning_pipeline.settings import load_settings
from learning_pipeline.stages import (
    DerivedOutput,
    StageOutput,
    TelemetryStream,
    TransformSpec,
    UpstreamRows,
)
from learning_pipeline.store import patterns
from learning_pipeline.store.schema import measurements, signals

IO_MANAGER_KEY = "checkpoint_io_manager"

_settings = load_settings()

# Backfill policies: used on purpose, with Dagster's version bounded.
warnings.filterwarnings("ignore", category=BetaWarning)
warnings.filterwarnings("ignore", category=PreviewWarning)

shared_runs = dg.BackfillPolicy.multi_run(
    max_partitions_per_run=_settings.max_files_per_run
)
"""Backfills start a run per so many files, not per file."""


def _stage_of(kind: str) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """An asset with a checkpoint per telemetry file; `kind` is where its rows go."""
    return dg.asset(
        partitions_def=telemetry_files,
        io_manager_key=IO_MANAGER_KEY,
        backfill_policy=shared_runs,
        group_name="learning",
        kinds={kind},
    )


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


@_stage_of("sql")
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


@_stage_of("sql")
def finetuning_examples(interaction_patterns: UpstreamRows) -> DerivedOutput:
    """One row per quality pattern: an example, or a duplicate of one.

    Of each content there is one example over all files for ever: the one that was
    committed first. When it is taken back, by a rewind, a duplicate takes its place.
    """
    return interaction_patterns.examples(describe=describe_examples)


@_stage_of("qdrant")
def pattern_index(finetuning_examples: UpstreamRows) -> DerivedOutput:
    """One point per example, to be searched by words and, if configured, by meaning.

    The checkpoint moves when the index has acknowledged what was written. While a
    service that the index needs is down, files wait; they catch up by themselves.
    """
    return finetuning_examples.indexed(
        indexing(load_settings()), describe=describe_index
    )


@_stage_of("sql")
def performance_metrics(telemetry_file: TelemetryStream) -> StageOutput:
    """One row per event of which something was measured.

    Success, iterations, latency, resolution time and tokens, where the event states
    them. `learning-pipeline metrics` and `TelemetryFrame` add them up.
    """
    measuring = TransformSpec("learning_pipeline.learning.metrics:build_transform", {})
    return telemetry_file.batches(
        measuring, into=measurements, describe=describe_metrics
    )


@_stage_of("sql")
def optimization_proposals(telemetry_file: TelemetryStream) -> StageOutput:
    """One row per sign that something could be tuned: limits hit, timeouts, failures.

    `learning-pipeline proposals list` says what follows from them.
    """
    signalling = TransformSpec(
        "learning_pipeline.learning.proposals:build_transform", {}
    )
    return telemetry_file.batches(signalling, into=signals, describe=describe_proposals)


STAGE_ASSETS = (
    interaction_patterns,
    finetuning_examples,
    pattern_index,
    performance_metrics,
    optimization_proposals,
)
"""Those that `learn` materialises, each with a checkpoint per file."""
