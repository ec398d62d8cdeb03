"""How much of a partition's physical files a stage has not read, without opening any.

An estimate for people: which generation a file holds is told by what was noted of it,
not by its content. The next pass over the partition looks at the content.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from learning_pipeline.model import FileStatus, PhysicalFile, Sighting
from learning_pipeline.store import PartitionState


class PartitionLag(msgspec.Struct, frozen=True):
    """What a stage has not read of a partition.

    Attributes:
        lag_bytes: Over all its files.
        is_at_least: Whether it may be more: a compressed file that was never looked
            into counts with its size as it stands there.
    """

    lag_bytes: int
    is_at_least: bool = False


NOTHING_STORED = PartitionState()


def lag_of(
    status: FileStatus, state: PartitionState = NOTHING_STORED, stage: str = ""
) -> PartitionLag:
    """Add up what is unread of a partition's files.

    Args:
        status: The files, as they were found.
        state: What is stored of the partition.
        stage: Whose lag; one that has read nothing when it is unknown.
    """
    lag_bytes = 0
    is_at_least = False
    for file, generation, content_bytes in _held(status, state, stage):
        position = None if generation is None else state.position(stage, generation)
        # Of a file that is shorter than what was read, all is new.
        if position is not None and position.offset <= content_bytes:
            lag_bytes += content_bytes - position.offset
        else:
            lag_bytes += content_bytes
            unknown = generation is None and file.compression is not None
            is_at_least = is_at_least or unknown
    return PartitionLag(lag_bytes, is_at_least)


def _held(
    status: FileStatus, state: PartitionState, stage: str
) -> Iterator[tuple[PhysicalFile, int | None, int]]:
    """Each file with the generation that it seems to hold, and its content's size."""
    found: set[int] = set()
    unknown: list[PhysicalFile] = []
    for file in status.files:
        sighting = _sighting(file, state.sightings)
        if sighting is None:
            unknown.append(file)
            continue
        found.add(sighting.generation)
        unchanged = file.size_bytes == sighting.size_bytes
        yield (
            file,
            sighting.generation,
            sighting.content_bytes if unchanged else file.size_bytes,
        )
    checkpoint = state.checkpoints.get(stage)
    current = (
        checkpoint.generation
        if checkpoint is not None and checkpoint.sequence
        else None
    )
    for file in reversed(unknown):
        # Where the stage stands is in the newest file that is long enough for it.
        if (
            checkpoint is not None
            and current not in {None, *found}
            and file.compression is None
            and file.size_bytes >= checkpoint.offset
        ):
            yield file, current, file.size_bytes
            current = None
        else:
            yield file, None, file.size_bytes


def _sighting(file: PhysicalFile, sightings: Iterable[Sighting]) -> Sighting | None:
    """What was noted of a file, also when it was renamed or grew since."""
    for sighting in sightings:
        if sighting.inode != file.inode:
            continue
        if (sighting.size_bytes, sighting.mtime_ns) == (file.size_bytes, file.mtime_ns):
            return sighting
        if file.compression is None and file.size_bytes > sighting.size_bytes:
            return sighting
    return None
