"""Telemetry files: finding them, telling them apart, reading them.

A file is named by its partition key and reached only below the telemetry root. It
is read as batches of complete lines, each with the fingerprint that a checkpoint at
its end needs.
"""

from learning_pipeline.telemetry.discovery import (
    Discovery,
    DiscoveryProblem,
    discover,
    stat_file,
)
from learning_pipeline.telemetry.files import TelemetryFile, open_telemetry_file
from learning_pipeline.telemetry.fingerprint import Verdict
from learning_pipeline.telemetry.keys import MAX_KEY_CHARS, decode_key, encode_key
from learning_pipeline.telemetry.lines import RECORD_TOO_LONG, ReadLimits

__all__ = [
    "MAX_KEY_CHARS",
    "RECORD_TOO_LONG",
    "Discovery",
    "DiscoveryProblem",
    "ReadLimits",
    "TelemetryFile",
    "Verdict",
    "decode_key",
    "discover",
    "encode_key",
    "open_telemetry_file",
    "stat_file",
]
