"""Telemetry files: finding them, telling them apart, reading them.

A file is named by its partition key and reached only below the telemetry root. It
is read as batches of complete lines, each with the fingerprint that a checkpoint at
its end needs.
"""

from learning_pipeline.telemetry.confinement import missing
from learning_pipeline.telemetry.discovery import (
    Discovery,
    DiscoveryProblem,
    discover,
    telemetry_matcher,
)
from learning_pipeline.telemetry.files import TelemetryFile, open_telemetry_file
from learning_pipeline.telemetry.fingerprint import NO_GUARD_DIGEST, Verdict
from learning_pipeline.telemetry.keys import MAX_KEY_CHARS, decode_key, encode_key
from learning_pipeline.telemetry.landmarks import end_of
from learning_pipeline.telemetry.lines import RECORD_TOO_LONG, ReadLimits, Tail
from learning_pipeline.telemetry.physical import KnownKeys, Listings, PartitionFiles
from learning_pipeline.telemetry.retiring import retiring_folder
from learning_pipeline.telemetry.retiring_file import RetiringFile

__all__ = [
    "MAX_KEY_CHARS",
    "NO_GUARD_DIGEST",
    "RECORD_TOO_LONG",
    "Discovery",
    "DiscoveryProblem",
    "KnownKeys",
    "Listings",
    "PartitionFiles",
    "ReadLimits",
    "RetiringFile",
    "Tail",
    "TelemetryFile",
    "Verdict",
    "decode_key",
    "discover",
    "encode_key",
    "end_of",
    "missing",
    "open_telemetry_file",
    "retiring_folder",
    "telemetry_matcher",
]
