"""What a dataset is, beside it: counts, digests, and the checkpoints it stands for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from learning_pipeline.errors import DatasetManifestError
from learning_pipeline.learning.dataset.options import DatasetOptions
from learning_pipeline.learning.dataset.tokens import TokenCount

MANIFEST_VERSION: Final = 1


class DatasetFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a dataset.

    Attributes:
        name: Its path from the manifest's folder; `-` for standard output.
        split: `train`, `validation`, or `all` when it is not divided.
        example_count: Examples in it.
        size_bytes: Its size.
        sha256: Its digest, in hex.
    """

    name: str
    split: str
    example_count: int
    size_bytes: int
    sha256: str


class StandsFor(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint that the dataset stands for: what came before it is in there."""

    stage: str
    partition: str
    generation: int
    offset: int


class DatasetManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataset is. Two exports of the same state have the same.

    Attributes:
        options: As it was asked for.
        files: Its files.
        example_count: Examples in them.
        by_kind: The same per kind.
        by_backend: The same per backend; `(none)` where none is stated.
        by_split: The same per split.
        left_out: Examples that are not in them, by why: a filter's `kind`,
            `backend`, `time`, `score`; `near_duplicate`; `other_split`.
        known_example_count: All examples that there were.
        duplicate_count: Quality patterns of a content that one of those has.
        has_enough: Whether there are as many as the training threshold.
        tokens: How many tokens are in the messages.
        checkpoints: What the dataset stands for.
        manifest_version: Of this layout.
    """

    options: DatasetOptions
    files: Sequence[DatasetFile]
    example_count: int
    by_kind: Mapping[str, int]
    by_backend: Mapping[str, int]
    by_split: Mapping[str, int]
    left_out: Mapping[str, int]
    known_example_count: int
    duplicate_count: int
    has_enough: bool
    tokens: TokenCount
    checkpoints: Sequence[StandsFor]
    manifest_version: int = MANIFEST_VERSION

    def encode(self) -> bytes:
        """As JSON, for people too."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def read_manifest(path: Path) -> DatasetManifest:
    """Read one.

    Raises:
        DatasetManifestError: There is none, or it is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=DatasetManifest)
    except OSError as error:
        message = f"the manifest {path} cannot be read: {error.strerror}"
        raise DatasetManifestError(message) from error
    except msgspec.DecodeError as error:
        raise DatasetManifestError(f"{path} is no manifest: {error}") from error


def differing_files(path: Path) -> list[str]:
    """The files that are not as the manifest at `path` says, by name.

    Raises:
        DatasetManifestError: There is none, or it is none.
    """
    return [
        file.name
        for file in read_manifest(path).files
        if _sha256(path.parent / file.name) != file.sha256
    ]


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
