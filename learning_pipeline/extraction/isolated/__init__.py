"""Users' extractors in a process of their own, which may crash, hang or grow.

What they do to it costs the record at hand, and no other.
"""

from learning_pipeline.extraction.isolated.extractors import (
    IsolatedExtractors,
    shared_extractors,
)
from learning_pipeline.extraction.isolated.messages import WorkerLimits

__all__ = ["IsolatedExtractors", "WorkerLimits", "shared_extractors"]
