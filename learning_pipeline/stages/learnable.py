"""Whether the telemetry that a rewind takes back is still there to be read again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from learning_pipeline.errors import TelemetryError
from learning_pipeline.stages.generations import KnownGenerations
from learning_pipeline.store import PartitionState, Rewound, TakenBack, Tombstone
from learning_pipeline.telemetry import KnownKeys, Listings, open_telemetry_file


class Unlearnable(msgspec.Struct, frozen=True):
    """A generation whose rows could not be learned again.

    Attributes:
        stage: Whose rows.
        generation: Which physical file.
        why: For people.
    """

    stage: str
    generation: int
    why: str


def unlearnable(  # noqa: PLR0913 - where, and what is known of it
    rewound: Sequence[Rewound],
    state: PartitionState,
    tombstones: Sequence[Tombstone],
    *,
    telemetry_root: Path,
    listings: Listings,
    known_keys: KnownKeys,
) -> Iterator[Unlearnable]:
    """Look for the file of every generation that is taken back.

    Args:
        rewound: What goes, of one partition.
        state: What is stored of the partition, before the rewind.
        tombstones: What `retain` did to its files.
        telemetry_root: Where the files are.
        listings: Finds the files of a partition there.
        known_keys: Asks the store what was read before.

    Guarantees:
        A generation that is not named is there in full, as far as it was read; told
        by its beginning, its landmarks and the bytes before the committed offset.
    """
    deleted = {each.generation: each for each in tombstones if each.action == "delete"}
    for each in rewound:
        if not each.taken_back:
            continue
        found, problem = _generations_there(
            telemetry_root, listings, known_keys, state, each
        )
        for span in each.taken_back:
            why = _why_not(span, found, problem, deleted.get(span.generation))
            if why is not None:
                yield Unlearnable(each.stage, span.generation, why)


def _why_not(
    span: TakenBack,
    found: dict[int, int],
    problem: str | None,
    tombstone: Tombstone | None,
) -> str | None:
    size_bytes = found.get(span.generation)
    if tombstone is not None:
        at = f"`retain` recorded at {tombstone.retired_at} that it deletes it"
        if size_bytes is None:
            return at
        return f"{at}; it is there now, and stays if it was restored since"
    if size_bytes is None:
        return problem or "no file holds it any more"
    if size_bytes < span.end_offset:
        return f"its file has only {size_bytes} of the {span.end_offset} bytes read"
    return None


def _generations_there(
    telemetry_root: Path,
    listings: Listings,
    known_keys: KnownKeys,
    state: PartitionState,
    rewound: Rewound,
) -> tuple[dict[int, int], str | None]:
    """The longest file's size by generation, and what could not be looked at."""
    known = KnownGenerations(
        [
            msgspec.structs.replace(
                each, position=state.position(rewound.stage, each.number)
            )
            for each in state.generations.values()
        ],
        state.checkpoints[rewound.stage],
    )
    found: dict[int, int] = {}
    problem: str | None = None
    try:
        files = listings.files_of(rewound.partition, known_keys, afresh=True).files
    except TelemetryError as error:
        return found, str(error)
    for physical in files:
        if physical.size_bytes == 0:
            continue
        try:
            with open_telemetry_file(
                telemetry_root, physical.key, physical.compression
            ) as file:
                generation = known.recognise(file).generation
                if generation is not None:
                    longest = max(found.get(generation.number, 0), file.size_bytes)
                    found[generation.number] = longest
        except TelemetryError as error:
            problem = str(error)
    return found, problem
