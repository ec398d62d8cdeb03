"""Events to patterns: what is taken, redacted, judged, and what is rejected and why.

`PatternExtractor` makes rows of a batch. A package adds its own event kinds with an
object that has `kinds` and `extract(event)`, returning `PatternDraft`s, under the
entry point group `learning_pipeline.extractors`.
"""

from learning_pipeline.extraction.decoding import dead_letter, decode_event
from learning_pipeline.extraction.drafts import PatternDraft
from learning_pipeline.extraction.engine import NO_KIND, PatternExtractor
from learning_pipeline.extraction.redaction import Redactor
from learning_pipeline.extraction.registry import (
    ENTRY_POINT_GROUP,
    Extractor,
    load_extractors,
)

__all__ = [
    "ENTRY_POINT_GROUP",
    "NO_KIND",
    "Extractor",
    "PatternDraft",
    "PatternExtractor",
    "Redactor",
    "dead_letter",
    "decode_event",
    "load_extractors",
]
