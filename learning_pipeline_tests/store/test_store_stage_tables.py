"""Tables of users' own stages: created, checked, owned by one stage."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from learning_pipeline.errors import StageTableError
from learning_pipeline.model import BatchOutput, Counters
from learning_pipeline.store import Store, patterns, stage_table
from learning_pipeline.store.schema import VERSION_TABLE, metadata
from learning_pipeline_tests.store.samples import (
    PARTITION,
    STAGE,
    contents,
    fingerprint_at,
    open_session,
    process,
)


def _table(*columns: str, name: str = "slow_answers") -> sa.Table:
    return stage_table(name, *(sa.Column(column, sa.Text) for column in columns))


def _commit_row(store: Store, table: sa.Table, *, stage: str = "mine") -> None:
    payload = [None] * (len(table.columns) - 4)
    with open_session(store, stage=stage, table=table) as session:
        claim = session.claim(PARTITION)
        session.commit(
            claim,
            BatchOutput([(claim.checkpoint.offset, 0, *payload)], [], Counters()),
            end_offset=claim.checkpoint.offset + 10,
            fingerprint=fingerprint_at(10),
            size_bytes=100,
        )


def test_a_table_is_made_when_its_stage_first_runs(
    store: Store, store_url: str
) -> None:
    """With values of every type that a stage may give."""
    table = stage_table(
        "samples",
        sa.Column("text", sa.Text),
        sa.Column("number", sa.BigInteger),
        sa.Column("share", sa.Float),
        sa.Column("flag", sa.Boolean),
        sa.Column("raw", sa.LargeBinary),
        sa.Column("none", sa.Text),
    )
    assert "samples" not in contents(store_url)
    row = (0, 0, "tab\t\\N newline\n", -(2**63), 0.1, True, b"\x00\xff", None)
    for offset in (0, 10):
        with open_session(store, stage="mine", table=table) as session:
            claim = session.claim(PARTITION)
            session.commit(
                claim,
                BatchOutput([(offset, *row[1:])], [], Counters()),
                end_offset=offset + 10,
                fingerprint=fingerprint_at(10),
                size_bytes=20,
            )
    stored = contents(store_url)["samples"]
    assert [each[2] for each in stored] == [0, 10]
    assert [each[3:] for each in stored] == [row[1:], row[1:]]


def test_sessions_that_meet_a_new_table_at_once_share_it(store: Store) -> None:
    """Neither fails because the other was first."""
    start = threading.Barrier(4)
    failures: list[BaseException] = []

    def open_and_close() -> None:
        start.wait(timeout=60)
        try:
            open_session(store, stage="mine", table=_table("a")).__exit__()
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            failures.append(error)

    threads = [threading.Thread(target=open_and_close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []


@pytest.mark.parametrize("columns", [("a",), ("a", "b", "c"), ("a", "other")])
def test_a_table_with_other_columns_is_refused(
    store: Store, store_url: str, columns: tuple[str, ...]
) -> None:
    """The message says what there is, what is declared, and what to do."""
    _commit_row(store, _table("a", "b"))
    before = contents(store_url)
    with pytest.raises(StageTableError, match="rename the table"):
        open_session(store, stage="mine", table=_table(*columns))
    assert contents(store_url) == before


def test_a_table_belongs_to_one_stage(store: Store) -> None:
    """A rewind of the one would take the rows of the other."""
    process(store, 100)
    with pytest.raises(StageTableError, match=f"stage '{STAGE}' has committed"):
        open_session(store, stage="mine", table=patterns)


def test_a_stage_that_has_committed_keeps_its_table(store: Store) -> None:
    """Else the rows of what it has read would stay behind in the old one."""
    _commit_row(store, _table("a"))
    with pytest.raises(StageTableError, match="clear 'mine'"):
        open_session(store, stage="mine", table=_table("a", name="renamed"))


def test_a_cleared_stage_takes_another_table_and_frees_its_old_one(
    store: Store, store_url: str
) -> None:
    """A rewind then looks for its rows where they are."""
    _commit_row(store, _table("a"))
    store.clear(stage="mine", partition=PARTITION)
    renamed = _table("a", name="renamed")
    _commit_row(store, renamed)
    _commit_row(store, _table("a"), stage="other")
    assert store.clear(stage="mine", partition=PARTITION).row_count == 1
    assert contents(store_url)["renamed"] == []
    assert len(contents(store_url)["slow_answers"]) == 1


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Upper",
        "with space",
        "a;drop table patterns",
        'a"b',
        "1a",
        "_a",
        "ä",
        "a\n",
        "a" * 57,
        "sqlite_mine",
        "checkpoints_by_run",
        VERSION_TABLE,
        *metadata.tables,
    ],
)
def test_a_table_cannot_have_a_name_that_is_taken_or_not_plain(name: str) -> None:
    """Neither the project's own nor one that would need care with quotes."""
    with pytest.raises(StageTableError, match="take another name"):
        stage_table(name, sa.Column("a", sa.Text))


@pytest.mark.parametrize(
    "columns",
    [
        [],
        [sa.Column("offset", sa.Text)],
        [sa.Column("Generation", sa.Text)],
        [sa.Column("a", sa.Text), sa.Column("A", sa.Text)],
        [sa.Column("a", sa.Text, primary_key=True)],
    ],
)
def test_a_table_cannot_change_the_key_of_its_rows(
    columns: list[sa.Column[str]],
) -> None:
    """The key leads every row back to its line, and a rewind to the row."""
    with pytest.raises(StageTableError):
        stage_table("mine", *columns)


def test_a_table_that_was_not_declared_as_a_stages_is_refused(store: Store) -> None:
    """Without the key columns nothing leads its rows back to a file."""
    table = sa.Table("mine", sa.MetaData(), sa.Column("a", sa.Text))
    with pytest.raises(StageTableError, match="stage_table"):
        open_session(store, stage="mine", table=table)
