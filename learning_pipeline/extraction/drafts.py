"""What an extractor hands over, before the rules that hold for every pattern."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

MAX_KEPT_ITERATIONS = 2**31 - 1
"""What every database can hold in an integer column."""


class PatternDraft(msgspec.Struct, frozen=True):
    """What a user's extractor makes of an event.

    The engine strips, redacts and cuts the texts, and adds kind, timestamp, quality
    and content hash.

    Attributes:
        prompt: What was asked.
        response: What was answered.
        iterations: How many rounds the agent took; 0 when not known.
        backend: Backend or model that answered, if known.
        context: Any value that can be written as JSON; None for none.
        success_metrics: Finite numbers by name.
    """

    prompt: str
    response: str
    iterations: int = 0
    backend: str | None = None
    context: Any = None
    success_metrics: Mapping[str, float] = {}


FamilyDraft = tuple[str, str, int, str | None, msgspec.Raw, str, msgspec.Raw]
"""What a built-in family makes of an event; a plain tuple, as there is one a record:

prompt and response (stripped), iterations, backend or model if stated, the context
as raw JSON, the success metrics as JSON text of an object of numbers, the timestamp
as raw JSON. Raw JSON is empty or `null` when absent.
"""


class Family(NamedTuple):
    """Event kinds of one shape.

    Attributes:
        kinds: The kinds, as they stand in the events.
        decode: JSON bytes to the family's own Struct; other fields are skipped.
        extract: That Struct to a draft; None when the event is not taken.
    """

    kinds: frozenset[str]
    decode: Callable[[bytes], Any]
    extract: Callable[[Any], FamilyDraft | None]
