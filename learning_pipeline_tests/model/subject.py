"""The pipeline under test: two stages over one telemetry root, without Dagster."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from learning_pipeline import logs, steps
from learning_pipeline.errors import LearningPipelineError, StoreError
from learning_pipeline.extraction import PatternExtractor
from learning_pipeline.model import Checkpoint, Progress
from learning_pipeline.stages import PartitionDrain, Reading, TelemetryStream, Transform
from learning_pipeline.store import StageSession, Store, patterns, stage_table
from learning_pipeline.telemetry import ReadLimits
from learning_pipeline.testing import crash_points
from learning_pipeline_tests.model.lines import Outcome
from learning_pipeline_tests.model.reader import Stored
from learning_pipeline_tests.stages.engine import NEVER, STAGE, ignore

DATABASE = "state.db"
notes = stage_table("notes", sa.Column("text", sa.Text))


def _note(event: Any) -> Iterator[dict[str, str]]:
    yield {"text": event["error_description"]}


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: The asset.
        table: Where its rows go.
        column: The column that holds a line's text.
        transform: Makes rows.
    """

    name: str
    table: sa.Table
    column: str
    transform: Transform


def _transform_to_notes() -> Transform:
    transform = TelemetryStream(()).rows(_note, into=notes).transform
    assert callable(transform)
    return transform


STAGES = {
    STAGE: Stage(STAGE, patterns, "prompt", PatternExtractor()),
    "notes": Stage("notes", notes, "text", _transform_to_notes()),
}


@dataclass
class Subject:
    """A telemetry root and a state database.

    Attributes:
        folder: Holds both.
        interval: Records per commit.
        max_batch_bytes: Bytes per commit.
        chunk_bytes: Bytes per read.
    """

    folder: Path
    interval: int = 2
    max_batch_bytes: int = 2**20
    chunk_bytes: int = 2**18
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _store: Store | None = None
    _idle: dict[str, StageSession] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The telemetry root."""
        return self.folder / "telemetry"

    @property
    def store(self) -> Store:
        """The database, open."""
        if self._store is None:
            self._store = self._stack.enter_context(
                Store(f"sqlite:///{self.folder / DATABASE}")
            )
        return self._store

    def close(self) -> None:
        """Close the database."""
        for session in self._idle.values():
            session.__exit__()
        self._idle.clear()
        self._stack.close()
        self._store = None

    def drain(
        self,
        stage: str,
        partition: str,
        *,
        max_bytes: int = NEVER,
        free_pages: int | None = None,
    ) -> Progress:
        """One pass of one stage over a partition.

        Args:
            stage: Its name.
            partition: The partition key.
            max_bytes: The run's limit.
            free_pages: By how much the database may grow, until its disk is full.
        """
        with self._session(stage) as session:
            if free_pages is not None:
                (pages,) = session._cursor.execute("PRAGMA page_count").fetchone()
                session._cursor.execute(f"PRAGMA max_page_count = {pages + free_pages}")
            try:
                claim, progress = PartitionDrain(
                    session,
                    partition=partition,
                    transform=STAGES[stage].transform,
                    reading=self._reading(max_bytes),
                    on_commit=ignore,
                    log=logs.get_logger(),
                ).run()
                session.sync([claim])
            finally:
                if free_pages is not None:
                    session._cursor.execute("PRAGMA max_page_count = 1073741823")
        return progress

    def drain_and_die(
        self, stage: str, partition: str, step: str, occurrence: int
    ) -> None:
        """The same in a process that is killed at a step, if it comes to it."""
        self.close()
        child = os.fork()
        if child == 0:
            try:
                crash_points.kill_at(step, occurrence)
                self.drain(stage, partition)
            finally:
                os._exit(0)
        os.waitpid(child, 0)

    def signature(self, partition: str) -> str:
        """That of the partition's files now."""
        listings = self._reading(NEVER).listings
        return listings.files_of(partition, self.store.known_partitions).signature

    def checkpoint(self, stage: str, partition: str) -> Checkpoint | None:
        """The checkpoint, if there is one."""
        found = self.store.checkpoints(stage=stage, keys=[partition], with_kinds=False)
        return found[0] if found else None

    def stored(self, stage: str, partition: str) -> dict[int, Stored]:
        """What is committed, by number of generation; read by nothing of the store."""
        one = STAGES[stage]
        with contextlib.closing(sqlite3.connect(self.folder / DATABASE)) as database:
            where = "partition_id = (SELECT id FROM partitions WHERE partition_key = ?)"
            offsets = dict(
                database.execute(
                    "SELECT generation, offset FROM generation_positions"  # noqa: S608
                    f" WHERE stage = ? AND {where}",
                    (stage, partition),
                ).fetchall()
            )
            offsets |= dict(
                database.execute(
                    "SELECT generation, offset FROM checkpoints"  # noqa: S608
                    f" WHERE sequence > 0 AND stage = ? AND {where}",
                    (stage, partition),
                ).fetchall()
            )
            tables = {
                name for (name,) in database.execute("SELECT name FROM sqlite_master")
            }
            rows = (
                database.execute(
                    f"SELECT generation, offset, {one.column} FROM {one.table.name}"  # noqa: S608
                    f" WHERE {where} ORDER BY 1, 2",
                    (partition,),
                ).fetchall()
                if one.table.name in tables
                else []
            )
            letters = database.execute(
                "SELECT generation, start_offset, end_offset FROM dead_letters"  # noqa: S608
                f" WHERE stage = ? AND {where} ORDER BY 1, 2",
                (stage, partition),
            ).fetchall()
        assert {row[0] for row in (*rows, *letters)} <= set(offsets)
        return {
            number: Stored(
                offset,
                Outcome(
                    tuple((row[1], row[2]) for row in rows if row[0] == number),
                    tuple((row[1], row[2]) for row in letters if row[0] == number),
                ),
            )
            for number, offset in offsets.items()
        }

    @contextlib.contextmanager
    def _session(self, stage: str) -> Iterator[StageSession]:
        # To make one takes longer than a pass; one that failed is not used again.
        session = self._idle.pop(stage, None) or self.store.session(
            stage=stage,
            table=STAGES[stage].table,
            run_id="run",
            history_count=20,
        )
        with contextlib.ExitStack() as stack:
            stack.enter_context(session)
            try:
                yield session
            except StoreError:
                raise
            except LearningPipelineError:
                self._keep(stage, session, stack)
                raise
            self._keep(stage, session, stack)

    def _keep(
        self, stage: str, session: StageSession, stack: contextlib.ExitStack
    ) -> None:
        if stage not in self._idle:
            stack.pop_all()
            self._idle[stage] = session

    def _reading(self, max_bytes: int) -> Reading:
        limits = ReadLimits(
            max_records=self.interval,
            max_batch_bytes=self.max_batch_bytes,
            max_record_bytes=2**16,
            chunk_bytes=self.chunk_bytes,
        )
        return Reading(self.root, limits, NEVER, max_bytes=max_bytes)


@contextlib.contextmanager
def listening(listener: Callable[[str], None]) -> Iterator[None]:
    """Let a listener hear of each step."""
    steps.listen(listener)
    try:
        yield
    finally:
        steps.listen(None)


def new_database(template: Path, folder: Path) -> None:
    """An empty state database; making the second one is only a copy."""
    if not template.exists():
        Store(f"sqlite:///{template}").close()
    shutil.copyfile(template, folder / DATABASE)
