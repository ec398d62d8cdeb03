"""The job `learn`: everything for a file, in the run's own process."""

from __future__ import annotations

import dagster as dg

from learning_pipeline.defs.assets import interaction_patterns

learn = dg.define_asset_job(
    "learn",
    selection=dg.AssetSelection.assets(interaction_patterns),
    # No process of a step's own, so none that lives on when its run is killed.
    executor_def=dg.in_process_executor,
    description="Learn from the unread records of telemetry files.",
)
