"""Names from telemetry and sizes, as people see them."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_pipeline.learning.report.labels import (
    shown_bytes,
    shown_label,
    shown_narrow,
)
from learning_pipeline.store.chunks import NONE_STATED


@given(st.none() | st.text(), st.integers(2, 300))
def test_a_label_is_one_short_line_of_visible_characters(
    text: str | None, max_chars: int
) -> None:
    """Whatever the text is made of."""
    label = shown_label(text, max_chars)
    assert label == NONE_STATED or 1 <= len(label) <= max_chars
    assert label.splitlines() == [label]
    assert not [each for each in label if unicodedata.category(each) in {"Cc", "Cf"}]


@given(st.none() | st.text(), st.integers(6, 40))
def test_a_narrow_label_can_be_broken_everywhere(
    text: str | None, max_run_chars: int
) -> None:
    """No run between spaces and hyphens is longer; short ones stay."""
    label = shown_narrow(text, max_run_chars)
    assert max(map(len, re.split(r"[\s-]", label))) <= max_run_chars
    if max(map(len, re.split(r"[\s-]", shown_label(text)))) <= max_run_chars:
        assert label.startswith(shown_label(text).removesuffix("…"))


def test_a_long_name_loses_its_middle() -> None:
    """The end of a path tells more than its beginning."""
    assert (
        shown_narrow("agents/eu-1/telemetry.jsonl", 22) == "agents/eu-1/telemetry.jsonl"
    )
    assert shown_narrow("a-telemetry_of_some_agents.jsonl", 16) == "a-telem…ents.jsonl"
    assert shown_narrow(None, 16) == NONE_STATED


def test_a_usual_name_stays_as_it_is() -> None:
    """A long one ends in an ellipsis."""
    assert shown_label("task_completed") == "task_completed"
    assert shown_label(" two\n words ") == "two words"
    assert shown_label("x" * 30, 10) == "x" * 9 + "…"
    assert shown_label("\u202eevil") == "\ufffdevil"
    assert (shown_label(None), shown_label("(none)")) == ("(none)", '"(none)"')


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (300 * 1024, "300 KiB"),
        (5 * 2**40, "5.0 TiB"),
        (5_000 * 2**40, "5,000 TiB"),
    ],
)
def test_bytes_have_a_fitting_unit(count: int, shown: str) -> None:
    """Three figures."""
    assert shown_bytes(count) == shown
