"""Grouping files into the ranges that runs share, and reading ranges back."""

from __future__ import annotations

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_pipeline.defs.partitions import (
    add_keys,
    keys_of_run,
    known_keys,
    range_tags,
    share_runs,
)
from learning_pipeline_tests.defs.workbench import Workbench

KNOWN = [f"{index}.jsonl" for index in range(40)]
some_keys = st.sets(st.sampled_from(KNOWN))


@given(
    wanted=some_keys,
    avoid=some_keys,
    max_files=st.integers(1, 12),
    gap=st.integers(0, 5),
)
def test_groups_cover_every_wanted_key_once_and_no_avoided_one(
    wanted: set[str], avoid: set[str], max_files: int, gap: int
) -> None:
    """Whatever is wanted: contiguous groups, bounded in size and gaps."""
    groups = share_runs(
        wanted, KNOWN, max_files=max_files, max_gap=gap, avoid=frozenset(avoid)
    )
    covered = [key for group in groups for key in group]
    assert len(covered) == len(set(covered))
    assert wanted <= set(covered)
    assert not (set(covered) - wanted) & avoid
    for group in groups:
        start = KNOWN.index(group[0])
        assert group == KNOWN[start : start + len(group)]
        assert len(group) <= max_files
        assert group[0] in wanted
        assert group[-1] in wanted
        marks = "".join("w" if key in wanted else "." for key in group)
        assert "." * (gap + 1) not in marks


@given(wanted=some_keys.filter(bool), max_files=st.integers(1, 12))
def test_a_run_covers_exactly_the_group_that_its_tags_stand_for(
    wanted: set[str], max_files: int
) -> None:
    """Tags and keys of a run are each other's inverse."""
    for group in share_runs(wanted, KNOWN, max_files=max_files, max_gap=2):
        run = dg.DagsterRun(job_name="learn", tags=range_tags(group))
        assert keys_of_run(run, KNOWN) == group


def test_wanted_neighbours_share_one_run() -> None:
    """All of up to `max_files` neighbours make a single group."""
    assert share_runs(KNOWN, KNOWN, max_files=40) == [KNOWN]
    assert [len(each) for each in share_runs(KNOWN, KNOWN, max_files=25)] == [25, 15]


@given(
    lags=st.dictionaries(st.sampled_from(KNOWN), st.integers(0, 300)),
    max_bytes=st.integers(1, 100),
)
def test_no_file_shares_a_run_that_another_one_fills(
    lags: dict[str, int], max_bytes: int
) -> None:
    """A group's bytes are bounded, and of a file more than the bound is alone."""
    groups = share_runs(
        lags, KNOWN, max_files=40, max_gap=3, lags=lags, max_bytes=max_bytes
    )
    assert {key for group in groups for key in group} >= set(lags)
    for group in groups:
        work = [min(lags[key], max_bytes) for key in group if key in lags]
        assert sum(work) <= max_bytes
        assert len(work) == 1 or max(work) < max_bytes
    greatest = [max(lags.get(key, 0) for key in group) for group in groups]
    assert greatest == sorted(greatest, reverse=True)


def test_ten_thousand_files_can_share_a_run() -> None:
    """Every other one of 50,000 is wanted: five runs, and one for the last few."""
    keys = [f"{index:05}.jsonl" for index in range(50_000)]
    groups = share_runs(keys[::2], keys, max_files=10_000, max_gap=2)
    assert [len(group) for group in groups] == [9_999] * 5
    assert {key for group in groups for key in group} >= set(keys[::2])


@pytest.mark.parametrize(
    ("deleted", "left"), [("3.jsonl", ["7.jsonl"]), ("7.jsonl", ["3.jsonl"])]
)
def test_a_run_whose_range_lost_an_end_covers_the_other_end(
    deleted: str, left: list[str]
) -> None:
    """What lay between is not known any more, and is not guessed."""
    run = dg.DagsterRun(job_name="learn", tags=range_tags(KNOWN[3:8]))
    assert keys_of_run(run, [key for key in KNOWN if key != deleted]) == left


def test_a_run_without_partition_tags_covers_nothing() -> None:
    """Such as of a job that has no partitions."""
    assert keys_of_run(dg.DagsterRun(job_name="other"), KNOWN) == []


def test_more_keys_than_one_query_takes_are_added_in_order(
    home_bench: Workbench,
) -> None:
    """25,000 keys at once; added again they stay where they are."""
    instance = home_bench.instance
    keys = [f"{index:05}.jsonl" for index in range(25_000)]
    add_keys(instance, keys)
    add_keys(instance, keys[::-1][:10])
    assert known_keys(instance) == keys
