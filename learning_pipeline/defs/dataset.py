"""`finetuning_dataset`: the newest dataset, as files in the state directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from learning_pipeline.defs.assets import finetuning_examples
from learning_pipeline.errors import LearningPipelineError
from learning_pipeline.settings import Settings, load_settings
from learning_pipeline.store import Store, free_space_guard

if TYPE_CHECKING:
    from pathlib import Path

    from learning_pipeline.learning.dataset import DatasetManifest

MAX_SHOWN = 50


@dg.asset(deps=[finetuning_examples], group_name="learning", kinds={"file"})
def finetuning_dataset() -> dg.MaterializeResult[None]:
    """One line per example, divided into training and validation; with a manifest.

    Written anew from one snapshot of the examples. Which side an example is on depends
    on its content only, so it stays there as the set grows.
    """
    settings = load_settings()
    try:
        folder, manifest = _write(settings)
    except LearningPipelineError as error:
        raise dg.Failure(
            description=str(error), allow_retries=error.retryable
        ) from error
    except OSError as error:
        raise dg.Failure(
            description=(
                f"cannot write {error.filename}: {error.strerror}; the dataset that "
                "was there is whole"
            )
        ) from error
    return dg.MaterializeResult(metadata=_metadata(settings, folder, manifest))


def _write(settings: Settings) -> tuple[Path, DatasetManifest]:
    # pyarrow and what counts tokens take a second to import.
    from learning_pipeline.learning.dataset import (  # noqa: PLC0415
        configured_options,
        dataset_folder,
        write_dataset,
    )

    free_space_guard(settings)()
    folder = dataset_folder(settings.state_dir)
    with Store(settings.resolved_store_url) as store:
        return folder, write_dataset(store, configured_options(settings), folder)


def _metadata(
    settings: Settings, folder: Path, manifest: DatasetManifest
) -> dict[str, Any]:
    files = [
        dg.TableRecord(
            {
                "file": each.name,
                "split": each.split,
                "examples": each.example_count,
                "size_bytes": each.size_bytes,
                "sha256": each.sha256,
            }
        )
        for each in manifest.files
    ]
    metadata: dict[str, Any] = {
        "folder": dg.MetadataValue.path(str(folder.absolute())),
        "example_count": manifest.example_count,
        "duplicate_count": manifest.duplicate_count,
        "has_enough_to_train": manifest.has_enough,
        "training_threshold": settings.training_threshold,
        "files": dg.MetadataValue.table(files),
        "by_kind": dict(list(manifest.by_kind.items())[:MAX_SHOWN]),
        "left_out": dict(manifest.left_out),
    }
    if manifest.tokens.count is not None:
        metadata["token_count"] = manifest.tokens.count
    return metadata
