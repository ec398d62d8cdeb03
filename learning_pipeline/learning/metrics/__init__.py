"""Performance metrics: what an event measures, and what many of them come to.

`build_transform` makes rows of `measurements` of events. `aggregation` makes a table of
those; it needs pandas, this here does not.
"""

from learning_pipeline.learning.metrics.measuring import Measuring

__all__ = ["Measuring", "build_transform"]


def build_transform() -> Measuring:
    """Build the transform of the stage `performance_metrics`."""
    return Measuring()
