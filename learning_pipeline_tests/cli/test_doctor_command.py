"""`doctor`: finds what is wrong, says what to do, and changes nothing."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from learning_pipeline.learning.dataset import (
    DatasetOptions,
    dataset_folder,
    write_dataset,
)
from learning_pipeline.store import Store
from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.pipeline import Pipeline


def levels(pipeline: Pipeline) -> dict[str, str]:
    """The level of each check, by name."""
    document = run(pipeline, "doctor", "--json").document
    return {check["name"]: check["level"] for check in document["checks"]}


def change(pipeline: Pipeline, statement: str) -> None:
    """Change the state database as no run would."""
    connection = sqlite3.connect(pipeline.state / "state.db")
    assert connection.execute(statement).rowcount != 0
    connection.commit()
    connection.close()


def contents(folder: Path) -> dict[str, bytes]:
    """All files, but for those that SQLite keeps beside an open database."""
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-shm", "-wal", ".txt"))
    }


def test_all_is_well_after_a_run(processed: Pipeline) -> None:
    """One line a check, exit code 0, and nothing is changed."""
    before = contents(processed.folder)
    completed = run(processed, "doctor")
    assert completed.code == 0
    lines = completed.output.splitlines()
    assert len(lines) == 12
    assert {line.split()[0] for line in lines} == {"ok"}
    assert contents(processed.folder) == before


def test_nothing_is_created_before_the_first_run(pipeline: Pipeline) -> None:
    """Who looks in the wrong folder leaves nothing behind."""
    assert run(pipeline, "doctor").code == 0
    assert not pipeline.state.exists()


def _text(pipeline: Pipeline) -> None:
    path = pipeline.state / "state.db"
    connection = sqlite3.connect(path)
    (prompt,) = connection.execute("SELECT prompt FROM patterns LIMIT 1").fetchone()
    connection.close()
    content = path.read_bytes()
    assert prompt.encode() in content
    changed = bytes([prompt.encode()[0] ^ 1]) + prompt.encode()[1:]
    path.write_bytes(content.replace(prompt.encode(), changed))


def _page(pipeline: Pipeline) -> None:
    path = pipeline.state / "state.db"
    content = path.read_bytes()
    path.write_bytes(content[:-4096] + bytes(4096))


def _counters(pipeline: Pipeline) -> None:
    change(
        pipeline,
        "UPDATE checkpoints SET counters = json_set(counters, '$.row_count', 7)",
    )


def _row(pipeline: Pipeline) -> None:
    change(pipeline, "DELETE FROM patterns WHERE ordinal = 0 AND partition_id = 1")


def _offset(pipeline: Pipeline) -> None:
    change(pipeline, 'UPDATE checkpoints SET "offset" = "offset" - 900')


def _version(pipeline: Pipeline) -> None:
    change(pipeline, "UPDATE learning_pipeline_version SET version_num = '9999'")


def _emptied(pipeline: Pipeline) -> None:
    (pipeline.state / "state.db").write_bytes(b"")


def _root(pipeline: Pipeline) -> None:
    pipeline.telemetry.rename(pipeline.folder / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (_text, "stored_texts"),
        (_page, "state_database"),
        (_counters, "stored_rows"),
        (_row, "stored_rows"),
        (_offset, "committed_ranges"),
        (_offset, "stored_rows"),
        (_version, "state_database"),
        (_emptied, "state_database"),
        (_root, "telemetry"),
    ],
)
def test_what_is_wrong_is_a_problem(
    processed: Pipeline, damage: Callable[[Pipeline], None], check: str
) -> None:
    """With a remedy, exit code 1, and the database as it was."""
    damage(processed)
    before = contents(processed.folder)
    completed = run(processed, "doctor")
    assert completed.code == 1
    (line,) = [each for each in completed.output.splitlines() if f" {check}:" in each]
    assert line.startswith("problem ")
    assert line.endswith(")")
    assert contents(processed.folder) == before


def test_what_may_be_so_on_purpose_is_a_warning(processed: Pipeline) -> None:
    """A file that is gone, a link below the root, litter of a killed process."""
    (processed.telemetry / "b.jsonl").unlink()
    (processed.telemetry / "link.jsonl").symlink_to("a.jsonl")
    (processed.state / ".creating-x").write_bytes(b"")
    found = levels(processed)
    assert run(processed, "doctor").code == 0
    assert {name for name, level in found.items() if level == "warning"} == {
        "checkpoints_in_files",
        "telemetry",
        "leftovers",
    }


def test_a_dataset_of_which_a_kill_left_half_is_a_problem(
    learned_once: Pipeline, tmp_path: Path
) -> None:
    """Files of two datasets side by side, told by the digests of the manifest."""
    shutil.copytree(learned_once.folder, tmp_path, dirs_exist_ok=True)
    learned = Pipeline(tmp_path, learned_once.settings)
    folder = dataset_folder(learned.state)
    with Store(learned.store_url) as store:
        write_dataset(store, DatasetOptions(validation_share=0.3), folder)
    assert levels(learned)["dataset"] == "ok"
    with (folder / "dataset.train.jsonl").open("ab") as file:
        file.write(b"{}\n")
    completed = run(learned, "doctor")
    assert completed.code == 1
    assert "dataset.manifest.json says: dataset.train.jsonl" in completed.output
    (folder / "dataset.manifest.json").write_text("[]")
    assert levels(learned)["dataset"] == "problem"


def test_too_little_free_space_is_a_problem(processed: Pipeline) -> None:
    """The setting decides what is too little."""
    huge = {"LEARNING_PIPELINE_MIN_FREE_BYTES": str(2**60)}
    completed = run(processed, "doctor", environment=huge)
    assert completed.code == 1
    assert "problem  free_space" in completed.output


def test_a_wrong_setting_is_bad_usage(processed: Pipeline) -> None:
    """Exit code 2, as of every command."""
    wrong = {"LEARNING_PIPELINE_CHECKPOINT_INTERVAL": "0"}
    assert run(processed, "doctor", environment=wrong).code == 2


def test_a_state_on_postgres_is_looked_at_too(
    pipeline: Pipeline, postgres_url: str
) -> None:
    """What contradicts itself there is found by the same questions."""
    on_postgres = Pipeline(pipeline.folder, {"STORE_URL": postgres_url})
    assert run(on_postgres, "process").code == 0
    assert set(levels(on_postgres).values()) == {"ok"}
