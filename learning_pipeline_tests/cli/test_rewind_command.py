"""`checkpoints rewind` over rotated files: to a step, a time, another generation."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.cli.command import run
from learning_pipeline_tests.pipeline import FIRST_STAGE_ONLY, Completed, Pipeline


@pytest.fixture(scope="module")
def rotated_once(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """One file, rotated twice with a run after each; to be copied only."""
    made = Pipeline(
        tmp_path_factory.mktemp("rotated"),
        {"CHECKPOINT_INTERVAL": "10", **FIRST_STAGE_ONLY},
    )
    for number in range(3):
        active = made.telemetry / "a.jsonl"
        if number:
            active.rename(made.telemetry / f"a.jsonl-2026010{number}")
        active.write_bytes(b"".join(generate_lines(20, seed=number + 1)))
        assert run(made, "process").code == 0
    return made


@pytest.fixture
def rotated(rotated_once: Pipeline, tmp_path: Path) -> Pipeline:
    """A copy of the test's own."""
    shutil.copytree(rotated_once.folder, tmp_path, dirs_exist_ok=True)
    return Pipeline(tmp_path, dict(rotated_once.settings))


def rewind(pipeline: Pipeline, *arguments: str) -> Completed:
    """Run `checkpoints rewind a.jsonl`."""
    return run(pipeline, "checkpoints", "rewind", "a.jsonl", *arguments)


def steps(pipeline: Pipeline) -> list[dict[str, Any]]:
    """The history."""
    document = run(pipeline, "checkpoints", "history", "--json").document
    assert isinstance(document, list)
    return document


def test_a_rewind_goes_to_a_step_of_the_history_by_its_number(
    rotated: Pipeline,
) -> None:
    """The one that is shown; of an earlier generation too."""
    before = rotated.export()
    (step,) = [
        each
        for each in steps(rotated)
        if each["generation"] == 1 and each["end_offset"] and each["start_offset"] == 0
        if not each["is_generation_start"]
    ]
    assert str(step["step"]) in run(rotated, "checkpoints", "history").output
    arguments = ("--to", f"step:{step['step']}")
    dry = rewind(rotated, *arguments, "--dry-run")
    assert rotated.export() == before
    done = rewind(rotated, *arguments)
    assert (done.code, done.errors) == (0, "")
    assert f"to {step['end_offset']} of generation 1" in done.output
    spans = [line.split(":")[0] for line in dry.output.splitlines()]
    assert [each.strip() for each in spans if each.startswith("  ")] == [
        "generation 1",
        "generation 2",
    ]
    left = rotated.export()
    assert left == [
        row
        for row in before
        if (row["generation"], row["offset"]) < (1, step["end_offset"])
    ]
    assert run(rotated, "process").code == 0
    assert rotated.export() == before
    assert run(rotated, "doctor").code == 0


def test_a_rewind_goes_to_an_offset_of_an_earlier_generation(
    rotated: Pipeline,
) -> None:
    """Without one, of the generation that is being read."""
    before = rotated.export()
    assert rewind(rotated).code == 0
    assert {row["generation"] for row in rotated.export()} == {0, 1}
    assert rewind(rotated, "--generation", "0").code == 0
    assert rotated.export() == []
    unknown = rewind(rotated, "--generation", "7")
    assert (unknown.code, "nothing of generation 7" in unknown.errors) == (1, True)
    assert run(rotated, "process").code == 0
    assert rotated.export() == before


def test_a_rewind_goes_to_a_time_which_is_local_unless_it_says(
    rotated: Pipeline,
) -> None:
    """To the last step of then; earlier than all there is nothing to go to."""
    end_of_first = [each for each in steps(rotated) if each["generation"] == 0][-1]
    at = datetime.fromisoformat(end_of_first["committed_at"])
    local = at.astimezone().replace(tzinfo=None).isoformat()
    for text in (at.isoformat(), local, at.isoformat().replace("+00:00", "Z")):
        done = rewind(rotated, "--to", text, "--dry-run")
        assert f"to {end_of_first['end_offset']} of generation 0" in done.output
    long_ago = rewind(rotated, "--to", "2020-01-01")
    assert (long_ago.code, "which begins at" in long_ago.errors) == (1, True)
    later = datetime.now(UTC) + timedelta(days=1)
    assert "0 rows" in rewind(rotated, "--to", later.isoformat()).output


def test_what_could_not_be_learned_again_stays_unless_the_loss_is_accepted(
    rotated: Pipeline,
) -> None:
    """A dry run says so too; what is taken back then is counted as lost."""
    before = rotated.export()
    gone = rotated.telemetry / "a.jsonl-20260102"
    lost_bytes = gone.stat().st_size
    gone.unlink()
    refused = rewind(rotated, "--generation", "0")
    assert refused.code == 1
    assert "generation 1 of interaction_patterns: no file holds it" in refused.errors
    assert "--accept-loss" in refused.errors
    dry = rewind(rotated, "--generation", "0", "--dry-run")
    assert (dry.code, "cannot be learned again: generation 1" in dry.output) == (
        0,
        True,
    )
    assert rotated.export() == before
    assert rewind(rotated, "--generation", "2").code == 0
    assert rewind(rotated, "--generation", "0", "--accept-loss").code == 0
    run(rotated, "process")
    assert rotated.export() == [row for row in before if row["generation"] != 1]
    lost = {stage: each.lost_bytes for stage, _, each in rotated.counters()}
    assert lost["interaction_patterns"] == lost_bytes


def test_a_generation_that_retain_deleted_is_named_so(rotated: Pipeline) -> None:
    """Its tombstone is there, the file is not."""
    arguments = ("retain", "--action", "delete", "--older-than", "0", "--execute")
    assert run(rotated, *arguments).code == 0
    assert not (rotated.telemetry / "a.jsonl-20260101").exists()
    refused = rewind(rotated, "--generation", "0")
    assert refused.code == 1
    assert "`retain` recorded" in refused.errors


def test_all_stages_go_together(rotated: Pipeline) -> None:
    """Those that have read the file; each numbers its own steps."""
    before = rotated.export()
    assert rewind(rotated, "--all-stages", "--to", "0").code == 0
    assert len(rotated.export()) < len(before)
    several = rewind(rotated, "--stage", "a", "--stage", "b", "--to", "step:1")
    assert several.code == 2
    unknown = rewind(rotated, "--stage", "interaction_patterns", "--stage", "b")
    assert (unknown.code, "no checkpoint of b" in unknown.errors) == (1, True)
    assert json.dumps(rotated.export()) != json.dumps(before)


def test_a_clear_names_what_cannot_be_learned_again(rotated: Pipeline) -> None:
    """And forgets it all the same; the others are read again."""
    before = rotated.export()
    (rotated.telemetry / "a.jsonl-20260102").unlink()
    cleared = run(rotated, "checkpoints", "clear", "a.jsonl", "--yes")
    assert cleared.code == 0
    assert "a.jsonl: cannot be learned again: generation 1" in cleared.output
    assert "generation 0 of" not in cleared.output.partition("cannot be")[2]
    assert run(rotated, "process").code == 0
    assert rotated.export() == [row for row in before if row["generation"] != 1]


def test_what_is_read_again_of_what_was_learned_counts_as_before(
    rotated_once: Pipeline, tmp_path: Path
) -> None:
    """All that happened to the files stays counted, also by stages that follow."""
    shutil.copytree(rotated_once.folder, tmp_path, dirs_exist_ok=True)
    learned = Pipeline(tmp_path, {"CHECKPOINT_INTERVAL": "10"})
    assert run(learned, "process").code == 0
    before = learned.counters()
    assert {counters.generation_change_count for *_, counters in before} == {2}
    for stage in ("finetuning_examples", "pattern_index"):
        back = ("checkpoints", "rewind", "a.jsonl", "--stage", stage, "--to", "0")
        assert run(learned, *back).code == 0
        assert run(learned, "process").code == 0
        assert learned.counters() == before
