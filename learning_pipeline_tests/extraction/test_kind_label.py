"""What an event's kind is called where it is counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_pipeline.extraction import NO_KIND, kind_label
from learning_pipeline_tests.extraction.extraction_records import run, step


@pytest.mark.parametrize("kind", [None, "", 3, ["a"], b"a", "\n\0"])
def test_what_says_nothing_counts_as_no_kind(kind: object) -> None:
    """Whatever its type."""
    assert kind_label(kind) == NO_KIND


@given(st.text(st.characters(codec=None), max_size=300) | st.none() | st.integers())
def test_a_label_is_short_printable_and_can_be_stored(kind: object) -> None:
    """For every kind, half surrogate pairs included."""
    label = kind_label(kind)
    assert 1 <= len(label) <= 100
    assert label.encode()
    assert not any(char < " " or char == "\x7f" for char in label)


@pytest.mark.parametrize("kind", ["x" * 200, "a\tb", "k password=hunter2", "step"])
def test_the_engine_counts_under_the_same_label(kind: str) -> None:
    """So that the counts of all stages can be compared."""
    output = run(step(event=kind))
    assert output.counters.events_by_kind == {kind_label(kind): 1}
