"""Which files need a run: for the sensor, the schedule and `process`.

What a file needs is read off its checkpoint, never off what was asked before: a
file needs a run when it is not as the last complete pass saw it. So a run that
failed, or was killed, or never started, or stopped before the file's end, is asked
for again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from learning_pipeline.model import Checkpoint, FileStatus
from learning_pipeline.stages.names import ALL_STAGES, READING_STAGES, UPSTREAM_OF
from learning_pipeline.store import Store
from learning_pipeline.store.behind import Behind, partitions_behind
from learning_pipeline.store.index_feed import INDEX_STAGE, count_changes

FIRST_PAUSE_SECONDS = 60
LONGEST_PAUSE_SECONDS = 3600
LONGEST_PAUSE_TO_CATCH_UP_SECONDS = 300
"""A dependency that was down is tried again sooner than a file that cannot be read."""

MAX_ASKS = 2_000
"""Asks that are remembered; Dagster stores the cursor again with each tick."""


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """A run that was asked for and has not read its file to the end yet.

    Attributes:
        generation: Where the stage stood when it was asked for,
        offset: and at which byte.
        signature: Of the file's state then.
        count: How often in a row it was asked for without progress.
        asked_at: When, seconds since 1970.
    """

    generation: int
    offset: int
    signature: str
    count: int
    asked_at: int


class UnreadFile(msgspec.Struct, frozen=True):
    """A file that changed since the last complete pass over it.

    Attributes:
        file: As it was found.
        checkpoint: Where the stage stands in it, if it ever read of it.
        is_read: Whether only stages are behind that read what others committed.
        behind: The same for those stages, when they are behind too.
        is_beside: Whether it is the `behind` of another.
    """

    file: FileStatus
    checkpoint: Checkpoint | None
    is_read: bool = False
    behind: UnreadFile | None = None
    is_beside: bool = False

    @property
    def partition(self) -> str:
        """Its partition key."""
        return self.file.partition

    @property
    def ask_key(self) -> str:
        """Under what it is remembered: no partition key has a blank in it."""
        return f" {self.partition}" if self.is_beside else self.partition

    @property
    def lag_bytes(self) -> int:
        """About how much there is to read; how much exactly, opening it shows.

        What is behind a rotation counts as large as it stands there, or as large as
        it was when it was last read.
        """
        file, checkpoint = self.file, self.checkpoint
        if checkpoint is None:
            return max(file.size_bytes, file.total_bytes)
        if checkpoint.offset <= file.size_bytes:
            return file.size_bytes - checkpoint.offset
        return file.size_bytes + max(checkpoint.size_bytes - checkpoint.offset, 0)


def files_with_unread(
    files: Sequence[FileStatus], checkpoints: Sequence[Checkpoint]
) -> list[UnreadFile]:
    """The files that changed since the last complete pass over them, most lag first.

    A torn tail alone does not count: the last pass saw the file like that.
    """
    by_key = {checkpoint.partition: checkpoint for checkpoint in checkpoints}
    unread = []
    for file in files:
        found = UnreadFile(file, by_key.get(file.partition))
        if (
            found.lag_bytes > 0
            if found.checkpoint is None
            else found.checkpoint.seen_signature != file.signature
        ):
            unread.append(found)
    return sorted(unread, key=lambda found: (-found.lag_bytes, found.partition))


def files_to_learn(
    files: Sequence[FileStatus], store: Store, stages: Sequence[str] = ALL_STAGES
) -> list[UnreadFile]:
    """The files that some stage has to go on with, most lag first.

    Args:
        files: As they were found.
        store: Where the stages stand.
        stages: Those that are to go on.
    """
    found: dict[str, UnreadFile] = {}
    for stage in READING_STAGES:
        if stage not in stages:
            continue
        checkpoints = store.checkpoints(stage=stage, with_kinds=False)
        for each in files_with_unread(files, checkpoints):
            before = found.get(each.partition)
            if before is None or each.lag_bytes > before.lag_bytes:
                found[each.partition] = each
    there = {file.partition: file for file in files}
    for stage, behind in _behind(store, stages):
        # Rows can be taken over also when their file is gone.
        gone = FileStatus(
            partition=behind.partition,
            size_bytes=behind.offset + behind.lag_bytes,
            mtime_ns=0,
        )
        checkpoint = Checkpoint(
            stage=stage,
            partition=behind.partition,
            generation=behind.generation,
            offset=behind.offset,
        )
        file = there.get(behind.partition, gone)
        read = UnreadFile(file, checkpoint, is_read=True)
        before = found.setdefault(behind.partition, read)
        if not before.is_read and before.behind is None:
            beside = msgspec.structs.replace(read, is_beside=True)
            found[behind.partition] = msgspec.structs.replace(before, behind=beside)
    return sorted(found.values(), key=lambda each: (-each.lag_bytes, each.partition))


def _behind(store: Store, stages: Sequence[str]) -> Iterator[tuple[str, Behind]]:
    """Where what others committed is to be taken over, by stage."""
    is_indexing = False
    for stage, upstream in UPSTREAM_OF.items():
        if stage not in stages:
            continue
        for behind in partitions_behind(store, stage, upstream):
            is_indexing = True
            yield stage, behind
    if not is_indexing and INDEX_STAGE in stages and count_changes(store):
        # Whichever file's run it is, it makes them.
        for checkpoint in store.checkpoints(stage=INDEX_STAGE, with_kinds=False)[:1]:
            place = checkpoint.generation, checkpoint.offset
            yield INDEX_STAGE, Behind(checkpoint.partition, *place, *place)


def choose(
    unread: Sequence[UnreadFile],
    asks: Mapping[str, Ask],
    *,
    busy: frozenset[str],
    now: float,
) -> list[UnreadFile]:
    """Which files a run may be asked for now, in the order of `unread`.

    A file that changed since it was asked for, or of which something was read, is
    asked for at once; one that did not, whose run must have failed, after a pause
    that doubles each time. Meanwhile what was read of it is taken over: Dagster leaves
    out what follows a step that fails.
    """
    chosen = []
    for found in unread:
        if found.partition in busy:
            continue
        for need in (found, found.behind):
            if need is not None and not _pauses(need, asks.get(need.ask_key), now):
                chosen.append(need)
                break
    return chosen


def remember(
    unread: Sequence[UnreadFile],
    asked: Iterable[UnreadFile],
    asks: Mapping[str, Ask],
    *,
    now: float,
) -> dict[str, Ask]:
    """What to remember at the next look: what is asked for now, and earlier.

    Args:
        unread: All files with unread records; of others nothing is remembered.
        asked: Those that runs are asked for now.
        asks: What was remembered so far.
        now: Seconds since 1970.

    Returns:
        At most `MAX_ASKS`, the latest. What is forgotten is asked for again without
        a pause, in its turn.
    """
    remembered = {
        need.ask_key: asks[need.ask_key]
        for found in unread
        for need in (found, found.behind)
        if need is not None and need.ask_key in asks
    }
    for found in asked:
        before = asks.get(found.ask_key)
        count = before.count + 1 if before and _stood_still(found, before) else 1
        remembered[found.ask_key] = Ask(
            *_position(found), found.file.signature, count, int(now)
        )
    if len(remembered) <= MAX_ASKS:
        return remembered
    latest = sorted(remembered.items(), key=lambda item: item[1].asked_at)
    return dict(latest[-MAX_ASKS:])


def _pauses(found: UnreadFile, ask: Ask | None, now: float) -> bool:
    return (
        ask is not None
        and _stood_still(found, ask)
        and now < ask.asked_at + _pause_seconds(ask.count, is_read=found.is_read)
    )


def _stood_still(found: UnreadFile, ask: Ask) -> bool:
    return (ask.generation, ask.offset, ask.signature) == (
        *_position(found),
        found.file.signature,
    )


def _position(found: UnreadFile) -> tuple[int, int]:
    checkpoint = found.checkpoint
    return (checkpoint.generation, checkpoint.offset) if checkpoint else (0, 0)


def _pause_seconds(count: int, *, is_read: bool) -> float:
    longest = LONGEST_PAUSE_TO_CATCH_UP_SECONDS if is_read else LONGEST_PAUSE_SECONDS
    return min(FIRST_PAUSE_SECONDS * 2.0 ** (count - 1), longest)
