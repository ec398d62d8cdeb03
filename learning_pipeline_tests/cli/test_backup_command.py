"""`backup`: from the command line."""

from __future__ import annotations

from learning_pipeline.store.backup import verify_backup
from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.pipeline import Pipeline


def test_a_backup_goes_beside_the_database(processed: Pipeline) -> None:
    """Under the time of its making; where it is, is said."""
    completed = run(processed, "backup")
    assert completed.code == 0
    (made,) = (processed.state / "backups").iterdir()
    assert str(made) in completed.output
    assert verify_backup(made)["checkpoints"] == 2


def test_a_backup_goes_where_it_is_told(processed: Pipeline) -> None:
    """A file that is there is only replaced with --force."""
    out = processed.folder / "copy.db"
    assert run(processed, "backup", "--out", "copy.db").code == 0
    before = out.read_bytes()
    refused = run(processed, "backup", "--out", "copy.db")
    assert refused.code == 2
    assert "--force" in refused.errors
    assert out.read_bytes() == before
    assert run(processed, "backup", "--out", "copy.db", "--force").code == 0


def test_there_is_nothing_to_back_up_before_the_first_run(pipeline: Pipeline) -> None:
    """And nothing is created."""
    assert run(pipeline, "backup").code == 2
    assert not pipeline.state.exists()


def test_of_postgres_the_command_is_said(pipeline: Pipeline) -> None:
    """Without its password."""
    url = "postgresql+psycopg://me:secret@db.example/learned"
    completed = run(
        pipeline, "backup", environment={"LEARNING_PIPELINE_STORE_URL": url}
    )
    assert completed.code == 2
    assert "pg_dump --format=custom" in completed.errors
    assert "secret" not in completed.errors
