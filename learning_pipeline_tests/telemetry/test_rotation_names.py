"""What a rotated file's name says: of which file, and how old."""

from __future__ import annotations

import pytest

from learning_pipeline.telemetry.physical import Folder
from learning_pipeline.telemetry.rotation import readings_of

ROTATED = [
    "x.jsonl.1",
    "x.jsonl.12",
    "x.1.jsonl",
    "x.jsonl-20260109",
    "x.jsonl.20260109",
    "x.jsonl_2026-01-09",
    "x-20260109.jsonl",
    "x-20260109T120000.jsonl",
    "x-20260109T120000Z.jsonl",
    "x-20260109-1767960000.jsonl",
    "x.2026-01-09.1.jsonl",
    "x.jsonl.2026-01-09_12-00-00",
    "x-2026-01-09T12-00-00.123.jsonl",
    "x-20260109T120000.jsonl.2",
]
NOT_ROTATED = [
    "x.jsonl",
    "y.jsonl",
    "x-1.jsonl",
    "x1.jsonl",
    "x-20261399.jsonl",
    "x-99991231.jsonl",
    "x.jsonl.bak",
    "x.jsonl.123456",
    "x.jsonl.gz.tmp",
    ".1",
    ".gz",
]


@pytest.mark.parametrize("end", ["", ".gz", ".zst"])
@pytest.mark.parametrize("name", ROTATED)
def test_a_rotated_name_leads_back_to_its_file(name: str, end: str) -> None:
    """Also compressed; the file itself may have been any of several."""
    assert "x.jsonl" in {reading.base for reading in readings_of(name + end)}


@pytest.mark.parametrize("name", NOT_ROTATED)
def test_other_names_are_those_of_other_files(name: str) -> None:
    """Numbers and dates count only where rotation puts them."""
    assert "x.jsonl" not in {reading.base for reading in readings_of(name)}


@pytest.mark.parametrize(
    "names",
    [
        ["x.jsonl.10", "x.jsonl.9.gz", "x.jsonl.1"],
        ["x-20251231.jsonl", "x-20260109.jsonl", "x-20260109T000001.jsonl"],
        ["x.jsonl-20260109-9", "x.jsonl-20260109-10", "x.jsonl-20260110"],
        ["x.jsonl.2026-01-09_23-59-59", "x.jsonl.2026-01-10_00-00-00"],
    ],
)
def test_names_of_one_kind_tell_the_order(names: list[str]) -> None:
    """Oldest first: numbers count down, dates count up."""
    ranks = [
        next(each.rank for each in readings_of(name) if each.base == "x.jsonl")
        for name in names
    ]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize(
    ("names", "known", "owners"),
    [
        (["x.jsonl", "x-20260109.jsonl"], [], ["x.jsonl", "x.jsonl"]),
        (["x-20260109.jsonl"], [], ["x-20260109.jsonl"]),
        (["x-20260109.jsonl"], ["x.jsonl"], ["x.jsonl"]),
        (
            ["x.jsonl", "x-20260109.jsonl"],
            ["x-20260109.jsonl"],
            ["x.jsonl", "x-20260109.jsonl"],
        ),
        (["x.jsonl.1"], [], ["x.jsonl"]),
        (["x.jsonl.2.gz"], [], ["x.jsonl"]),
        (["x-20260109.jsonl.gz"], [], ["x-20260109.jsonl"]),
        (["x.jsonl", "x-20260109.jsonl.gz"], [], ["x.jsonl", "x.jsonl"]),
        (
            ["x-20260109.jsonl", "x-20260109.jsonl.1", "x.jsonl"],
            ["x-20260109.jsonl"],
            ["x-20260109.jsonl", "x-20260109.jsonl", "x.jsonl"],
        ),
        (["a.1.jsonl", "a.2.jsonl"], [], ["a.1.jsonl", "a.2.jsonl"]),
        (["notes.txt", "notes.txt.1", "x.jsonl.bak"], [], [None, None, None]),
    ],
)
def test_a_file_belongs_to_what_was_read_before_else_to_what_is_there(
    names: list[str], known: list[str], owners: list[str | None]
) -> None:
    """Else it is a partition of its own, if it is telemetry at all."""
    folder = Folder("", names)
    found = [
        folder.owner_of(name, known, lambda path: path.endswith(".jsonl"))
        for name in names
    ]
    assert found == owners
