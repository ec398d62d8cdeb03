"""Whether the index holds exactly the examples of the state database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from learning_pipeline.store import index_feed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from learning_pipeline.learning.index import IndexedPlace, PatternIndex
    from learning_pipeline.store import Store
    from learning_pipeline.store.index_feed import ExamplePlace

MAX_NAMED = 10


class IndexComparison(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison of index and state database found.

    Attributes:
        example_count: Examples of the state database.
        point_count: Points of the index.
        waiting_count: Examples that the index has not been given yet, which is no
            error: it is behind, and catches up.
        missing_count: Examples that it was given and does not have.
        stray_count: Points that are no example, or one of another place.
        missing: Content hashes of the first few missing ones, hexadecimal.
        stray: Content hashes of the first few stray ones, hexadecimal.
    """

    example_count: int
    point_count: int
    waiting_count: int
    missing_count: int
    stray_count: int
    missing: tuple[str, ...] = ()
    stray: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether nothing is missing and nothing is stray."""
        return not self.missing_count and not self.stray_count


def compare_index(store: Store, index: PatternIndex) -> IndexComparison:
    """Compare an open index with the state database; both are only read.

    While a run writes to both, what it has just committed may be told as missing.
    """
    counts = dict.fromkeys(("examples", "points", "waiting"), 0)
    missing, stray = _Named(), _Named()
    for example, point in _paired(store, index):
        counts["examples"] += example is not None
        counts["points"] += point is not None
        if example is not None and point is None:
            if example.is_due:
                missing.add(example.content_hash)
            else:
                counts["waiting"] += 1
        elif point is not None and (
            example is None or (example.is_due and not _is_same(example, point))
        ):
            # One that is not due may be in it all the same: written, then killed.
            stray.add(point.content_hash)
    return IndexComparison(
        example_count=counts["examples"],
        point_count=counts["points"],
        waiting_count=counts["waiting"],
        missing_count=missing.count,
        stray_count=stray.count,
        missing=tuple(missing.names),
        stray=tuple(stray.names),
    )


class _Named:
    """How many, and the names of the first."""

    def __init__(self) -> None:
        self.count = 0
        self.names: list[str] = []

    def add(self, content_hash: bytes) -> None:
        self.count += 1
        if len(self.names) < MAX_NAMED:
            self.names.append(content_hash.hex())


def _paired(
    store: Store, index: PatternIndex
) -> Iterator[tuple[ExamplePlace | None, IndexedPlace | None]]:
    """Examples and points side by side: both come sorted by content hash."""
    examples, points = index_feed.example_places(store), index.places()
    example, point = next(examples, None), next(points, None)
    while example is not None or point is not None:
        if point is None or (
            example is not None and example.content_hash < point.content_hash
        ):
            yield example, None
            example = next(examples, None)
        elif example is None or point.content_hash < example.content_hash:
            yield None, point
            point = next(points, None)
        else:
            yield example, point
            example, point = next(examples, None), next(points, None)


def _is_same(example: ExamplePlace, point: IndexedPlace) -> bool:
    return (
        example.partition,
        example.generation,
        example.offset,
        example.ordinal,
    ) == (point.partition, point.generation, point.offset, point.ordinal)
