"""What goes into a dataset, and in which form."""

from __future__ import annotations

from typing import Final

import msgspec

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.learning.dataset.filtering import Filters
from learning_pipeline.learning.dataset.tokens import NO_TOKENIZER
from learning_pipeline.settings import Settings

FORMATS: Final = ("openai", "sharegpt", "alpaca", "parquet")
LEAST_SIMILARITY: Final = 0.5
"""Below, texts that only share a subject would be taken for the same."""


class DatasetOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into a dataset, and in which form.

    Attributes:
        format: One of `FORMATS`.
        with_metadata: Whether each example says where it comes from.
        filters: Which examples.
        validation_share: Which share of them is for validation, from 0 to below 1; 0
            does not divide them.
        split_seed: Which ones; another seed deals them anew.
        similarity: Examples at least this similar to one that stays are left out,
            0.5 to 1; None keeps them.
        tokenizer: As the setting `DATASET_TOKENIZER`.
        training_threshold: As the setting.
    """

    format: str = "openai"
    with_metadata: bool = True
    filters: Filters = Filters()
    validation_share: float = 0.0
    split_seed: int = 0
    similarity: float | None = None
    tokenizer: str = NO_TOKENIZER
    training_threshold: int = 1_000

    @property
    def suffix(self) -> str:
        """Of a file's name."""
        return ".parquet" if self.format == "parquet" else ".jsonl"

    def check(self) -> None:
        """Refuse what makes no dataset.

        Raises:
            ConfigurationError: It names what, and what is allowed.
        """
        if self.format not in FORMATS:
            raise ConfigurationError(
                f"{self.format!r} is no format: take one of {', '.join(FORMATS)}"
            )
        if not 0 <= self.validation_share < 1:
            raise ConfigurationError(
                "the share for validation must be from 0 to below 1, not "
                f"{self.validation_share}"
            )
        if self.similarity is not None and not (
            LEAST_SIMILARITY <= self.similarity <= 1
        ):
            raise ConfigurationError(
                f"the similarity must be from {LEAST_SIMILARITY} to 1, not "
                f"{self.similarity}"
            )
        self.filters.check()


def configured_options(settings: Settings) -> DatasetOptions:
    """The dataset that the settings ask for, of all examples."""
    similarity = settings.dataset_near_duplicates
    return DatasetOptions(
        format=settings.dataset_format,
        with_metadata=settings.dataset_metadata,
        validation_share=settings.dataset_validation_share,
        split_seed=settings.dataset_split_seed,
        similarity=similarity if similarity < 1 else None,
        tokenizer=settings.dataset_tokenizer,
        training_threshold=settings.training_threshold,
    )
