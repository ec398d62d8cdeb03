"""Events to patterns: what is taken, redacted, judged, and what is rejected and why.

`PatternExtractor` makes rows of a batch. A package adds its own event kinds with an
object that has `kinds` and `extract(event)`, returning `PatternDraft`s, under the
entry point group `learning_pipeline.extractors`; it runs in a process of its own.
"""

from learning_pipeline.extraction.decoding import dead_letter, decode_event
from learning_pipeline.extraction.drafts import PatternDraft
from learning_pipeline.extraction.engine import PatternExtractor
from learning_pipeline.extraction.isolated import WorkerLimits, shared_extractors
from learning_pipeline.extraction.kinds import NO_KIND, kind_label
from learning_pipeline.extraction.redaction import Redactor
from learning_pipeline.extraction.registry import (
    ENTRY_POINT_GROUP,
    Extractor,
    are_extractors_installed,
    load_extractors,
)

_LIMITS = WorkerLimits()


def build_extractor(
    dead_letter_raw_bytes: int,
    extractor_timeout_seconds: float = _LIMITS.timeout_seconds,
    extractor_memory_bytes: int = _LIMITS.memory_bytes,
) -> PatternExtractor:
    """Build the extractor of this installation, the users' kinds included.

    The users' extractors are loaded by their worker process, at the first event that
    may be theirs: what is wrong with one is raised there.

    Args:
        dead_letter_raw_bytes: How much of a dead letter's record is kept.
        extractor_timeout_seconds: How long a user's extractor may take for a record.
        extractor_memory_bytes: By how much it may outgrow what its process takes
            after loading.
    """
    if not are_extractors_installed():
        return PatternExtractor(dead_letter_raw_bytes=dead_letter_raw_bytes)
    limits = WorkerLimits(extractor_timeout_seconds, extractor_memory_bytes)
    return PatternExtractor(
        dead_letter_raw_bytes=dead_letter_raw_bytes, isolated=shared_extractors(limits)
    )


__all__ = [
    "ENTRY_POINT_GROUP",
    "NO_KIND",
    "Extractor",
    "PatternDraft",
    "PatternExtractor",
    "Redactor",
    "are_extractors_installed",
    "build_extractor",
    "dead_letter",
    "decode_event",
    "kind_label",
    "load_extractors",
]
