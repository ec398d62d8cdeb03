"""The stage engine, without Dagster: lazy streams and the drain into commits."""

from learning_pipeline.reading_process import TransformSpec
from learning_pipeline.stages.committing import Reading
from learning_pipeline.stages.deriving import (
    Derivation,
    DerivedDrain,
    DerivedOutput,
    UpstreamRows,
)
from learning_pipeline.stages.drain import PartitionDrain
from learning_pipeline.stages.stream import (
    EventFunction,
    StageOutput,
    TelemetryStream,
    Transform,
)

__all__ = [
    "Derivation",
    "DerivedDrain",
    "DerivedOutput",
    "EventFunction",
    "PartitionDrain",
    "Reading",
    "StageOutput",
    "TelemetryStream",
    "Transform",
    "TransformSpec",
    "UpstreamRows",
]
