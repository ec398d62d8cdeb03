"""The checkpoint IO manager in real runs: resuming, metadata, bad files, replays."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from learning_pipeline import steps
from learning_pipeline.defs.partitions import add_keys, known_keys
from learning_pipeline.errors import StoreUnavailableError
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.defs.workbench import (
    PATTERNS,
    REAL_EVENTS,
    REAL_FILE,
    REAL_PATTERNS,
    REAL_QUALITY,
    SOURCE,
    Workbench,
    failure_text,
    reference_lines,
)

LINES = list(generate_lines(100, seed=3))
MAX_RETRIES = "dagster/max_retries"


def fail_at(step: str, occurrence: int) -> Callable[[], None]:
    """Let the database fail once, at a step; gives the listener's removal."""
    seen = 0

    def listener(reached: str) -> None:
        nonlocal seen
        if reached == step:
            seen += 1
            if seen == occurrence:
                message = "the disk is full"
                raise StoreUnavailableError(message)

    steps.listen(listener)
    return lambda: steps.listen(None)


def test_the_real_file_gives_its_known_numbers(bench: Workbench) -> None:
    """106 events, 46 patterns, 44 of quality; in rows, checkpoint and metadata."""
    key = bench.copy_real_file()
    assert bench.run([key]).success
    exported = bench.pipeline.export()
    assert len(exported) == REAL_PATTERNS
    assert sum(line["quality"] for line in exported) == REAL_QUALITY
    metadata = bench.metadata(key)
    assert metadata["event_count"] == REAL_EVENTS
    assert metadata["row_count"] == REAL_PATTERNS
    assert metadata["quality_count"] == REAL_QUALITY
    assert metadata["offset"] == metadata["size_bytes"] == REAL_FILE.stat().st_size
    assert metadata["percent"] == 100.0
    assert metadata["lag_bytes"] == 0
    assert sum(metadata["events_by_kind"].values()) == REAL_EVENTS


def test_a_file_that_grows_in_steps_gives_the_lines_of_one_read(
    bench: Workbench, tmp_path: Path
) -> None:
    """Cut at any byte, a run after each step, and once more with nothing new."""
    content = REAL_FILE.read_bytes()
    cuts = [0, 1, 777, len(content) // 3, len(content) - 5, len(content)]
    key = bench.write("a.jsonl", b"")
    for start, end in itertools.pairwise(cuts):
        bench.append("a.jsonl", content[start:end])
        assert bench.run([key]).success
    assert bench.run([key]).success
    assert bench.pipeline.export() == reference_lines(tmp_path / "once", content)
    assert bench.metadata(key)["run_event_count"] == 0
    assert bench.metadata(key)["event_count"] == REAL_EVENTS


def test_each_partition_of_a_range_has_its_own_metadata(bench: Workbench) -> None:
    """Counts of one run over three files stand at the file that they are of."""
    sizes = {"a.jsonl": 10, "b.jsonl": 30, "c.jsonl": 50}
    for name, count in sizes.items():
        bench.write(name, b"".join(LINES[:count]))
    assert bench.run(list(sizes)).success
    for name, count in sizes.items():
        metadata = bench.metadata(name)
        assert metadata["event_count"] == metadata["run_event_count"] == count
        assert metadata["size_bytes"] == len(b"".join(LINES[:count]))
    assert bench.materialized() == set(sizes)


def test_progress_is_observed_during_the_first_run_of_a_file(bench: Workbench) -> None:
    """Of the stage and of the file; it only goes up, and begins before the end."""
    key = bench.write("a.jsonl", b"".join(LINES))
    assert bench.run([key]).success
    for asset_key in (PATTERNS, SOURCE):
        seen = bench.reports(key, asset_key)
        assert seen
        assert 0 < seen[0]["percent"] < 100
        offsets = [each["offset"] for each in seen]
        assert offsets == sorted(offsets)
        assert {"events_per_second", "event_count", "lag_bytes"} <= set(seen[0])
    assert bench.reports(key, SOURCE)[0]["stage"] == "interaction_patterns"


def bad_files(root: Path) -> dict[str, str]:
    """Files that cannot be read, and what is said of each."""
    (root / "folder.jsonl").mkdir()
    os.mkfifo(root / "pipe.jsonl")
    (root / "link.jsonl").symlink_to(root / "good.jsonl")
    return {
        "missing.jsonl": "no such file|not there|missing",
        "folder.jsonl": "directory|folder",
        "pipe.jsonl": "FIFO|pipe",
        "link.jsonl": "symbolic link",
    }


def test_bad_files_do_not_take_good_ones_with_them(bench: Workbench) -> None:
    """The good are materialised, the bad named with their remedies, the run fails."""
    good = [bench.write(name, b"".join(LINES)) for name in ("a.jsonl", "z.jsonl")]
    bad = bad_files(bench.pipeline.telemetry)
    result = bench.run([good[0], *bad, good[1]])
    assert not result.success
    assert bench.materialized() == set(good)
    assert bench.metadata("z.jsonl")["event_count"] == len(LINES)
    text = failure_text(result)
    assert f"{len(bad)} of {len(bad) + 2} files failed" in text
    for name, said in bad.items():
        line = next(each for each in text.splitlines() if each.startswith(f"- {name}:"))
        assert any(word in line for word in said.split("|")), line


EVIL_KEYS = ["/etc/passwd", "../x", "x" * 2000, "a,b", "a b.jsonl", "x/../../y"]


def test_evil_keys_are_refused_before_anything_is_opened(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key is input; the good files of the run go on."""
    good = [bench.write(name, b"".join(LINES)) for name in ("a.jsonl", "z.jsonl")]
    add_keys(bench.instance, [good[0], *EVIL_KEYS, good[1]])
    opened: list[str] = []
    real_open = os.open

    def noting_open(path: str, *arguments: int, **named: int) -> int:
        opened.append(os.fsdecode(path))
        return real_open(path, *arguments, **named)

    monkeypatch.setattr(os, "open", noting_open)
    result = bench.run([good[0], *EVIL_KEYS, good[1]])
    assert not result.success
    assert bench.materialized() == set(good)
    assert {"a.jsonl", "z.jsonl"} <= set(opened)
    assert not {"passwd", "/etc/passwd", "x", "y", "..", "a,b"} & set(opened)
    text = failure_text(result)
    assert f"{len(EVIL_KEYS)} of {len(EVIL_KEYS) + 2} files failed" in text
    assert "did you mean 'a%20b.jsonl'" in text
    assert len(max(text.splitlines(), key=len)) < 5000


@pytest.mark.parametrize("key", ["", "/etc/passwd", "unknown.jsonl"])
def test_a_single_evil_or_unknown_key_fails_its_run(bench: Workbench, key: str) -> None:
    """Alone in a run: an error, and nothing is stored under it."""
    add_keys(bench.instance, ["other.jsonl"])
    with contextlib.suppress(dg.DagsterError, dg.DagsterInvariantViolationError):
        # Dagster refuses some by itself, before or while the run begins.
        result = bench.job.execute_in_process(
            instance=bench.instance,
            tags={"dagster/partition": key},
            raise_on_error=False,
        )
        assert not result.success
    assert bench.materialized() == set()
    assert not (bench.pipeline.state / "state.db").exists() or not (
        bench.pipeline.counters()
    )


def test_a_refused_key_is_not_retried(bench: Workbench) -> None:
    """Trying the same again cannot help; the run says so to the daemon."""
    result = bench.run(["../x"])
    assert not result.success
    run = bench.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[MAX_RETRIES] == "0"


def test_a_missing_file_is_retried(bench: Workbench) -> None:
    """It may come back."""
    result = bench.run(["missing.jsonl"])
    run = bench.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert MAX_RETRIES not in run.tags


STRANGE_NAMES = [
    "a,b.jsonl",
    "[x] {y}.jsonl",
    "two words.jsonl",
    "100%.jsonl",
    "%41.jsonl",
    "größe 語.jsonl",
    'it\'s "quoted".jsonl',
    "a...b.jsonl",
    "-dash.jsonl",
    "deep/er/🙂.jsonl",
]


def test_files_with_strange_names_are_processed(bench: Workbench) -> None:
    """One run over all of them; each materialised under its key, each alone too."""
    keys = [bench.write(name, LINES[0] + LINES[1]) for name in STRANGE_NAMES]
    assert bench.run(keys).success
    assert bench.materialized() == set(keys) == set(known_keys(bench.instance))
    for name in STRANGE_NAMES[:3]:
        bench.append(name, LINES[2])
    for key in keys[:3]:
        assert bench.run([key]).success
        assert bench.metadata(key)["event_count"] == 3


def test_a_replay_replaces_rows(bench: Workbench) -> None:
    """Asked for by run config: everything is read again, nothing is there twice."""
    key = bench.copy_real_file()
    bench.run([key])
    before = bench.pipeline.export()
    assert bench.run([key], replay=True).success
    assert bench.pipeline.export() == before
    metadata = bench.metadata(key)
    assert metadata["run_event_count"] == metadata["event_count"] == REAL_EVENTS
    assert metadata["generation_change_count"] == 0
    assert bench.pipeline.audit() == []


def test_the_retry_of_a_replay_goes_on_where_that_stood(bench: Workbench) -> None:
    """Once per root run: a retry that began anew would never end under kills."""
    key = bench.copy_real_file()
    bench.run([key])
    before = bench.pipeline.export()
    remove = fail_at("commit.after", 3)
    failed = bench.run([key], replay=True)
    remove()
    assert not failed.success
    stood = bench.checkpoint(key).offset
    assert 0 < stood < REAL_FILE.stat().st_size
    retry = {"dagster/root_run_id": failed.run_id}
    assert bench.run([key], replay=True, tags=retry).success
    assert bench.metadata(key)["resumed_from_offset"] == stood
    assert bench.pipeline.export() == before
    assert bench.run([key], replay=True).success
    assert bench.metadata(key)["resumed_from_offset"] == 0
    assert bench.pipeline.export() == before


@pytest.mark.parametrize("gone", ["deleted", "replaced"])
def test_a_replay_keeps_rows_that_it_could_not_replace(
    bench: Workbench, gone: str
) -> None:
    """The file is gone or another one: what was learned from the old one stays."""
    key = bench.copy_real_file()
    bench.run([key])
    before = bench.pipeline.export()
    if gone == "deleted":
        (bench.pipeline.telemetry / key).unlink()
    else:
        bench.write(key, b"".join(LINES))
    result = bench.run([key], replay=True)
    assert result.success == (gone == "replaced")
    assert [row for row in bench.pipeline.export() if row["generation"] == 0] == before


@pytest.mark.parametrize(
    ("content", "because"),
    [(b"".join(LINES[50:]), "replaced"), (b"".join(LINES[:2]), "truncated")],
    ids=["replaced", "truncated"],
)
def test_a_replaced_or_truncated_file_begins_a_generation_and_says_so(
    bench: Workbench,
    content: bytes,
    because: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Read from 0 as generation 1; in log, metadata and counters."""
    key = bench.write("a.jsonl", b"".join(LINES[:50]))
    bench.run([key])
    first = bench.pipeline.export()
    bench.write("a.jsonl", content)
    capfd.readouterr()
    result = bench.run([key])
    assert result.success
    metadata = bench.metadata(key)
    assert metadata["generation"] == 1
    assert metadata["generation_change_count"] == 1
    assert metadata["resumed_from_offset"] == 0
    assert metadata["offset"] == len(content)
    checkpoint = bench.checkpoint(key)
    assert checkpoint.generation == 1
    assert checkpoint.counters.generation_change_count == 1
    assert [row for row in bench.pipeline.export() if row["generation"] == 0] == first
    logged = [
        event.user_message
        for event in bench.instance.all_logs(result.run_id)
        if "generation_began" in event.user_message
    ]
    assert len(logged) == 1
    assert because in logged[0]
    assert bench.pipeline.audit() == []


def test_a_run_that_fails_in_the_middle_keeps_what_it_committed(
    bench: Workbench, tmp_path: Path
) -> None:
    """The failure says why; the next run resumes; the done file is materialised."""
    bench.write("a.jsonl", b"".join(LINES[:20]))
    bench.write("b.jsonl", b"".join(LINES))
    remove = fail_at("commit.rows_written", 4)
    result = bench.run(["a.jsonl", "b.jsonl"])
    remove()
    assert not result.success
    assert "the disk is full" in failure_text(result)
    assert bench.materialized() == {"a.jsonl"}
    stood = bench.checkpoint("b.jsonl").offset
    assert stood == len(b"".join(LINES[:40]))
    assert bench.run(["a.jsonl", "b.jsonl"]).success
    assert bench.metadata("b.jsonl")["resumed_from_offset"] == stood
    rows = [row for row in bench.pipeline.export() if row["partition"] == "b.jsonl"]
    expected = reference_lines(tmp_path / "once", b"".join(LINES))
    assert [row | {"partition": "a.jsonl"} for row in rows] == expected


def test_a_sync_that_fails_fails_the_run(bench: Workbench) -> None:
    """What may fall back after a power cut is not called done."""
    key = bench.write("a.jsonl", b"".join(LINES))
    remove = fail_at("sync.before", 1)
    result = bench.run([key])
    remove()
    assert not result.success
    assert bench.checkpoint(key).synced_offset == 0
    assert bench.run([key]).success
    assert bench.checkpoint(key).synced_offset == len(b"".join(LINES))


def test_a_damaged_state_database_fails_the_run_for_good(bench: Workbench) -> None:
    """Refused loudly, not retried, never begun anew."""
    key = bench.write("a.jsonl", LINES[0])
    bench.pipeline.state.mkdir(exist_ok=True)
    database = bench.pipeline.state / "state.db"
    database.write_bytes(b"no database at all, but of some length" * 10)
    result = bench.run([key])
    assert not result.success
    assert "damaged" in failure_text(result)
    run = bench.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[MAX_RETRIES] == "0"
    assert database.read_bytes().startswith(b"no database")


def test_more_files_than_few_report_only_their_ends(bench: Workbench) -> None:
    """An event costs milliseconds: short files of a large run give one each."""
    keys = [bench.write(f"{index}.jsonl", LINES[0]) for index in range(25)]
    assert bench.run(keys).success
    assert bench.materialized() == set(keys)
    assert all(not bench.reports(key, PATTERNS) for key in keys)
