"""Discovery: everything that matches is found or reported."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

import pytest

from learning_pipeline.errors import (
    ConfigurationError,
    TelemetryFileUnreadableError,
)
from learning_pipeline.telemetry import Discovery, decode_key, discover

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from learning_pipeline_tests.telemetry.conftest import WriteFile

JSONL = ("**/*.jsonl",)


def partitions(discovery: Discovery) -> list[str]:
    """The keys of the files that were found."""
    return [file.partition for file in discovery.files]


def problems(discovery: Discovery) -> list[tuple[str, str]]:
    """Path and reason of each problem."""
    return [(problem.path, problem.reason) for problem in discovery.problems]


def test_files_are_found_in_order_of_their_keys(
    root: Path, write_file: WriteFile
) -> None:
    """Folders, spaces and odd bytes included; what no pattern matches is not."""
    for name in ("b.jsonl", "a/z.jsonl", "a.jsonl", "a b.jsonl", "a/n.txt"):
        write_file(name)
    (root / os.fsdecode(b"\xff.jsonl")).write_bytes(b"12345")

    found = discover(root, JSONL)

    assert partitions(found) == [
        "%FF.jsonl",
        "a%20b.jsonl",
        "a.jsonl",
        "a/z.jsonl",
        "b.jsonl",
    ]
    assert found.files[0].size_bytes == 5
    assert found.problems == []


def test_a_name_must_match_to_its_very_end(root: Path, write_file: WriteFile) -> None:
    """A newline after the suffix is part of the name, and makes it another."""
    write_file("a.jsonl\n")
    write_file("new\nline.jsonl")

    assert partitions(discover(root, JSONL)) == ["new%0Aline.jsonl"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("**/*.jsonl",), ["a/b.jsonl"]),
        (("**/.*.jsonl",), ["a/.b.jsonl"]),
        (("**/*.jsonl", "**/.jsonl"), ["a/.jsonl", "a/b.jsonl"]),
        (("**/.h/*.jsonl",), [".h/c.jsonl", "a/.h/d.jsonl"]),
        (("*.jsonl",), []),
        (("a/*.jsonl", "**/b.jsonl"), ["a/b.jsonl"]),
    ],
)
def test_hidden_names_are_matched_only_by_patterns_that_say_so(
    root: Path, write_file: WriteFile, patterns: tuple[str, ...], expected: list[str]
) -> None:
    """A leading dot is never matched by a wildcard."""
    names = ("a/b.jsonl", "a/.b.jsonl", "a/.jsonl", ".h/c.jsonl", "a/.h/d.jsonl")
    for name in names:
        write_file(name)

    assert partitions(discover(root, patterns)) == expected


@pytest.mark.parametrize(
    ("patterns", "expected"), [(JSONL, []), (("**/.h/*.jsonl",), [(".h", "symlink")])]
)
def test_hidden_folders_are_looked_into_only_if_a_pattern_says_so(
    root: Path, patterns: tuple[str, ...], expected: list[tuple[str, str]]
) -> None:
    """Where nothing can match, nothing is worth a report either."""
    (root / ".h").symlink_to(root.parent)
    os.mkfifo(root / ".fifo.jsonl")

    assert problems(discover(root, patterns)) == expected


def test_a_hidden_folder_that_no_pattern_means_is_not_walked(
    root: Path, write_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository's own folder may be large, or closed."""
    write_file(".git/a.jsonl")
    write_file("b/a.jsonl")
    listings = 0
    real_scandir = os.scandir

    def scandir(descriptor: int) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        nonlocal listings
        listings += 1
        return real_scandir(descriptor)

    monkeypatch.setattr(os, "scandir", scandir)

    assert partitions(discover(root, JSONL)) == ["b/a.jsonl"]
    assert listings == 2


def test_links_are_reported_and_not_followed(
    root: Path, tmp_path: Path, write_file: WriteFile
) -> None:
    """Neither a link to a file nor one to a folder leads out of the root."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.jsonl").write_bytes(b"{}\n")
    write_file("a.jsonl")
    (root / "folder").symlink_to(outside)
    (root / "link.jsonl").symlink_to(outside / "secret.jsonl")
    (root / "dangling.jsonl").symlink_to("nowhere")
    (root / "loop.jsonl").symlink_to("loop.jsonl")
    (root / "unmatched").symlink_to(outside / "secret.jsonl")
    (root / "loop").symlink_to("loop")

    found = discover(root, JSONL)

    assert partitions(found) == ["a.jsonl"]
    assert problems(found) == [
        ("dangling.jsonl", "symlink"),
        ("folder", "symlink"),
        ("link.jsonl", "symlink"),
        ("loop.jsonl", "symlink"),
    ]


def test_the_root_itself_may_be_a_link(root: Path, write_file: WriteFile) -> None:
    """It is the operator's word, not that of whoever writes telemetry."""
    write_file("a.jsonl")
    link = root.parent / "link"
    link.symlink_to(root)

    assert partitions(discover(link, JSONL)) == ["a.jsonl"]


def test_what_matches_but_is_no_file_is_reported(
    root: Path, write_file: WriteFile
) -> None:
    """A folder with a telemetry file's name is walked nevertheless."""
    os.mkfifo(root / "fifo.jsonl")
    os.mkfifo(root / "fifo.txt")
    write_file("folder.jsonl/a.jsonl")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket.jsonl"))
        found = discover(root, JSONL)

    assert partitions(found) == ["folder.jsonl/a.jsonl"]
    assert [(p.path, p.detail.split(";")[0]) for p in found.problems] == [
        ("fifo.jsonl", "it matches a pattern but is a FIFO"),
        ("folder.jsonl", "it matches a pattern but is a directory"),
        ("socket.jsonl", "it matches a pattern but is a socket"),
    ]


def test_a_folder_that_cannot_be_opened_is_reported(
    root: Path, write_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are found all the same."""
    write_file("closed/a.jsonl")
    write_file("open/a.jsonl")
    real_open = os.open

    def open_unless_closed(
        name: bytes, flags: int, *, dir_fd: int | None = None
    ) -> int:
        if name == b"closed":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real_open(name, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", open_unless_closed)
    found = discover(root, JSONL)

    assert partitions(found) == ["open/a.jsonl"]
    assert problems(found) == [("closed", "unreadable")]
    assert "let this process's user" in found.problems[0].detail


@pytest.mark.parametrize("swap", ["gone", "file", "link"])
def test_a_folder_that_is_swapped_after_it_was_listed_is_not_entered(
    root: Path,
    write_file: WriteFile,
    monkeypatch: pytest.MonkeyPatch,
    swap: str,
) -> None:
    """Gone is gone; a link is reported, and never followed."""
    write_file("elsewhere/a.jsonl")
    folder = root / "elsewhere"
    moved = root.parent / "moved"
    real_open = os.open

    def open_after_swap(
        name: bytes | Path, flags: int, *, dir_fd: int | None = None
    ) -> int:
        if name == b"elsewhere" and not moved.exists():
            folder.rename(moved)
            if swap == "file":
                folder.write_bytes(b"")
            elif swap == "link":
                folder.symlink_to(moved)
        return real_open(name, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", open_after_swap)
    found = discover(root, JSONL)

    assert partitions(found) == []
    assert problems(found) == ([("elsewhere", "symlink")] if swap == "link" else [])


def test_paths_that_are_too_long_for_a_key_are_reported(
    root: Path, write_file: WriteFile
) -> None:
    """The folder under which no key would fit is named once, and not entered."""
    write_file("f" + " " * 240 + "/" + " " * 240 + ".jsonl")
    descriptor = os.open(root, os.O_RDONLY)
    for _ in range(12):
        os.mkdir("d" * 200, dir_fd=descriptor)
        child = os.open("d" * 200, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = child
    os.close(descriptor)

    found = discover(root, JSONL)

    assert partitions(found) == []
    assert [reason for _, reason in problems(found)] == ["path_too_long"] * 2
    assert found.problems[0].path == "/".join(["d" * 200] * 5)
    assert "shorten the names" in found.problems[1].detail


def test_a_deep_tree_is_walked_to_its_end(root: Path) -> None:
    """Depth costs neither recursion nor a descriptor per level."""
    descriptor = os.open(root, os.O_RDONLY)
    for _ in range(490):
        os.mkdir("d", dir_fd=descriptor)
        child = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = child
    os.close(os.open("a.jsonl", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)

    assert partitions(discover(root, JSONL)) == ["d/" * 490 + "a.jsonl"]


def test_a_file_that_vanishes_while_listing_is_left_out(
    root: Path, write_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is gone, so there is nothing to report."""
    write_file("a.jsonl")
    write_file("b.jsonl")
    real_scandir = os.scandir

    class Vanishing:
        def __init__(self, descriptor: int) -> None:
            self._entries = real_scandir(descriptor)

        def __enter__(self) -> list[os.DirEntry[str]]:
            entries = list(self._entries)
            (root / "a.jsonl").unlink()
            return entries

        def __exit__(self, *_: object) -> None:
            self._entries.close()

    monkeypatch.setattr(os, "scandir", Vanishing)
    found = discover(root, JSONL)

    assert partitions(found) == ["b.jsonl"]
    assert found.problems == []


@pytest.mark.parametrize("name", ["missing", "file", "nul\0"])
def test_an_unusable_root_names_the_setting_to_change(
    tmp_path: Path, name: str
) -> None:
    """The operator can act on it."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(ConfigurationError, match="LEARNING_PIPELINE_TELEMETRY_DIR"):
        discover(tmp_path / name, JSONL)


def test_running_out_of_descriptors_is_no_matter_of_settings(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passes, so it is an error that a retry may cure."""

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "open", refuse)

    with pytest.raises(TelemetryFileUnreadableError, match="ulimit -n"):
        discover(root, JSONL)


@pytest.mark.parametrize(
    "patterns", [(), ("",), ("/abs/*.jsonl",), ("../*.jsonl",), ("./a",), ("a//b",)]
)
def test_a_pattern_that_can_match_nothing_is_refused(
    root: Path, patterns: tuple[str, ...]
) -> None:
    """Finding nothing for ever would be a silent skip."""
    with pytest.raises(ConfigurationError, match="TELEMETRY_PATTERNS"):
        discover(root, patterns)


def test_every_key_found_leads_back_to_its_file(
    root: Path, write_file: WriteFile
) -> None:
    """Discovery and opening agree on what a key means."""
    for name in ("-a.jsonl", "a...b.jsonl", "%41.jsonl", "é\u2028.jsonl"):
        write_file(name, name.encode())

    for file in discover(root, JSONL).files:
        path = decode_key(file.partition)
        assert (root / os.fsdecode(path)).read_bytes() == path
