"""The job `learn`: everything for a file, in the run's own process."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

LEARN = "learn"


def build_learn(stages: Sequence[str]) -> dg.UnresolvedAssetJobDefinition:
    """The job, of these stages."""
    return dg.define_asset_job(
        LEARN,
        selection=dg.AssetSelection.assets(*stages),
        # No process of a step's own, so none that lives on when its run is killed.
        executor_def=dg.in_process_executor,
        description="Learn from the unread records of telemetry files.",
    )
