"""Examples as points: their ids and payloads, alike in both engines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from learning_pipeline.errors import SearchQueryError
from learning_pipeline.learning.index.interface import IndexedPlace, SearchHit
from learning_pipeline.learning.index.texts import Phrase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from learning_pipeline.model import Example

SPARSE: Final = "bm25"
"""Name of the vector by words."""

DENSE: Final = "dense"
"""Name of the vector by meaning."""

PLACE_FIELDS: Final = ("content_hash", "partition", "generation", "offset", "ordinal")
BACKEND_FIELD: Final = "backend"
KEYWORD_FIELDS: Final = ("kind", BACKEND_FIELD, "partition")
TIME_FIELD: Final = "timestamp"

POINTS_PER_UPDATE: Final = 1_000
"""So many are made and written at a time; bounds memory."""

MOST_HITS: Final = 1_000
FUSION_K: Final = 60
"""Of reciprocal rank fusion, as in its paper (Cormack, Clarke, Büttcher, 2009)."""

_CANDIDATES_PER_HIT = 3
_LEAST_CANDIDATES = 50


def point_id(content_hash: bytes) -> UUID:
    """The UUID made of the first 16 bytes of the SHA-256: any replay gives the same.

    Two contents with the same one would have to collide in 128 bits.
    """
    return UUID(bytes=content_hash[:16])


def text_of(example: Example) -> str:
    """What of an example is searched."""
    return f"{example.prompt}\n{example.response}"


def payload_of(example: Example) -> dict[str, Any]:
    """What is stored with a point; a field that is not stated is left out."""
    payload: dict[str, Any] = {
        "content_hash": example.content_hash.hex(),
        "prompt": example.prompt,
        "response": example.response,
        "kind": example.kind,
        "partition": example.partition,
        "generation": example.generation,
        "offset": example.offset,
        "ordinal": example.ordinal,
    }
    if example.backend is not None:
        payload[BACKEND_FIELD] = example.backend
    if example.event_timestamp is not None:
        payload["timestamp"] = example.event_timestamp
    return payload


def place_of(payload: Mapping[str, Any]) -> IndexedPlace:
    """Where a point comes from, by its payload."""
    return IndexedPlace(
        content_hash=bytes.fromhex(payload["content_hash"]),
        partition=payload["partition"],
        generation=payload["generation"],
        offset=payload["offset"],
        ordinal=payload["ordinal"],
    )


def checked_limit(limit: int) -> int:
    """A number of hits that can be asked for.

    Raises:
        SearchQueryError: It cannot.
    """
    if not 1 <= limit <= MOST_HITS:
        message = f"{limit} hits cannot be asked for: 1 to {MOST_HITS:,} can"
        raise SearchQueryError(message)
    return limit


def candidate_count(limit: int) -> int:
    """How many to ask the engine for, so that phrases among them can come first."""
    return max(limit * _CANDIDATES_PER_HIT, _LEAST_CANDIDATES)


def ranked(
    query: str, found: Iterable[tuple[float, Mapping[str, Any]]], limit: int
) -> tuple[SearchHit, ...]:
    """The best hits, those with the query as phrase first, else by score.

    BM25 knows no order of words: of two texts with the same words it prefers the
    shorter one. With this, a phrase of a known example finds one that has it.
    """
    phrase = Phrase(query)
    hits = [_hit_of(score, payload, phrase) for score, payload in found]
    hits.sort(key=lambda hit: (not hit.has_phrase, -hit.score, hit.content_hash))
    return tuple(hits[:limit])


def rfc3339(moment: datetime) -> str:
    """A moment as the engine reads it.

    Raises:
        SearchQueryError: It has no time zone.
    """
    if moment.tzinfo is None:
        message = f"{moment.isoformat()} says no time zone: add one, such as +00:00"
        raise SearchQueryError(message)
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def in_updates(examples: Sequence[Example]) -> Iterator[Sequence[Example]]:
    """The examples, as many at a time as one update takes."""
    for start in range(0, len(examples), POINTS_PER_UPDATE):
        yield examples[start : start + POINTS_PER_UPDATE]


def _hit_of(score: float, payload: Mapping[str, Any], phrase: Phrase) -> SearchHit:
    prompt, response = payload["prompt"], payload["response"]
    return SearchHit(
        content_hash=payload["content_hash"],
        score=score,
        has_phrase=phrase.is_in(f"{prompt}\n{response}"),
        prompt=prompt,
        response=response,
        kind=payload["kind"],
        backend=payload.get("backend"),
        partition=payload["partition"],
        generation=payload["generation"],
        offset=payload["offset"],
        ordinal=payload["ordinal"],
        timestamp=payload.get("timestamp"),
    )
