"""`status`, `checkpoints`, `dead-letters` and `export`: for people and for scripts."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from learning_pipeline.cli import output
from learning_pipeline.stages.names import LATER_STAGES
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.pipeline import Pipeline

STAGE = "interaction_patterns"


def size(pipeline: Pipeline, name: str) -> int:
    """A telemetry file's size in bytes."""
    return (pipeline.telemetry / name).stat().st_size


def test_status_shows_unread_files_and_their_lag(pipeline: Pipeline) -> None:
    """Before anything was processed: all of each file is unread."""
    completed = run(pipeline, "status")
    assert completed.code == 0
    row = next(line for line in completed.output.splitlines() if "a.jsonl" in line)
    assert row.split()[:4] == [
        "a.jsonl",
        *[str(size(pipeline, "a.jsonl"))] * 1,
        "0",
        str(size(pipeline, "a.jsonl")),
    ]


def test_status_shows_what_was_learned(processed: Pipeline) -> None:
    """Per file: size, offset, lag, events, patterns."""
    (processed.telemetry / "gone.jsonl").write_bytes(b"{}\n")
    run(processed, "process")
    (processed.telemetry / "gone.jsonl").unlink()
    with (processed.telemetry / "b.jsonl").open("ab") as file:
        file.write(b"torn")
    lines = run(processed, "status").output.splitlines()
    rows = {
        line.split()[0]: line.split()
        for line in lines
        if len(line.split()) < 2 or line.split()[1] not in LATER_STAGES
    }
    a_bytes = str(size(processed, "a.jsonl"))
    assert rows["a.jsonl"][1:6] == [STAGE, a_bytes, a_bytes, "0", "50"]
    assert rows["b.jsonl"][4] == "4"
    assert rows["gone.jsonl"][2] == "gone"


def test_status_as_json_is_one_document(processed: Pipeline) -> None:
    """With numbers, kinds and problems."""
    (processed.telemetry / "link.jsonl").symlink_to("a.jsonl")
    document = run(processed, "status", "--json").document
    first, _ = document["files"]
    stage = first["stages"][STAGE]
    assert first["size_bytes"] == stage["offset"] == size(processed, "a.jsonl")
    assert stage["event_count"] == sum(stage["events_by_kind"].values()) == 50
    assert stage["lag_bytes"] == stage["dead_letter_count"] == 0
    (problem,) = document["problems"]
    assert (problem["path"], problem["reason"]) == ("link.jsonl", "symlink")


def test_status_of_nothing_is_said(tmp_path: Path) -> None:
    """An empty root; as JSON an empty list."""
    pipeline = Pipeline(tmp_path)
    assert "No telemetry files" in run(pipeline, "status").output
    document = run(pipeline, "status", "--json").document
    assert document["files"] == document["problems"] == []
    assert document["index"]["target"] is None


def test_checkpoints_show_as_json_has_the_public_fields(processed: Pipeline) -> None:
    """Offsets per file, events over all, and when."""
    document = run(processed, "checkpoints", "show", "--json").document
    assert document["last_positions"] == {
        name: size(processed, name) for name in ("a.jsonl", "b.jsonl")
    }
    assert document["processed_count"] == 100
    assert re.match(r"\d{4}-\d\d-\d\dT", document["timestamp"])
    of_one = run(processed, "checkpoints", "show", "a.jsonl", "--json").document
    assert list(of_one["last_positions"]) == ["a.jsonl"]


def test_checkpoints_show_of_nothing(pipeline: Pipeline) -> None:
    """For people a sentence, for scripts the same fields."""
    document = run(pipeline, "checkpoints", "show", "--json").document
    assert document["last_positions"] == {}
    assert document["processed_count"] == 0
    assert document["timestamp"] is None
    completed = run(pipeline, "checkpoints", "show", "a.jsonl")
    assert "No checkpoints of interaction_patterns for a.jsonl yet" in completed.output


def test_history_lists_the_commits(processed: Pipeline) -> None:
    """Ranges that follow each other, ending where the checkpoint stands."""
    steps = run(processed, "checkpoints", "history", "a.jsonl", "--json").document
    ends = [step["end_offset"] for step in steps]
    assert ends[-1] == size(processed, "a.jsonl")
    assert [step["start_offset"] for step in steps[2:]] == ends[1:-1]
    table = run(processed, "checkpoints", "history").output
    assert f"{ends[-2]}-{ends[-1]}" in table
    assert "b.jsonl" in table
    both = run(processed, "checkpoints", "history", "--json").document
    assert [step["partition"] for step in both] == sorted(
        step["partition"] for step in both
    )
    assert [step for step in both if step["partition"] == "a.jsonl"] == steps
    assert run(processed, "checkpoints", "history", "x.jsonl", "--json").document == []


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_list_that_is_printed_piece_by_piece_is_the_same_document(
    capsys: pytest.CaptureFixture[str], count: int
) -> None:
    """To the byte."""
    values = [{"number": number, "text": "a\nb", "none": []} for number in range(count)]
    output.echo_json(values)
    whole = capsys.readouterr().out
    output.echo_json_list(iter(values))
    assert capsys.readouterr().out == whole


def test_a_long_table_is_printed_as_its_rows_come(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row once, under one head; what is held at a time is bounded."""
    monkeypatch.setattr(output, "MAX_RICH_ROWS", 3)
    printed: list[int] = []

    def rows() -> Iterator[list[str]]:
        for number in range(20):
            printed.append(capsys.readouterr().out.count("\n"))
            yield [f"{number}.jsonl", str(10**number)]

    assert output.echo_long_table(["partition", "bytes"], rows()) == 20
    assert sum(printed) > 12
    assert output.echo_long_table(["partition", "bytes"], iter([])) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.split() == ["19.jsonl", str(10**19)]


@pytest.mark.parametrize("is_terminal", [False, True])
@pytest.mark.parametrize("print_table", [output.echo_table, output.echo_long_table])
def test_a_table_moves_no_cursor_and_turns_no_text(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    print_table: Callable[[list[str], list[list[str]]], object],
    is_terminal: bool,  # noqa: FBT001 - a parameter of pytest's
) -> None:
    """On a terminal and in a pipe; a row is a line."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    print_table(
        ["kind"], [["a\x1b[2J"], ["b\x9b31m"], ["c\u202ed"], ["e\nf\tg"], ["ü"]]
    )
    printed = capsys.readouterr().out
    lines = [line.strip() for line in printed.split("\n")[1:-1]]
    assert lines == [r"a\x1b[2J", r"b\x9b31m", r"c\u202ed", r"e\nf\tg", "ü"]


def test_a_rewind_takes_rows_back_and_the_next_pass_replaces_them(
    processed: Pipeline,
) -> None:
    """Dry first, then to a commit, then to the start: the export ends the same."""
    before = run(processed, "export", "patterns").output
    steps = run(processed, "checkpoints", "history", "a.jsonl", "--json").document
    commit = steps[2]["end_offset"]
    to = ("checkpoints", "rewind", "a.jsonl", "--to", str(commit + 1))
    dry = run(processed, *to, "--dry-run")
    at = size(processed, "a.jsonl")
    assert (
        f"would go from offset {at} of generation 0 to {commit} of generation 0;"
        in dry.output
    )
    assert run(processed, "export", "patterns").output == before
    done = run(processed, *to)
    assert done.code == 0
    assert done.output == dry.output.replace("would go", "went").replace(
        "would be", "were"
    )
    left = run(processed, "export", "patterns").output.splitlines()
    assert all(
        json.loads(line)["offset"] < commit
        for line in left
        if json.loads(line)["partition"] == "a.jsonl"
    )
    for arguments in ((), ("checkpoints", "rewind", "a.jsonl")):
        if arguments:
            assert run(processed, *arguments).code == 0
        assert run(processed, "process").code == 0
        assert run(processed, "export", "patterns").output == before
    assert processed.audit() == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.jsonl",), "no checkpoint"),
        (("a.jsonl", "--to", "99999999"), "stands at offset"),
        (("a.jsonl", "--stage", "unknown"), "no checkpoint"),
    ],
)
def test_a_rewind_that_cannot_be_is_refused(
    processed: Pipeline, arguments: tuple[str, ...], said: str
) -> None:
    """With what there is instead."""
    completed = run(processed, "checkpoints", "rewind", *arguments)
    assert completed.code == 1
    assert said in completed.errors


@pytest.mark.parametrize("gone", ["deleted", "replaced"])
def test_a_rewind_keeps_rows_that_could_not_be_learned_again(
    processed: Pipeline, gone: str
) -> None:
    """The file is not the one that was read any more."""
    before = run(processed, "export", "patterns").output
    path = processed.telemetry / "a.jsonl"
    path.unlink()
    if gone == "replaced":
        path.write_bytes(b"".join(generate_lines(60, seed=77)))
    completed = run(processed, "checkpoints", "rewind", "a.jsonl")
    assert completed.code == 1
    assert "could not be learned again" in completed.errors
    assert run(processed, "export", "patterns").output == before


def test_clear_does_not_ask_a_script_but_wants_yes(processed: Pipeline) -> None:
    """Without a terminal nobody can answer."""
    before = run(processed, "export", "patterns").output
    completed = run(processed, "checkpoints", "clear", "a.jsonl")
    assert completed.code == 2
    assert "--yes" in completed.errors
    assert "rows" in completed.output
    run(processed, "checkpoints", "clear", "a.jsonl", "--yes", "--dry-run")
    assert run(processed, "export", "patterns").output == before


def test_clear_forgets_a_file_which_is_then_learned_anew(processed: Pipeline) -> None:
    """Only that one; it is read under the same generation number."""
    before = lines_of(processed)
    assert run(processed, "checkpoints", "clear", "a.jsonl", "--yes").code == 0
    assert {json.loads(line)["partition"] for line in lines_of(processed)} == {
        "b.jsonl"
    }
    assert run(processed, "process").code == 0
    assert lines_of(processed) == before


def test_clear_of_an_unknown_file_is_refused(processed: Pipeline) -> None:
    """And clears none of the others."""
    arguments = ("checkpoints", "clear", "a.jsonl", "nowhere.jsonl", "--yes")
    before = lines_of(processed)
    completed = run(processed, *arguments)
    assert completed.code == 1
    assert lines_of(processed) == before


def lines_of(pipeline: Pipeline) -> list[str]:
    """The lines of `export patterns`."""
    return run(pipeline, "export", "patterns").output.splitlines()


def test_dead_letters_are_listed(pipeline: Pipeline) -> None:
    """Where each stands and why; as JSON an object a line; without the text."""
    assert run(pipeline, "dead-letters", "list").output == "No dead letters.\n"
    secret = "sk-ant-" + "api03-" + "x9Yz" * 20
    broken = f'{{"api_key": "{secret}", \n'.encode()
    (pipeline.telemetry / "bad.jsonl").write_bytes(b"[1]\n" + broken)
    run(pipeline, "process")
    table = run(pipeline, "dead-letters", "list")
    assert "0-4" in table.output
    assert "malformed_json" in table.output
    output = run(pipeline, "dead-letters", "list", "bad.jsonl", "--json").output
    first, second = map(json.loads, output.splitlines())
    assert (first["start_offset"], first["end_offset"]) == (0, 4)
    assert first["kind"] is None
    assert second["partition"] == "bad.jsonl"
    assert "x9Yzx9Yz" not in table.output + output
    none = run(pipeline, "dead-letters", "list", "a.jsonl").output
    assert none == "No dead letters.\n"


def test_an_export_goes_to_a_file_in_one_piece(processed: Pipeline) -> None:
    """The same bytes as on standard output; an older file is replaced."""
    out = processed.folder / "out" / "patterns.jsonl"
    out.parent.mkdir()
    out.write_text("older")
    completed = run(processed, "export", "patterns", "--out", str(out))
    assert (completed.code, completed.output) == (0, "")
    assert out.read_text() == run(processed, "export", "patterns", "--out", "-").output
    assert [path.name for path in out.parent.iterdir()] == ["patterns.jsonl"]
    row = json.loads(out.read_text().splitlines()[0])
    assert row.keys() >= {
        *("partition", "generation", "offset", "kind"),
        *("prompt", "response", "quality", "content_hash"),
    }
    assert not {"run_id", "committed_at", "updated_at"} & row.keys()


@pytest.mark.parametrize("out", ["nowhere/out.jsonl", "telemetry"])
def test_an_export_to_a_bad_path_is_an_error(processed: Pipeline, out: str) -> None:
    """The path is named; nothing is left behind."""
    completed = run(processed, "export", "patterns", "--out", out)
    assert completed.code == 2
    assert f"cannot write {out}" in completed.errors
    assert not list(processed.folder.glob(".*"))


def test_two_histories_of_the_same_bytes_export_the_same_lines(
    processed: Pipeline, tmp_path: Path
) -> None:
    """One pass; or step by step, with a rewind and other commit sizes between."""
    other = Pipeline(tmp_path / "other", {"CHECKPOINT_INTERVAL": "7"})
    contents = {
        name: (processed.telemetry / name).read_bytes()
        for name in ("b.jsonl", "a.jsonl")
    }
    for share in (0.01, 0.4, 0.99):
        for name, content in contents.items():
            part = content[: int(len(content) * share)]
            (other.telemetry / name).write_bytes(part)
        assert run(other, "process").code == 0
    for name, content in contents.items():
        assert run(other, "checkpoints", "rewind", name, "--to", "9000").code == 0
        (other.telemetry / name).write_bytes(content)
    assert run(other, "process").code == 0
    assert lines_of(other) == lines_of(processed)
