"""Retention: compressing or deleting rotated files that every stage has passed.

A file goes in this order: it is known again by its content; that is read to its end,
and compressed aside; a tombstone is committed and synced, in the transaction that looks
once more whether every stage has passed it; only then is the file replaced or deleted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from learning_pipeline.errors import (
    StoreError,
    TelemetryError,
    TelemetryFileInUseError,
    TelemetryFileMissingError,
)
from learning_pipeline.model import FileStatus, PhysicalFile, Sighting
from learning_pipeline.stages.passed_files import passed
from learning_pipeline.steps import reached
from learning_pipeline.store import PartitionState, Store, Tombstone, utc_now
from learning_pipeline.telemetry import (
    RetiringFile,
    discover,
    open_telemetry_file,
    retiring_folder,
    telemetry_matcher,
)

Action = Literal["compress", "delete"]
Outcome = Literal["kept", "to compress", "to delete", "compressed", "deleted", "failed"]

_SECONDS_PER_DAY = 86_400
_PARTITIONS_AT_A_TIME = 500
_DONE: dict[Action, Outcome] = {"compress": "compressed", "delete": "deleted"}
_TO_DO: dict[Action, Outcome] = {"compress": "to compress", "delete": "to delete"}


@dataclass(frozen=True)
class RetentionPolicy:
    """What is to be done with which files.

    Attributes:
        action: What happens to them.
        older_than_days: For how long they were not written to, at least.
        execute: Do it; else only say what would be done.
    """

    action: Action
    older_than_days: float
    execute: bool = False


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What became, or would become, of one rotated file.

    Attributes:
        partition: The partition key.
        file: Its path below the telemetry root, written like a partition key.
        generation: Which one it holds; None when it was not looked into.
        size_bytes: Its size as it stood there.
        age_days: How long ago it was last written to.
        outcome: `failed` is kept, too, but somebody has to look after it.
        reason: Why it was kept.
        freed_bytes: What its disk has got back, or would get back by deleting it.
    """

    partition: str
    file: str
    generation: int | None
    size_bytes: int
    age_days: float
    outcome: Outcome
    reason: str = ""
    freed_bytes: int = 0


class Retention:
    """One look at the rotated files of all partitions, or of some.

    Guarantees:
        After a crash at any moment a rerun completes what was begun: each file is
        there whole, or compressed whole, or is gone with a tombstone, and what every
        stage made of it is on stable storage. Nothing is read twice because of it.
        Active files and generations in which a stage stands are not touched.
    """

    def __init__(
        self,
        store: Store,
        *,
        telemetry_root: Path,
        patterns: Sequence[str],
        policy: RetentionPolicy,
        log: Any,
    ) -> None:
        """Look below `telemetry_root` for what `store` knows."""
        self._store = store
        self._root = telemetry_root
        self._patterns = patterns
        self._is_telemetry = telemetry_matcher(patterns)
        self._policy = policy
        self._log = log
        self._stages: Sequence[str] = ()
        self._states: dict[str, PartitionState] = {}
        self._tombstones: dict[tuple[str, int], Tombstone] = {}

    def run(self, keys: Sequence[str] = ()) -> Iterator[Decision]:
        """Decide about each rotated file, oldest first, and act if that is the policy.

        Args:
            keys: Only of these partitions; none for all.

        Raises:
            StoreError: The database failed, or a key is no partition's. What was done
                stays done, and the next run goes on.
            ConfigurationError: The telemetry root cannot be opened.
        """
        known = self._store.known_partitions()
        if self._policy.execute:
            self._tidy_up(sorted(known))
        found = {
            status.partition: status
            for status in discover(self._root, self._patterns, known).files
        }
        unknown = [key for key in keys if key not in found and key not in known]
        if unknown:
            raise StoreError(
                f"{unknown[0]!r} is no telemetry file that is there or was read; "
                "`learning-pipeline status` lists those"
            )
        rotated = [
            status
            for partition, status in found.items()
            if (not keys or partition in keys) and _rotated(status)
        ]
        for start in range(0, len(rotated), _PARTITIONS_AT_A_TIME):
            yield from self._retain(rotated[start : start + _PARTITIONS_AT_A_TIME])

    def _tidy_up(self, partitions: Sequence[str]) -> None:
        by_folder = {key.rpartition("/")[0]: key for key in partitions}
        for partition in by_folder.values():
            try:
                with retiring_folder(
                    self._root, partition, self._is_telemetry
                ) as folder:
                    folder.tidy_up()
            except (TelemetryFileMissingError, TelemetryFileInUseError):
                continue
            except TelemetryError as error:
                self._log.warning("folder_not_tidied_up", cause=str(error))

    def _retain(self, statuses: Sequence[FileStatus]) -> Iterator[Decision]:
        keys = [status.partition for status in statuses]
        self._stages = self._store.stages()
        self._states = self._store.partition_states(keys)
        self._tombstones = {
            (each.partition, each.generation): each
            for each in self._store.tombstones(keys)
        }
        for status in statuses:
            for physical in _rotated(status):
                decision = self._decide(status.partition, physical)
                if decision.outcome == "failed":
                    self._log.warning(
                        "file_not_retired", file=decision.file, cause=decision.reason
                    )
                elif decision.outcome in _DONE.values():
                    self._log.info(
                        f"file_{decision.outcome}",
                        file=decision.file,
                        generation=decision.generation,
                        freed_bytes=decision.freed_bytes,
                    )
                yield decision

    def _decide(self, partition: str, physical: PhysicalFile) -> Decision:
        age_seconds = time.time() - physical.mtime_ns / 1e9
        decision = Decision(
            partition=partition,
            file=physical.key,
            generation=None,
            size_bytes=physical.size_bytes,
            age_days=age_seconds / _SECONDS_PER_DAY,
            outcome="kept",
        )
        why = self._why_not_looked_into(physical, decision)
        if why is not None:
            return msgspec.structs.replace(decision, reason=why)
        try:
            if not self._policy.execute:
                return self._plan(physical, decision)
            with (
                retiring_folder(self._root, partition, self._is_telemetry) as folder,
                folder.open(physical) as file,
            ):
                return self._act(file, physical, decision)
        except TelemetryFileInUseError as error:
            return msgspec.structs.replace(decision, reason=error.reason)
        except TelemetryError as error:
            return msgspec.structs.replace(
                decision, outcome="failed", reason=str(error)
            )

    def _why_not_looked_into(
        self, physical: PhysicalFile, decision: Decision
    ) -> str | None:
        limit_days = self._policy.older_than_days
        if decision.partition not in self._states:
            return "no stage has read this partition"
        if physical.size_bytes == 0:
            return "it is empty"
        if self._policy.action == "compress" and physical.compression is not None:
            return "it is compressed already"
        if decision.age_days < limit_days:
            return (
                f"written to {max(decision.age_days, 0):.1f} days ago, that is less "
                f"than {limit_days:g}"
            )
        return None

    def _plan(self, physical: PhysicalFile, decision: Decision) -> Decision:
        with open_telemetry_file(
            self._root, physical.key, physical.compression
        ) as file:
            found = passed(
                file, physical, self._states[decision.partition], self._stages
            )
        decision = msgspec.structs.replace(decision, generation=found.generation)
        if found.why_not is not None:
            return msgspec.structs.replace(decision, reason=found.why_not)
        is_deleted = self._policy.action == "delete"
        return msgspec.structs.replace(
            decision,
            outcome=_TO_DO[self._policy.action],
            freed_bytes=physical.size_bytes if is_deleted else 0,
        )

    def _act(
        self, file: RetiringFile, physical: PhysicalFile, decision: Decision
    ) -> Decision:
        partition = decision.partition
        found = passed(file.content, physical, self._states[partition], self._stages)
        decision = msgspec.structs.replace(decision, generation=found.generation)
        if found.generation is None or found.why_not is not None:
            self._keep(partition, found.generation)
            return msgspec.structs.replace(decision, reason=found.why_not or "")
        reached("retain.before")
        is_compressed = self._policy.action == "compress"
        digest = file.write_compressed() if is_compressed else file.digest()
        reached("retain.written")
        tombstone = Tombstone(
            partition=partition,
            generation=found.generation,
            file_key=physical.key,
            size_bytes=physical.size_bytes,
            start_offset=0,
            end_offset=file.content.size_bytes,
            digest=digest,
            action=self._policy.action,
            retired_at=utc_now(),
        )
        why = self._store.record_tombstone(tombstone)
        if why is not None:
            return msgspec.structs.replace(decision, reason=why)
        reached("retain.recorded")
        try:
            freed_bytes = physical.size_bytes
            if is_compressed:
                freed_bytes -= self._place(file, tombstone)
                reached("retain.placed")
            file.remove()
        except TelemetryError:
            if not file.is_removed:
                before = self._tombstones.get((partition, found.generation))
                self._store.take_back_tombstone(tombstone, before)
            raise
        self._tombstones[partition, found.generation] = tombstone
        reached("retain.after")
        return msgspec.structs.replace(
            decision, outcome=_DONE[self._policy.action], freed_bytes=freed_bytes
        )

    def _place(self, file: RetiringFile, tombstone: Tombstone) -> int:
        """Give the compressed file its name; gives its size."""
        placed = file.place_compressed()
        # So the next pass knows it without decompressing it.
        self._store.note_sighting(
            tombstone.partition,
            Sighting(
                file_key=placed.key,
                inode=placed.inode,
                size_bytes=placed.size_bytes,
                mtime_ns=placed.mtime_ns,
                noted_at_ns=time.time_ns(),
                generation=tombstone.generation,
                content_bytes=tombstone.end_offset,
                end_digest=file.content.end_digest(),
            ),
        )
        return placed.size_bytes

    def _keep(self, partition: str, generation: int | None) -> None:
        """Drop the tombstone of a file that a crash kept from going, and that stays."""
        stale = self._tombstones.get((partition, generation or 0))
        if generation is not None and stale is not None and stale.action == "delete":
            self._store.take_back_tombstone(stale, None)


def _rotated(status: FileStatus) -> list[PhysicalFile]:
    return [physical for physical in status.files if not physical.is_active]
