"""A dataset's files: whole or not at all, and whether they belong together."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from learning_pipeline.errors import DatasetManifestError
from learning_pipeline.learning.dataset import (
    DatasetOptions,
    differing_files,
    read_manifest,
    write_dataset,
)
from learning_pipeline.learning.dataset.options import configured_options
from learning_pipeline.settings import Settings
from learning_pipeline.store import Store
from learning_pipeline.store.dataset_reading import DatasetSnapshot
from learning_pipeline_tests.learning.dataset.made import example, keep, sha256

DIVIDED = DatasetOptions(validation_share=0.5)
FILES = {"dataset.train.jsonl", "dataset.validation.jsonl", "dataset.manifest.json"}

KILLED_AT_RENAME = """
import os, signal, sys
from pathlib import Path
from learning_pipeline.learning.dataset import DatasetOptions, write_dataset
from learning_pipeline.store import Store

left, replace = int(sys.argv[3]), Path.replace
def rename(path, target):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, target)
Path.replace = rename
with Store(sys.argv[1]) as store:
    write_dataset(store, DatasetOptions(validation_share=0.5), Path(sys.argv[2]))
"""


def names(folder: Path) -> set[str]:
    """What is in a folder, but for the lock."""
    return {each.name for each in folder.iterdir()} - {".lock"}


def test_files_and_manifest_belong_together(sqlite_url: str, tmp_path: Path) -> None:
    """The names are those of its folder; a changed or missing file is told."""
    folder = tmp_path / "new" / "dataset"
    with Store(sqlite_url) as store:
        keep(store, [example(f"prompt {number}") for number in range(20)])
        made = write_dataset(store, DIVIDED, folder)
    path = folder / "dataset.manifest.json"
    assert names(folder) == FILES
    assert read_manifest(path) == made
    assert {each.name: each.sha256 for each in made.files} == {
        name: sha256(folder / name) for name in FILES if name.endswith("l")
    }
    assert differing_files(path) == []
    (folder / "dataset.train.jsonl").write_bytes(b"{}\n")
    (folder / "dataset.validation.jsonl").unlink()
    assert differing_files(path) == ["dataset.train.jsonl", "dataset.validation.jsonl"]


def test_files_of_another_format_or_division_go(
    sqlite_url: str, tmp_path: Path
) -> None:
    """And what a killed run left; nothing of anybody else's."""
    (tmp_path / "notes.jsonl").touch()
    (tmp_path / ".dataset.train.jsonl.abc").touch()
    with Store(sqlite_url) as store:
        keep(store, [example()])
        write_dataset(store, DIVIDED, tmp_path)
        write_dataset(store, DatasetOptions(format="parquet"), tmp_path)
    assert names(tmp_path) - {"state"} == {
        *("dataset.parquet", "dataset.manifest.json", "notes.jsonl"),
    }


@pytest.mark.parametrize("rename", [1, 2, 3])
def test_a_kill_leaves_no_torn_file_and_a_rerun_heals(
    sqlite_url: str, tmp_path: Path, rename: int
) -> None:
    """Before the first rename all is old; in between the digests tell."""
    folder = tmp_path / "dataset"
    with Store(sqlite_url) as store:
        keep(store, [example(f"prompt {number}") for number in range(20)])
        write_dataset(store, DIVIDED, folder)
        old = {name: sha256(folder / name) for name in FILES}
        keep(store, [example(f"prompt {number}") for number in range(20, 40)])
        killed = subprocess.run(
            [sys.executable, "-c", KILLED_AT_RENAME, sqlite_url, folder, str(rename)],
            check=False,
        )
        assert killed.returncode == -9
        changed = {name for name in FILES if sha256(folder / name) != old[name]}
        assert len(changed) == rename - 1
        path = folder / "dataset.manifest.json"
        assert set(differing_files(path)) == changed
        write_dataset(store, DIVIDED, folder)
    assert differing_files(path) == []
    assert names(folder) == FILES


def test_a_failure_half_way_leaves_what_was_there(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing beside it."""

    def fail(_: DatasetSnapshot) -> None:
        raise OSError(28, "No space left on device")

    folder = tmp_path / "dataset"
    with Store(sqlite_url) as store:
        keep(store, [example()])
        write_dataset(store, DIVIDED, folder)
        old = {name: sha256(folder / name) for name in FILES}
        monkeypatch.setattr(DatasetSnapshot, "examples", fail)
        with pytest.raises(OSError, match="No space"):
            write_dataset(store, DIVIDED, folder)
    assert {name: sha256(folder / name) for name in names(folder)} == old


def test_two_that_write_at_once_leave_one_dataset(
    sqlite_url: str, tmp_path: Path
) -> None:
    """They take turns: the files are all of one of them."""
    folder = tmp_path / "dataset"
    with Store(sqlite_url) as store:
        keep(store, [example(f"prompt {number}") for number in range(50)])
        threads = [
            threading.Thread(
                target=write_dataset,
                args=(
                    store,
                    DatasetOptions(validation_share=0.5, split_seed=seed),
                    folder,
                ),
            )
            for seed in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert differing_files(folder / "dataset.manifest.json") == []


@pytest.mark.parametrize("content", [None, b"{", b"{}"])
def test_what_is_no_manifest_is_said(tmp_path: Path, content: bytes | None) -> None:
    """Missing, torn, or of something else."""
    path = tmp_path / "x.manifest.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetManifestError, match=r"x\.manifest\.json"):
        read_manifest(path)


def test_settings_say_what_is_kept() -> None:
    """Each of them."""
    made = configured_options(
        Settings(
            dataset_format="alpaca",
            dataset_metadata=False,
            dataset_validation_share=0.25,
            dataset_split_seed=7,
            dataset_near_duplicates=0.9,
            dataset_tokenizer="none",
            training_threshold=5,
        )
    )
    assert made == DatasetOptions(
        format="alpaca",
        with_metadata=False,
        validation_share=0.25,
        split_seed=7,
        similarity=0.9,
        tokenizer="none",
        training_threshold=5,
    )
    assert configured_options(Settings()).similarity is None
