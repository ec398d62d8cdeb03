"""`report`, and what `status` says of services and the index."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from learning_pipeline.learning.breakers import EMBEDDINGS
from learning_pipeline.store import Store
from learning_pipeline.store.breakers import BreakerChange, change_breaker
from learning_pipeline.store.index_feed import add_changes
from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.learning.event_lines import REAL_LINES
from learning_pipeline_tests.learning.learned import write_lines
from learning_pipeline_tests.pipeline import Pipeline


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The real file, processed; nothing here changes it."""
    made = Pipeline(tmp_path_factory.mktemp("learned"))
    write_lines(made.telemetry, "real.jsonl", REAL_LINES)
    made.process()
    return made


def test_the_report_says_everything_in_words_and_tables(learned: Pipeline) -> None:
    """The sentences first; a table only of what there is any of."""
    completed = run(learned, "report")
    assert completed.code == 0
    lines = completed.output.splitlines()
    assert lines[:4] == [
        "44 examples and 0 duplicates; 956 short of the training threshold of 1,000",
        "46 patterns of 106 events in 1 file; every stage has taken over all of them",
        "0 dead letters, no bytes lost",
        "the search index has every example",
    ]
    for title in ("Stages", "Patterns by kind", "Examples by day", "Backends since"):
        assert any(line.startswith(title) for line in lines), title
    assert "Files that lag most" not in lines
    assert "Dead letters" not in lines
    assert ["agent_step_complete", "46", "44"] in [line.split() for line in lines]


def test_the_report_as_json_is_one_document(learned: Pipeline) -> None:
    """With numbers."""
    document = run(learned, "report", "--json").document
    assert document["examples"]["example_count"] == 44
    assert document["examples"]["by_day"][-1]["total_count"] == 44
    assert document["files"]["lag_bytes"] == 0
    assert len(document["files"]["stages"]) == 5
    assert document["index"]["waiting_change_count"] == 0
    assert {each["state"] for each in document["dependencies"]} == {"closed"}
    assert document["metrics"]["backends"][0]["event_count"] == 35


def test_charts_are_written_only_when_asked_for(
    learned: Pipeline, tmp_path: Path
) -> None:
    """As PNG files of a folder that is made; older ones are replaced."""
    folder = tmp_path / "made" / "charts"
    for _ in range(2):
        completed = run(learned, "report", "--json", "--charts", str(folder))
        assert completed.code == 0
        assert completed.document["examples"]["example_count"] == 44
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "examples.png",
        "lag_by_stage.png",
        "patterns_by_kind.png",
        "success_and_latency.png",
    ]
    for name in names:
        assert str(folder / name) in completed.errors
        with Image.open(folder / name) as image:
            image.verify()
    assert not list(learned.folder.glob("*.png"))


def test_charts_that_cannot_be_written_are_an_error(
    learned: Pipeline, tmp_path: Path
) -> None:
    """The folder is named."""
    (tmp_path / "file").touch()
    folder = str(tmp_path / "file" / "charts")
    completed = run(learned, "report", "--charts", folder)
    assert completed.code == 2
    assert folder in completed.errors


def test_a_report_of_nothing_creates_nothing(tmp_path: Path) -> None:
    """Before the first pass, and without a telemetry root, which is said."""
    pipeline = Pipeline(tmp_path)
    completed = run(pipeline, "report")
    assert completed.code == 0
    assert "0 patterns of 0 events in 0 files; there are none" in completed.output
    assert not pipeline.state.exists()
    pipeline.telemetry.rmdir()
    completed = run(pipeline, "report")
    assert completed.code == 0
    assert str(pipeline.telemetry) in completed.errors


def test_files_that_lag_are_listed(pipeline: Pipeline) -> None:
    """Those of which something is unread."""
    lines = run(pipeline, "report").output.splitlines()
    start = lines.index("Files that lag most")
    assert lines[start + 1].split()[:2] == ["file", "unread"]
    assert {line.split()[0] for line in lines[start + 2 : start + 4]} == {
        *("a.jsonl", "b.jsonl"),
    }


def test_status_says_which_services_are_down_and_what_waits_for_the_index(
    learned_once: Pipeline,
    tmp_path: Path,
) -> None:
    """Below the table, and only what is not as it should be."""
    shutil.copytree(learned_once.folder, tmp_path, dirs_exist_ok=True)
    processed = Pipeline(tmp_path, dict(learned_once.settings))
    before = run(processed, "status").output
    assert "search index" not in before
    assert EMBEDDINGS not in before
    with Store(processed.store_url) as store:
        change = BreakerChange(
            state="open",
            opened_at="2026-06-01T10:00:00+00:00",
            last_error="it answered 503",
        )
        change_breaker(store, EMBEDDINGS, change)
        add_changes(store, [bytes(32)])
    after = run(processed, "status")
    assert after.output == before + (
        "\nembeddings is open since 2026-06-01T10:00:00+00:00: it answered 503\n"
        "1 change waits to be taken over by the search index\n"
    )
    document = run(processed, "status", "--json").document
    states = {each["name"]: each for each in document["dependencies"]}
    assert states[EMBEDDINGS]["state"] == "open"
    assert states["qdrant"]["state"] == "closed"
    assert document["index"]["waiting_change_count"] == 1
    assert document["index"]["behind_file_count"] == 0
    assert document["index"]["is_learned"] is True
