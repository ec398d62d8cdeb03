"""Everything that imports Dagster; `build_definitions` wires it."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from learning_pipeline import logs
from learning_pipeline.defs.assets import (
    IO_MANAGER_KEY,
    STAGE_ASSETS,
    interaction_patterns,
    telemetry_file,
)
from learning_pipeline.defs.checks import checkpoint_checks
from learning_pipeline.defs.dataset import finetuning_dataset
from learning_pipeline.defs.io_manager import checkpoint_io_manager
from learning_pipeline.defs.jobs import build_learn
from learning_pipeline.defs.learned_checks import learned_checks
from learning_pipeline.defs.partitions import telemetry_files
from learning_pipeline.defs.report import learning_report, report, report_hourly
from learning_pipeline.defs.reporting import ProgressListener
from learning_pipeline.defs.retention import retain, retain_daily
from learning_pipeline.defs.schedules import learn_hourly
from learning_pipeline.defs.search import search
from learning_pipeline.defs.sensors import build_sensor
from learning_pipeline.settings import load_settings
from learning_pipeline.stages.names import stages_to_learn

__all__ = ["build_definitions", "interaction_patterns", "telemetry_files"]


def build_definitions(
    listeners: Sequence[ProgressListener] = (),
) -> dg.Definitions:
    """The project's definitions.

    Args:
        listeners: Called with the progress of every file, in the run's process.
    """
    logs.configure_unless_done()
    settings = load_settings()
    executor = (
        dg.in_process_executor
        if settings.executor == "in_process"
        else dg.multiprocess_executor
    )
    return dg.Definitions(
        assets=[telemetry_file, *STAGE_ASSETS, finetuning_dataset, learning_report],
        asset_checks=[checkpoint_checks, *learned_checks],
        jobs=[build_learn(stages_to_learn(settings)), report, search, retain],
        schedules=[learn_hourly, report_hourly, retain_daily],
        sensors=[build_sensor(settings)],
        resources={IO_MANAGER_KEY: checkpoint_io_manager(listeners)},
        executor=executor,
    )
