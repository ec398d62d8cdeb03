"""The fine-tuning dataset: examples as files that trainers load, with a manifest."""

from learning_pipeline.learning.dataset.filtering import Filters
from learning_pipeline.learning.dataset.manifest import (
    DatasetFile,
    DatasetManifest,
    differing_files,
    read_manifest,
)
from learning_pipeline.learning.dataset.options import (
    FORMATS,
    DatasetOptions,
    configured_options,
)
from learning_pipeline.learning.dataset.publishing import (
    dataset_folder,
    kept_manifest_path,
    write_dataset,
)
from learning_pipeline.learning.dataset.writing import Output, export_dataset

__all__ = [
    "FORMATS",
    "DatasetFile",
    "DatasetManifest",
    "DatasetOptions",
    "Filters",
    "Output",
    "configured_options",
    "dataset_folder",
    "differing_files",
    "export_dataset",
    "kept_manifest_path",
    "read_manifest",
    "write_dataset",
]
