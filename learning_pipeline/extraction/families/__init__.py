"""The built-in event families, one module each."""

from learning_pipeline.extraction.families import (
    error_resolution,
    inference,
    interaction_recorded,
    task_completed,
)

FAMILIES = (
    task_completed.FAMILY,
    error_resolution.FAMILY,
    inference.FAMILY,
    interaction_recorded.FAMILY,
)

__all__ = ["FAMILIES"]
