"""Learn from the growing telemetry of AI agents, exactly once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from learning_pipeline.learning.frames import TelemetryFrame
    from learning_pipeline.learning.index.searching import search
    from learning_pipeline.learning.metrics.custom import record_metric

__all__ = ["ENVIRONMENT_PREFIX", "TelemetryFrame", "record_metric", "search"]

ENVIRONMENT_PREFIX = "LEARNING_PIPELINE_"
"""Before the name of a setting, in the environment."""

_FOR_NOTEBOOKS = {
    "TelemetryFrame": "learning_pipeline.learning.frames",
    "record_metric": "learning_pipeline.learning.metrics.custom",
    "search": "learning_pipeline.learning.index.searching",
}


def __getattr__(name: str) -> Any:
    # Imported when asked for: pandas takes longer to import than all the rest.
    if name in _FOR_NOTEBOOKS:
        return getattr(import_module(_FOR_NOTEBOOKS[name]), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
