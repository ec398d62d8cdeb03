"""The asset checks: each passes after a good run, and fails in its own situation."""

from __future__ import annotations

import dagster as dg
import pytest
import sqlalchemy as sa

from learning_pipeline.defs import build_definitions
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.defs.workbench import PATTERNS, Workbench

LINES = list(generate_lines(60, seed=7))
NEWEST = "SELECT max(sequence) FROM checkpoint_history"
NAMES = {
    "lag",
    "dead_letter_share",
    "offset_inside_file",
    "lost_bytes",
    "committed_ranges_contiguous",
}


def evaluations(
    result: dg.ExecuteInProcessResult,
) -> dict[str, dg.AssetCheckEvaluation]:
    """The results of the checks by name."""
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def checked_again(bench: Workbench) -> dict[str, dg.AssetCheckEvaluation]:
    """Only the checks, as "Execute checks" in the UI runs them."""
    selection = dg.AssetSelection.checks_for_assets(
        dg.AssetKey(["interaction_patterns"])
    )
    definitions = dg.Definitions.merge(
        build_definitions(),
        dg.Definitions(jobs=[dg.define_asset_job("check", selection)]),
    )
    job = definitions.resolve_job_def("check")
    return evaluations(job.execute_in_process(instance=bench.instance))


def assert_only(
    found: dict[str, dg.AssetCheckEvaluation], *, failed: str, names: str
) -> None:
    """Exactly one check failed, and its description names the file."""
    assert {name for name, each in found.items() if not each.passed} == {failed}
    assert names in (found[failed].description or "")
    assert found[failed].metadata["problem_count"].value == 1


@pytest.fixture
def learned(bench: Workbench) -> Workbench:
    """Two files, read to their ends."""
    keys = [bench.write(name, b"".join(LINES)) for name in ("a.jsonl", "b.jsonl")]
    result = bench.run(keys)
    found = evaluations(result)
    assert found.keys() == NAMES
    assert all(each.passed for each in found.values())
    assert all(each.asset_key == PATTERNS for each in found.values())
    return bench


def test_all_pass_again_when_nothing_changed(learned: Workbench) -> None:
    """Run alone, they look at every file."""
    found = checked_again(learned)
    assert found.keys() == NAMES
    assert all(each.passed for each in found.values())
    assert found["offset_inside_file"].metadata["file_count"].value == 2


def test_lag_fails_when_too_much_is_unread(
    learned: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file grew by more than is allowed; at the limit it still passes."""
    learned.append("b.jsonl", LINES[0])
    monkeypatch.setenv("LEARNING_PIPELINE_MAX_LAG_BYTES", str(len(LINES[0])))
    assert checked_again(learned)["lag"].passed
    monkeypatch.setenv("LEARNING_PIPELINE_MAX_LAG_BYTES", str(len(LINES[0]) - 1))
    assert_only(checked_again(learned), failed="lag", names="b.jsonl")


def test_dead_letter_share_fails_when_too_many_are_rejected(bench: Workbench) -> None:
    """More than one in twenty of a file's records, also if the fleet is fine."""
    bench.write("a.jsonl", b"".join(LINES))
    bench.write("b.jsonl", b"".join(LINES[:18]) + b"{broken\n")
    found = evaluations(bench.run(["a.jsonl", "b.jsonl"]))
    assert_only(found, failed="dead_letter_share", names="b.jsonl: 1 of 19")


def test_offset_inside_file_fails_when_the_file_was_truncated(
    learned: Workbench,
) -> None:
    """Until a run has begun the next generation."""
    learned.write("a.jsonl", LINES[0])
    found = checked_again(learned)
    assert_only(found, failed="offset_inside_file", names="a.jsonl")
    found = evaluations(learned.run(["a.jsonl"]))
    assert all(each.passed for each in found.values())


def test_offset_inside_file_fails_when_other_bytes_are_there(
    learned: Workbench,
) -> None:
    """As long as before, but not what was read."""
    learned.write("a.jsonl", b"".join(LINES)[::-1])
    assert_only(checked_again(learned), failed="offset_inside_file", names="a.jsonl")


def test_lost_bytes_fails_until_the_file_is_found_again(learned: Workbench) -> None:
    """The unread end of a file that was replaced; found under a rotated name."""
    learned.append("a.jsonl", b'{"torn')
    assert learned.run(["a.jsonl"]).success
    path = learned.pipeline.telemetry / "a.jsonl"
    path.rename(learned.pipeline.folder / "elsewhere")
    learned.write("a.jsonl", LINES[0])
    found = evaluations(learned.run(["a.jsonl"]))
    assert_only(found, failed="lost_bytes", names="a.jsonl: at least 6 bytes")
    (learned.pipeline.folder / "elsewhere").rename(path.with_name("a.jsonl.1"))
    found = evaluations(learned.run(["a.jsonl"]))
    assert found["lost_bytes"].passed


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE checkpoint_history SET start_offset = start_offset + 1",
        "DELETE FROM checkpoint_history",
    ],
    ids=["gap", "missing commit"],
)
def test_committed_ranges_contiguous_fails_on_a_gap(
    bench: Workbench, damage: str
) -> None:
    """Somebody changed the history behind our back."""
    bench.write("a.jsonl", b"".join(LINES))
    assert bench.run(["a.jsonl"]).success
    with sa.create_engine(bench.pipeline.store_url).begin() as connection:
        connection.execute(sa.text(f"{damage} WHERE sequence = ({NEWEST})"))
    found = checked_again(bench)
    assert_only(found, failed="committed_ranges_contiguous", names="a.jsonl")


def test_a_failed_check_does_not_fail_the_run(bench: Workbench) -> None:
    """The rows are right; the check says what to look at."""
    bench.write("a.jsonl", b"{broken\n")
    result = bench.run(["a.jsonl"])
    assert result.success
    assert not evaluations(result)["dead_letter_share"].passed


def test_in_a_large_fleet_the_files_of_the_run_are_looked_at(
    learned: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening thousands of files after each run would cost more than the run."""
    monkeypatch.setattr("learning_pipeline.defs.checks.MAX_FILES_CHECKED", 1)
    found = evaluations(learned.run(["a.jsonl"]))
    assert found["offset_inside_file"].metadata["file_count"].value == 1
