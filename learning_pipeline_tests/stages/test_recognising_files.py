"""What a file is recognised by when its beginning alone does not tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from learning_pipeline.telemetry.discovery import discover
from learning_pipeline_tests.model.lines import good_line
from learning_pipeline_tests.model.subject import Subject
from learning_pipeline_tests.stages.engine import STAGE

HEADER = good_line("the same in every file", padding=500)
ACTIVE, ROTATED = "a.jsonl", "a.jsonl.1"


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[Subject]:
    """Two stages, with nothing read."""
    opened = Subject(tmp_path)
    opened.root.mkdir()
    yield opened
    opened.close()


def test_two_stages_give_files_that_begin_alike_the_same_generations(
    subject: Subject,
) -> None:
    """One that begins to read late tells the first file from the second, now gone."""
    active, rotated = subject.root / ACTIVE, subject.root / ROTATED
    active.write_bytes(HEADER + good_line("first", padding=300))
    subject.drain(STAGE, ACTIVE)
    active.rename(rotated)
    active.write_bytes(HEADER + good_line("second", padding=300))
    assert subject.drain(STAGE, ACTIVE).generation == 1
    active.unlink()
    assert subject.drain("notes", ACTIVE).generation == 0


def test_a_rotated_file_that_grows_is_asked_for_again(subject: Subject) -> None:
    """The active file is as it was; what a sensor compares is another all the same."""
    active, rotated = subject.root / ACTIVE, subject.root / ROTATED
    rotated.write_bytes(good_line("first"))
    active.write_bytes(good_line("second"))

    def is_all_seen() -> bool:
        (found,) = discover(subject.root, ["**/*.jsonl"], [ACTIVE]).files
        checkpoint = subject.checkpoint(STAGE, ACTIVE)
        assert checkpoint is not None
        return checkpoint.seen_signature == found.signature

    subject.drain(STAGE, ACTIVE)
    assert is_all_seen()
    with rotated.open("ab") as file:
        file.write(good_line("late"))
    assert not is_all_seen()
    subject.drain(STAGE, ACTIVE)
    assert is_all_seen()


def test_half_a_line_that_was_there_and_is_gone_is_counted_as_lost(
    subject: Subject,
) -> None:
    """Also if nothing was committed by the pass that saw it."""
    active = subject.root / ACTIVE
    active.write_bytes(good_line("whole"))
    subject.drain(STAGE, ACTIVE)
    with active.open("ab") as file:
        file.write(good_line("torn")[:40])
    subject.drain(STAGE, ACTIVE)
    active.write_bytes(good_line("another"))
    assert subject.drain(STAGE, ACTIVE).counters.lost_bytes == 40


def test_a_short_file_is_not_taken_for_a_longer_one_that_another_stage_has_read(
    subject: Subject,
) -> None:
    """Nor does the stage that has read that one then leave it out."""
    active, rotated = subject.root / ACTIVE, subject.root / ROTATED
    header = HEADER + good_line("and this as well", padding=700)
    active.write_bytes(header + good_line("first", padding=900))
    subject.drain(STAGE, ACTIVE)
    active.write_bytes(good_line("second"))
    rotated.write_bytes(header + good_line("third"))
    subject.drain("notes", ACTIVE)
    progress = subject.drain(STAGE, ACTIVE)
    assert progress.counters.event_count == 3 + 3 + 1
