"""A dataset as files in a folder, and the manifest that says which belong together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from filelock import FileLock

from learning_pipeline.learning.atomic_file import atomic_file
from learning_pipeline.learning.dataset.manifest import DatasetManifest
from learning_pipeline.learning.dataset.options import DatasetOptions
from learning_pipeline.learning.dataset.writing import ALL, Output, export_dataset
from learning_pipeline.store import Store

SPLITS: Final = ("train", "validation")
NAME: Final = "dataset"
SUFFIXES: Final = (".jsonl", ".parquet")


def split_paths(path: Path, options: DatasetOptions) -> dict[str, Path]:
    """The files of a dataset that is to be at `path`, by split."""
    if options.validation_share == 0:
        return {ALL: path}
    return {
        split: path.with_name(f"{path.stem}.{split}{path.suffix}") for split in SPLITS
    }


def manifest_path(path: Path) -> Path:
    """Where the manifest of a dataset at `path` is, unless it is put elsewhere."""
    return path.with_name(f"{path.stem}.manifest.json")


def dataset_folder(state_dir: Path) -> Path:
    """Where the newest dataset is kept."""
    return state_dir / NAME


def kept_manifest_path(state_dir: Path) -> Path:
    """Where the manifest of the newest dataset is kept."""
    return manifest_path(dataset_folder(state_dir) / NAME)


def write_files(
    store: Store, options: DatasetOptions, paths: Mapping[str, Path], manifest: Path
) -> DatasetManifest:
    """Write a dataset's files and its manifest.

    Args:
        store: Where the examples are.
        options: Which, and how.
        paths: The files by split; the others of a split are left out.
        manifest: Where the manifest goes.

    Raises:
        ConfigurationError: The options cannot be met; nothing was written.
        StoreError: The database failed; what was there is untouched.
        OSError: A file cannot be written, the manifest included; none was.

    Guarantees:
        Each file appears when it is whole, after all of them were written, and the
        manifest last. Killed in between, some are new and the others old: their
        digests differ from the manifest's, which `differing_files` tells.
    """
    with ExitStack() as files:
        # The first to be opened is the last to appear.
        last = files.enter_context(atomic_file(manifest))
        outputs = {
            split: Output(
                os.path.relpath(path.absolute(), manifest.absolute().parent),
                files.enter_context(atomic_file(path)),
            )
            for split, path in paths.items()
        }
        made = export_dataset(store, options, outputs)
        last.write(made.encode())
    return made


def write_dataset(
    store: Store, options: DatasetOptions, folder: Path
) -> DatasetManifest:
    """Keep the newest dataset in a folder: `dataset.…`, `dataset.manifest.json`.

    Files of another format or division that were here are removed, and what killed
    runs left. One process at a time writes; the others wait.

    Args:
        store: Where the examples are.
        options: Which, and how.
        folder: Made if it is not there.

    Raises:
        ConfigurationError: The options cannot be met; nothing was written.
        StoreError: The database failed; what was there is untouched.
        OSError: A file cannot be written.

    Guarantees:
        As those of `write_files`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{NAME}{options.suffix}"
    with FileLock(folder / ".lock"):
        for left in folder.glob(f".{NAME}.*"):
            left.unlink(missing_ok=True)
        paths = split_paths(path, options)
        made = write_files(store, options, paths, manifest_path(path))
        for stem in (NAME, *(f"{NAME}.{split}" for split in SPLITS)):
            for suffix in SUFFIXES:
                other = folder / f"{stem}{suffix}"
                if other not in paths.values():
                    other.unlink(missing_ok=True)
    return made
