"""Optimization proposals: signs in events, and what follows from many of them.

`build_transform` makes rows of `signals` of events; `listing` makes proposals of those.
"""

from learning_pipeline.learning.proposals.signals import Signalling

__all__ = ["Signalling", "build_transform"]


def build_transform() -> Signalling:
    """Build the transform of the stage `optimization_proposals`."""
    return Signalling()
