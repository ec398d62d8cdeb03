"""`rebuild`: aside with the damaged database, exactly once again, honestly told."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from learning_pipeline.learning.metrics.custom import record_metric
from learning_pipeline.stages.names import READING_STAGES
from learning_pipeline.store import Store, rebuilding
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.pipeline import Pipeline, assert_as_from_one_pass


def damage(pipeline: Pipeline, table: str = "event_counts") -> bytes:
    """Zero the first page of a table; gives the file as it is then."""
    path = pipeline.state / "state.db"
    connection = sqlite3.connect(path)
    (page,) = connection.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
    ).fetchone()
    connection.close()
    content = path.read_bytes()
    end = page * 4096
    path.write_bytes(content[: end - 4096] + bytes(4096) + content[end:])
    return path.read_bytes()


def grow(pipeline: Pipeline) -> None:
    """Append to a file, and add another."""
    lines = list(generate_lines(90, seed=ord("a")))
    (pipeline.telemetry / "a.jsonl").write_bytes(b"".join(lines))
    (pipeline.telemetry / "c.jsonl").write_bytes(b"".join(lines[:30]))


def one_pass(pipeline: Pipeline, folder: Path) -> Pipeline:
    """Another pipeline over the same bytes."""
    reference = Pipeline(folder, pipeline.settings)
    for file in pipeline.telemetry.iterdir():
        (reference.telemetry / file.name).write_bytes(file.read_bytes())
    reference.process()
    return reference


@pytest.mark.parametrize("is_backed_up", [True, False])
def test_a_rebuilt_database_ends_as_after_one_pass(
    processed: Pipeline, tmp_path: Path, *, is_backed_up: bool
) -> None:
    """What came after the backup is read again; without one, everything is."""
    assert run(processed, "backup", "--out", "copy.db").code == 0
    grow(processed)
    processed.process()
    damaged = damage(processed)
    assert run(processed, "process").code == 1
    how = ("--from-backup", "copy.db") if is_backed_up else ()
    completed = run(processed, "rebuild", "--yes", *how)
    assert completed.code == 0, completed.errors
    (aside,) = processed.state.glob("damaged-*")
    assert (aside / "state.db").read_bytes() == damaged
    with Store(processed.store_url) as store:
        there = {each.partition: each.offset for each in store.checkpoints()}
    assert set(there) == ({"a.jsonl", "b.jsonl"} if is_backed_up else set())
    processed.process()
    assert_as_from_one_pass(processed, one_pass(processed, tmp_path / "reference"))
    assert run(processed, "doctor").code == 0


def test_an_index_that_went_on_after_the_backup_is_made_anew(
    learned_once: Pipeline, tmp_path: Path
) -> None:
    """It lacks what was taken back since, and holds what this database never saw."""
    shutil.copytree(learned_once.folder, tmp_path, dirs_exist_ok=True)
    learned = Pipeline(tmp_path, learned_once.settings)
    assert run(learned, "backup", "--out", "copy.db").code == 0
    assert run(learned, "checkpoints", "clear", "a.jsonl", "--yes").code == 0
    lines = list(generate_lines(60, seed=3))
    (learned.telemetry / "c.jsonl").write_bytes(b"".join(lines))
    assert run(learned, "process", "c.jsonl").code == 0
    (learned.telemetry / "c.jsonl").unlink()
    rebuild = ("rebuild", "--from-backup", "copy.db", "--even-if-healthy", "--yes")
    assert run(learned, *rebuild).code == 0
    assert run(learned, "process").code == 0
    verified = run(learned, "index", "verify", "--json")
    assert verified.code == 0, verified.output
    assert (
        verified.document["point_count"]
        == verified.document["example_count"]
        == len(learned.example_contents())
        > 0
    )


def test_what_cannot_be_learned_again_is_told(processed: Pipeline) -> None:
    """A file that was deleted, one that is there, one that the backup has."""
    assert run(processed, "backup", "--out", "copy.db").code == 0
    grow(processed)
    processed.process()
    (processed.telemetry / "b.jsonl").unlink()
    (processed.telemetry / "c.jsonl").unlink()
    rows = dict.fromkeys(("a.jsonl", "b.jsonl", "c.jsonl"), 0)
    for stage, partition, counters in processed.counters():
        rows[partition] += counters.row_count if stage in READING_STAGES else 0
    with Store(processed.store_url) as store:
        record_metric("reward", 1.0, store=store)
    damaged = damage(processed)

    told = run(processed, "rebuild", "--dry-run").output
    gone = rows["b.jsonl"] + rows["c.jsonl"]
    assert f"{gone} rows of 2 files come from generations whose file is gone" in told
    assert f"{rows['a.jsonl']} rows of 1 files come from telemetry that still" in told
    assert "1 recorded metrics are lost" in told

    told = run(processed, "rebuild", "--dry-run", "--from-backup", "copy.db").output
    assert f"{rows['c.jsonl']} rows of 1 files come from generations whose" in told
    assert (processed.state / "state.db").read_bytes() == damaged
    assert not list(processed.state.glob("damaged-*"))


def test_what_cannot_be_read_is_told(processed: Pipeline) -> None:
    """Nothing is claimed of tables that are gone themselves."""
    damage(processed, "checkpoints")
    told = run(processed, "rebuild", "--dry-run").output
    assert "it cannot be said whether those still exist" in told
    assert "checkpoints could not be read" in told


def test_a_file_that_is_no_database_can_be_rebuilt(processed: Pipeline) -> None:
    """Nothing can be said of it, and that is said."""
    (processed.state / "state.db").write_bytes(b"")
    completed = run(processed, "rebuild", "--yes")
    assert completed.code == 0
    assert "cannot be said" in completed.output
    assert run(processed, "process").code == 0


def test_a_healthy_database_is_left_alone(processed: Pipeline) -> None:
    """Unless that is asked for by name."""
    before = (processed.state / "state.db").read_bytes()
    refused = run(processed, "rebuild", "--yes")
    assert refused.code == 2
    assert "--even-if-healthy" in refused.errors
    assert (processed.state / "state.db").read_bytes() == before
    assert run(processed, "rebuild", "--yes", "--even-if-healthy").code == 0


def test_a_newer_database_is_not_rebuilt(processed: Pipeline) -> None:
    """It is not damaged; an upgrade reads it."""
    connection = sqlite3.connect(processed.state / "state.db")
    connection.execute("UPDATE learning_pipeline_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    refused = run(processed, "rebuild", "--yes")
    assert refused.code == 1
    assert "pip install --upgrade" in refused.errors


def test_a_script_has_to_say_yes(processed: Pipeline) -> None:
    """Nobody is there to be asked."""
    damaged = damage(processed)
    refused = run(processed, "rebuild")
    assert refused.code == 2
    assert "--yes" in refused.errors
    assert (processed.state / "state.db").read_bytes() == damaged


def test_a_database_in_use_is_not_rebuilt(processed: Pipeline) -> None:
    """This process has it open."""
    with Store(processed.store_url) as store:
        store.checkpoints()
        refused = run(processed, "rebuild", "--yes", "--even-if-healthy")
    assert refused.code == 1
    assert "another process has" in refused.errors
    assert not list(processed.state.glob("damaged-*"))


def test_a_damaged_backup_is_not_put_in_place(processed: Pipeline) -> None:
    """It is verified before anything is moved."""
    assert run(processed, "backup", "--out", "copy.db").code == 0
    copy = processed.folder / "copy.db"
    copy.write_bytes(copy.read_bytes()[:-4096])
    damaged = damage(processed)
    refused = run(processed, "rebuild", "--yes", "--from-backup", "copy.db")
    assert refused.code == 1
    assert (processed.state / "state.db").read_bytes() == damaged
    assert not list(processed.state.glob("damaged-*"))


def test_of_postgres_the_way_is_said(pipeline: Pipeline) -> None:
    """Nothing is done to it."""
    url = "postgresql+psycopg://me:secret@db.example/learned"
    refused = run(pipeline, "rebuild", environment={"LEARNING_PIPELINE_STORE_URL": url})
    assert refused.code == 2
    assert "pg_restore" in refused.errors


@pytest.mark.parametrize("has_log", [True, False])
def test_there_is_a_database_at_every_moment(
    processed: Pipeline, monkeypatch: pytest.MonkeyPatch, *, has_log: bool
) -> None:
    """Killed before the last rename: the old one, damaged, no place for a new start."""
    damaged = damage(processed)
    path = processed.state / "state.db"
    if has_log:
        path.with_name("state.db-wal").write_bytes(b"frames of the damaged one")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            rebuilding.put_in_place(path, "now", rebuilding.fill_empty)
    assert path.read_bytes() == damaged
    assert run(processed, "process").code == 1
    rebuilding.put_in_place(path, "now", rebuilding.fill_empty)
    assert sorted(each.name for each in processed.state.glob("damaged-*")) == [
        "damaged-now",
        "damaged-now-2",
    ]
    assert has_log == (processed.state / "damaged-now" / "state.db-wal").exists()
    assert run(processed, "process").code == 0


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt
