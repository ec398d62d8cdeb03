"""`explain`: from an example back to its line."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.pipeline import Pipeline

SECRET = "ghp_" + "a1B2" * 9


def event(prompt: str, **fields: Any) -> bytes:
    """A line of a completed task that gives an example."""
    task = {"prompt": f"{prompt}, as a long prompt", "output": "a long response"}
    return json.dumps({"event": "task_completed", "task": task, **fields}).encode()


LINES = [
    event("First"),
    event("Second", note=f"token {SECRET}"),
    event("First"),
    event("Red \x1b[31m", padding="x" * 5_000),
    b'{"event": "task_completed", "task": {"prompt": "a", "output": "b"}}',
]


def write(path: Path, lines: list[bytes]) -> None:
    """Write a telemetry file."""
    path.write_bytes(b"".join(line + b"\n" for line in lines))


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """One file, learned; to be looked at only."""
    made = Pipeline(tmp_path_factory.mktemp("made"))
    write(made.telemetry / "a.jsonl", LINES)
    made.process()
    return made


@pytest.fixture
def made(made_once: Pipeline, tmp_path: Path) -> Pipeline:
    """The same, of the test's own."""
    shutil.copytree(made_once.folder, tmp_path, dirs_exist_ok=True)
    return Pipeline(tmp_path)


def id_of(pipeline: Pipeline, offset: int) -> str:
    """The content hash of the pattern at an offset."""
    (found,) = (each for each in pipeline.export() if each["offset"] == offset)
    return str(found["content_hash"])


def test_a_prefix_shows_example_provenance_and_line(made_once: Pipeline) -> None:
    """And where else the same content occurs."""
    id_ = id_of(made_once, 0)
    completed = run(made_once, "explain", id_[:6].upper())
    assert completed.code == 0
    assert id_ in completed.output
    assert f"a.jsonl, generation 0, bytes 0-{len(LINES[0]) + 1}" in completed.output
    assert LINES[0].decode() in completed.output
    duplicate = f"byte {len(LINES[0]) + len(LINES[1]) + 2}"
    assert "the same content 1 times more" in completed.output
    assert duplicate in completed.output


def test_json_is_one_document(made_once: Pipeline) -> None:
    """With all that an export's metadata leads to."""
    id_ = id_of(made_once, 0)
    document = run(made_once, "explain", id_, "--json").document
    (duplicate,) = document.pop("duplicates")
    assert duplicate["offset"] == len(LINES[0]) + len(LINES[1]) + 2
    assert document.pop("run")
    assert document == {
        "content_hash": id_,
        "kind": "task_completed",
        "prompt": "First, as a long prompt",
        "response": "a long response",
        "iterations": 0,
        "backend": None,
        "timestamp": None,
        "success_metrics": {"iterations": 0, "efficiency": 1.0},
        "partition": "a.jsonl",
        "generation": 0,
        "offset": 0,
        "ordinal": 0,
        "duplicate_count": 1,
        "file": "a.jsonl",
        "start_offset": 0,
        "end_offset": len(LINES[0]) + 1,
        "gives_example": True,
        "is_cut": False,
        "line": LINES[0].decode(),
    }


def test_every_exported_id_leads_to_its_line(made_once: Pipeline) -> None:
    """As metadata says it."""
    exported = run(made_once, "export", "dataset").output.splitlines()
    assert len(exported) == 3
    for line in exported:
        metadata = json.loads(line)["metadata"]
        document = run(made_once, "explain", metadata["id"], "--json").document
        assert document["start_offset"] == metadata["offset"]
        assert document["gives_example"]


def test_secrets_are_not_shown(made_once: Pipeline) -> None:
    """The line holds what no example does; cut or whole."""
    id_ = id_of(made_once, len(LINES[0]) + 1)
    for options in ((), ("--full",), ("--json",)):
        completed = run(made_once, "explain", id_, *options)
        assert SECRET not in completed.output
        assert "[REDACTED" in completed.output


def test_a_long_line_is_cut_unless_all_of_it_is_wanted(made_once: Pipeline) -> None:
    """What moves a terminal's cursor is spelled out."""
    id_ = id_of(made_once, sum(len(line) + 1 for line in LINES[:3]))
    short, full = (
        run(made_once, "explain", id_, *options).output for options in ((), ("--full",))
    )
    assert len(short) < 4_000 < len(full)
    assert "(--full)" in short
    assert "(--full)" not in full
    assert "\x1b" not in short + full
    assert "Red \\x1b[31m" in short


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_without_the_telemetry_root_the_example_is_shown(
    made: Pipeline, options: tuple[str, ...]
) -> None:
    """And why its line cannot be: that is no wrong setting."""
    id_ = id_of(made, 0)
    shutil.rmtree(made.telemetry)
    completed = run(made, "explain", id_, *options)
    assert completed.code == 1
    assert "First, as a long prompt" in completed.output
    why = completed.document["why_no_line"] if options else completed.errors
    assert "cannot be opened" in why


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_line_is_found_in_a_rotated_file(made: Pipeline, is_compressed: bool) -> None:  # noqa: FBT001 - a parameter
    """Whatever its name, by its content; also before the next run has seen it."""
    path, id_ = made.telemetry / "a.jsonl", id_of(made, 0)
    content = path.read_bytes()
    if is_compressed:
        (made.telemetry / "a.jsonl.1.gz").write_bytes(gzip.compress(content))
    else:
        path.rename(made.telemetry / "a.jsonl.1")
    write(path, [event("Third")])
    for _ in range(2):
        document = run(made, "explain", id_, "--json").document
        assert document["line"] == LINES[0].decode()
        assert document["file"].startswith("a.jsonl.1")
        made.process()
    third = run(made, "explain", id_of_prompt(made, "Third")[:8], "--json").document
    assert (third["file"], third["line"]) == ("a.jsonl", event("Third").decode())


def id_of_prompt(pipeline: Pipeline, prompt: str) -> str:
    """The content hash of the pattern whose prompt begins like this."""
    (found,) = (each for each in pipeline.export() if each["prompt"].startswith(prompt))
    return str(found["content_hash"])


def test_a_file_that_is_gone_is_said(made: Pipeline) -> None:
    """The example is shown all the same."""
    id_ = id_of(made, 0)
    (made.telemetry / "a.jsonl").unlink()
    completed = run(made, "explain", id_)
    assert completed.code == 1
    assert "First, as a long prompt" in completed.output
    assert "no file holds generation 0 any more" in completed.errors
    document = run(made, "explain", id_, "--json").document
    assert document["line"] is None
    assert "generation 0" in document["why_no_line"]


def test_a_file_that_was_cut_off_is_said(made: Pipeline) -> None:
    """What is left of it is still shown."""
    ids = [id_of(made, offset) for offset in (0, len(LINES[0]) + 1)]
    path = made.telemetry / "a.jsonl"
    path.write_bytes(LINES[0] + b"\n")
    assert run(made, "explain", ids[0]).code == 0
    completed = run(made, "explain", ids[1])
    assert completed.code == 1
    assert "cut off" in completed.errors


def test_a_line_that_was_changed_is_said(made: Pipeline) -> None:
    """In the middle of a long file, where no fingerprint would tell."""
    path = made.telemetry / "a.jsonl"
    more = [event(f"Number {number}", padding="y" * 900) for number in range(30)]
    with path.open("ab") as file:
        file.writelines(line + b"\n" for line in more)
    made.process()
    id_ = id_of_prompt(made, "Number 9,")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"Number 9,", b"Numbed 9,"))
    completed = run(made, "explain", id_)
    assert "does not give this example any more" in completed.errors
    document = run(made, "explain", id_, "--json").document
    assert document["gives_example"] is False


def test_a_pattern_that_is_no_example_is_said(made_once: Pipeline) -> None:
    """And why."""
    id_ = id_of(made_once, sum(len(line) + 1 for line in LINES[:4]))
    completed = run(made_once, "explain", id_)
    assert (completed.code, completed.output) == (1, "")
    assert "quality" in completed.errors


def test_an_unknown_id_is_said(made_once: Pipeline, pipeline: Pipeline) -> None:
    """Also before anything is learned."""
    for one in (made_once, pipeline):
        completed = run(one, "explain", "0123456789")
        assert (completed.code, completed.output) == (1, "")
        assert "0123456789" in completed.errors


def test_an_ambiguous_id_lists_what_it_may_mean(made: Pipeline) -> None:
    """A line for each."""
    id_ = id_of(made, 0)
    _add_twin(made, id_)
    completed = run(made, "explain", id_[:8])
    assert (completed.code, completed.output) == (1, "")
    assert len(completed.errors.splitlines()) == 3
    assert id_ in completed.errors


def _add_twin(pipeline: Pipeline, id_: str) -> None:
    """Another example that begins with the same digits."""
    import sqlite3  # noqa: PLC0415 - a search for one would take hours

    twin = bytes.fromhex(id_[:8] + "f" * 56)
    with sqlite3.connect(pipeline.state / "state.db") as connection:
        connection.execute(
            "INSERT INTO patterns SELECT partition_id, generation, offset + 1, "
            "ordinal, kind, prompt, response, iterations, backend, context, "
            "success_metrics, event_timestamp, quality, ? FROM patterns "
            "WHERE offset = 0",
            [twin],
        )
        connection.execute(
            "INSERT INTO finetuning_examples SELECT partition_id, generation, "
            "offset + 1, ordinal, ?, is_duplicate, run_id FROM finetuning_examples "
            "WHERE offset = 0",
            [twin],
        )


@pytest.mark.parametrize("id_", ["12345", "xyzxyz", "a" * 65, "", "ab%%cd"])
def test_what_is_no_hash_is_bad_usage(made_once: Pipeline, id_: str) -> None:
    """Exit code 2."""
    completed = run(made_once, "explain", id_)
    assert (completed.code, completed.output) == (2, "")
    assert "content hash" in completed.errors


def test_unreadable_telemetry_is_said(made: Pipeline) -> None:
    """Not taken for a file that is gone."""
    id_ = id_of(made, 0)
    (made.telemetry / "a.jsonl").unlink()
    (made.telemetry / "a.jsonl").mkdir()
    completed = run(made, "explain", id_)
    assert completed.code == 1
    assert "not to be had" in completed.errors
