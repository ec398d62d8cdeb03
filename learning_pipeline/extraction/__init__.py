"""Events to patterns: what is taken, redacted, judged, and what is rejected and why.

`PatternExtractor` makes rows of a batch. A package adds its own event kinds with an
object that has `kinds` and `extract(event)`, returning `PatternDraft`s, under the
entry point group `learning_pipeline.extractors`.
"""

from learning_pipeline.extraction.decoding import dead_letter, decode_event
from learning_pipeline.extraction.drafts import PatternDraft
from learning_pipeline.extraction.engine import PatternExtractor
from learning_pipeline.extraction.kinds import NO_KIND, kind_label
from learning_pipeline.extraction.redaction import Redactor
from learning_pipeline.extraction.registry import (
    ENTRY_POINT_GROUP,
    Extractor,
    load_extractors,
)


def build_extractor(dead_letter_raw_bytes: int) -> PatternExtractor:
    """Build the extractor of this installation, the users' kinds included.

    Args:
        dead_letter_raw_bytes: How much of a dead letter's record is kept.

    Raises:
        ExtractorRegistrationError: One of the users' cannot be used.
    """
    return PatternExtractor(
        load_extractors(), dead_letter_raw_bytes=dead_letter_raw_bytes
    )


__all__ = [
    "ENTRY_POINT_GROUP",
    "NO_KIND",
    "Extractor",
    "PatternDraft",
    "PatternExtractor",
    "Redactor",
    "build_extractor",
    "dead_letter",
    "decode_event",
    "kind_label",
    "load_extractors",
]
