"""`export dataset`."""

from __future__ import annotations

import json
import os
import pty
from pathlib import Path
from threading import Thread

import pyarrow.parquet as pq
import pytest

from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.pipeline import Pipeline

DATASET = ("export", "dataset")


@pytest.fixture(scope="module")
def learned(learned_once: Pipeline) -> Pipeline:
    """Two files, learned; nothing here changes what was."""
    return learned_once


def ids(text: str) -> list[str]:
    """The examples of lines in OpenAI's format."""
    return [json.loads(line)["metadata"]["id"] for line in text.splitlines()]


def test_standard_output_has_every_example_once(learned: Pipeline) -> None:
    """Those of quality that `export patterns` has, each content once."""
    completed = run(learned, *DATASET)
    assert (completed.code, completed.errors) == (0, "")
    quality = [each["content_hash"] for each in learned.export() if each["quality"]]
    assert ids(completed.output) == list(dict.fromkeys(quality))


def test_a_file_has_a_manifest_beside_it(learned: Pipeline, tmp_path: Path) -> None:
    """Divided, the file's name says which is which."""
    out = tmp_path / "x.jsonl"
    run(learned, *DATASET, "--out", str(out), "--validation", "0.3")
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        *("x.manifest.json", "x.train.jsonl", "x.validation.jsonl"),
    ]
    manifest = json.loads((tmp_path / "x.manifest.json").read_text())
    assert [each["name"] for each in manifest["files"]] == [
        *("x.train.jsonl", "x.validation.jsonl"),
    ]
    for split in ("train", "validation"):
        content = (tmp_path / f"x.{split}.jsonl").read_text()
        shown = run(learned, *DATASET, "--validation", "0.3", "--split", split)
        assert shown.output == content
        assert len(ids(content)) == manifest["by_split"][split] > 0


def test_one_split_or_all_goes_to_the_file_itself(
    learned: Pipeline, tmp_path: Path
) -> None:
    """And the manifest to where it is wanted, with the way back to the file."""
    out, manifest = tmp_path / "x.jsonl", tmp_path / "m" / "y.json"
    manifest.parent.mkdir()
    where = ("--out", str(out), "--manifest", str(manifest))
    run(learned, *DATASET, *where, "--validation", "0.3", "--split", "all")
    assert out.read_text() == run(learned, *DATASET).output
    (file,) = json.loads(manifest.read_text())["files"]
    assert (file["name"], file["split"]) == ("../x.jsonl", "all")
    assert not (tmp_path / "x.manifest.json").exists()


def test_standard_output_has_a_manifest_when_asked_for(
    learned: Pipeline, tmp_path: Path
) -> None:
    """Its digest is that of what was printed."""
    path = tmp_path / "m.json"
    completed = run(learned, *DATASET, "--manifest", str(path))
    (file,) = json.loads(path.read_text())["files"]
    assert file["name"] == "-"
    assert file["size_bytes"] == len(completed.output.encode())


def test_options_reach_the_dataset(learned: Pipeline, tmp_path: Path) -> None:
    """Each of them is in the manifest."""
    path = tmp_path / "m.json"
    completed = run(
        learned,
        *(*DATASET, "--manifest", str(path), "--format", "sharegpt", "--no-metadata"),
        *("--kind", "task_completed", "--min-score", "0.2"),
        *("--since", "2020-01-01T00:00Z", "--until", "2030-01-01T00:00+01:00"),
        *("--near-duplicates", "drop", "--similarity", "0.7", "--tokenizer", "none"),
        *("--validation", "0.4", "--split", "train", "--split-seed", "9"),
    )
    assert completed.code == 0
    assert json.loads(path.read_text())["options"] == {
        "format": "sharegpt",
        "with_metadata": False,
        "filters": {
            "kinds": ["task_completed"],
            "backends": [],
            "since": "2020-01-01T00:00:00.000000Z",
            "until": "2029-12-31T23:00:00.000000Z",
            "min_score": 0.2,
        },
        "validation_share": 0.4,
        "split_seed": 9,
        "similarity": 0.7,
        "tokenizer": "none",
        "training_threshold": 1000,
    }
    first = json.loads(completed.output.splitlines()[0])
    assert first.keys() == {"conversations"}


def test_parquet_goes_through_a_pipe(learned: Pipeline, tmp_path: Path) -> None:
    """A stream that cannot be sought in gives the bytes of a file."""
    out, piped = tmp_path / "x.parquet", tmp_path / "piped"
    run(learned, *DATASET, "--format", "parquet", "--out", str(out))
    os.mkfifo(piped)
    reader = os.open(piped, os.O_RDONLY | os.O_NONBLOCK)
    try:
        run(learned, *DATASET, "--format", "parquet", output=str(piped))
        assert os.read(reader, 1 << 20) == out.read_bytes()
    finally:
        os.close(reader)
    assert pq.read_table(out).num_rows == len(ids(run(learned, *DATASET).output))


def test_parquet_is_not_printed_on_a_terminal(learned: Pipeline) -> None:
    """It says what to do instead."""
    terminal, other_end = pty.openpty()
    try:
        completed = run(
            learned, *DATASET, "--format", "parquet", output=os.ttyname(other_end)
        )
    finally:
        os.close(terminal)
        os.close(other_end)
    assert completed.code == 2
    assert "--out" in completed.errors


def test_before_anything_is_learned_the_file_is_empty(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """That is said, and is no error; nothing is created by looking."""
    out = tmp_path / "x.jsonl"
    completed = run(pipeline, *DATASET, "--out", str(out), "--kind", "task_completed")
    assert (completed.code, completed.output) == (0, "")
    assert "Nothing was learned yet" in completed.errors
    assert out.read_bytes() == b""
    assert not pipeline.state.exists()


def test_filters_that_leave_nothing_are_said(learned: Pipeline) -> None:
    """Of how many."""
    completed = run(learned, *DATASET, "--until", "1990-01-01")
    assert (completed.code, completed.output) == (0, "")
    assert "None of the" in completed.errors


@pytest.mark.parametrize(
    "arguments",
    [
        "--kind task_completd",
        "--backend nobody",
        "--since 2026-02-01 --until 2026-01-01",
        "--since yesterday",
        "--min-score 1.5",
        "--validation 1",
        "--validation nan",
        "--validation 0.1",
        "--split train",
        "--similarity 0.9",
        "--near-duplicates drop --similarity 0.1",
        "--split-seed -1",
        "--format csv",
        "--out x.jsonl --manifest x.jsonl",
        "--out nowhere/x.jsonl",
        "--out x.jsonl --tokenizer nobody",
    ],
)
def test_bad_usage_exits_with_2(learned: Pipeline, arguments: str) -> None:
    """A message on standard error, and no file."""
    completed = run(learned, *DATASET, *arguments.split())
    assert (completed.code, completed.output) == (2, "")
    assert "Error" in completed.errors
    assert not list(learned.folder.glob("*x.jsonl*"))


def test_an_empty_name_is_refused(learned: Pipeline) -> None:
    """As a shell gives it for a variable that is not set."""
    for option in ("--out", "--manifest"):
        completed = run(learned, *DATASET, option, "")
        assert completed.code == 2
        assert f"{option}': is empty: name a file" in completed.errors


def test_a_manifest_that_cannot_be_written_leaves_all_as_it_was(
    learned: Pipeline, tmp_path: Path
) -> None:
    """No new files beside an old manifest; the message names what it is about."""
    out = tmp_path / "x.jsonl"
    run(learned, *DATASET, "--out", str(out))
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    manifest = tmp_path / "nowhere" / "m.json"
    where = ("--out", str(out), "--manifest", str(manifest))
    completed = run(learned, *DATASET, *where, "--no-metadata")
    assert completed.code == 2
    assert f"cannot write {manifest}: No such file" in completed.errors
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_a_pipe_is_written_to_as_standard_output_is(
    learned: Pipeline, tmp_path: Path
) -> None:
    """It is not replaced, and has a manifest only when one is asked for."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    assert run(learned, *DATASET, "--out", str(pipe)).code == 0
    reader.join(10)
    assert read == [run(learned, *DATASET).output]
    assert list(tmp_path.iterdir()) == [pipe]
    divided = run(learned, *DATASET, "--out", str(pipe), "--validation", "0.1")
    assert divided.code == 2
    assert "what is no file takes one of them" in divided.errors


def test_an_unknown_kind_lists_what_there_is(learned: Pipeline) -> None:
    """So that a slip is seen at once."""
    errors = run(learned, *DATASET, "--kind", "task_completd").errors
    assert "task_completed" in errors
    assert "'task_completd'" in errors


def test_a_failed_export_leaves_the_older_file(
    learned: Pipeline, tmp_path: Path
) -> None:
    """And nothing beside it."""
    out = tmp_path / "x.jsonl"
    out.write_text("older")
    assert run(learned, *DATASET, "--out", str(out), "--kind", "x").code == 2
    assert [each.name for each in tmp_path.iterdir()] == ["x.jsonl"]
    assert out.read_text() == "older"
