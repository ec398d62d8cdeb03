"""Writes a dataset: one pass over the examples of one snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from learning_pipeline.learning.dataset.manifest import (
    DatasetFile,
    DatasetManifest,
    StandsFor,
)
from learning_pipeline.learning.dataset.messages import messages_of
from learning_pipeline.learning.dataset.options import DatasetOptions
from learning_pipeline.learning.dataset.sinks import DigestingStream, open_sink
from learning_pipeline.learning.dataset.splitting import Splitter
from learning_pipeline.learning.dataset.tokens import TokenCounter
from learning_pipeline.model import Checkpoint, Example
from learning_pipeline.store import Store
from learning_pipeline.store.chunks import NONE_STATED
from learning_pipeline.store.dataset_reading import DatasetSnapshot, dataset_snapshot

ALL = "all"


@dataclass(frozen=True)
class Output:
    """Where examples go.

    Attributes:
        name: How the manifest calls it.
        stream: Open for writing; stays open.
    """

    name: str
    stream: BinaryIO


def export_dataset(
    store: Store, options: DatasetOptions, outputs: Mapping[str, Output]
) -> DatasetManifest:
    """Write the examples, by partition, generation, offset and ordinal.

    Args:
        store: Where they are.
        options: Which, and how.
        outputs: Where they go, by `train` and `validation`, or under `all`. Those of
            a split that is not there are left out.

    Raises:
        ConfigurationError: The options cannot be met; nothing was written.
        StoreError: The database failed.
        OSError: An output failed.

    Guarantees:
        The same examples give the same bytes. Memory does not grow with how many
        there are, unless near-duplicates are looked for.
    """
    options.check()
    with dataset_snapshot(store) as snapshot:
        options.filters.check_names(snapshot)
        writer = _Writer(options, outputs, _near_duplicates(options, snapshot))
        for example in snapshot.examples():
            writer.take(example)
        return writer.finish(snapshot)


@dataclass
class _Tally:
    known_example_count: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    by_kind: Counter[str] = field(default_factory=Counter)
    by_backend: Counter[str] = field(default_factory=Counter)
    by_split: Counter[str] = field(default_factory=Counter)


class _Writer:
    """Decides of each example whether and where it goes, and counts."""

    def __init__(
        self,
        options: DatasetOptions,
        outputs: Mapping[str, Output],
        near_duplicates: frozenset[bytes],
    ) -> None:
        self._options = options
        self._outputs = outputs
        self._near_duplicates = near_duplicates
        self._tokens = TokenCounter(options.tokenizer)
        self._splitter = Splitter(options.validation_share, options.split_seed)
        self._streams = {
            split: DigestingStream(output.stream) for split, output in outputs.items()
        }
        self._sinks = {
            split: open_sink(
                options.format, stream, with_metadata=options.with_metadata
            )
            for split, stream in self._streams.items()
        }
        self._tally = _Tally()

    def take(self, example: Example) -> None:
        """Write an example, or count why not."""
        tally = self._tally
        tally.known_example_count += 1
        split, why_not = self._place(example)
        if why_not is not None:
            tally.left_out[why_not] += 1
            return
        self._sinks[split].write(example)
        tally.by_split[split] += 1
        tally.by_kind[example.kind] += 1
        tally.by_backend[example.backend or NONE_STATED] += 1
        self._tokens.add([each.content for each in messages_of(example)])

    def finish(self, snapshot: DatasetSnapshot) -> DatasetManifest:
        """End the files, and say what they are."""
        for sink in self._sinks.values():
            sink.finish()
        tally, options = self._tally, self._options
        example_count = tally.by_split.total()
        return DatasetManifest(
            options=options,
            files=[
                DatasetFile(
                    name=self._outputs[split].name,
                    split=split,
                    example_count=tally.by_split[split],
                    size_bytes=stream.size_bytes,
                    sha256=stream.sha256,
                )
                for split, stream in self._streams.items()
            ],
            example_count=example_count,
            by_kind=_by_name(tally.by_kind),
            by_backend=_by_name(tally.by_backend),
            by_split={split: tally.by_split[split] for split in self._streams},
            left_out=_by_name(tally.left_out),
            known_example_count=tally.known_example_count,
            duplicate_count=snapshot.duplicate_count,
            has_enough=example_count >= options.training_threshold,
            tokens=self._tokens.result,
            checkpoints=[_stands_for(each) for each in snapshot.checkpoints],
        )

    def _place(self, example: Example) -> tuple[str, str | None]:
        why_not = self._options.filters.why_not(example)
        if why_not is not None:
            return ALL, why_not
        if example.content_hash in self._near_duplicates:
            return ALL, "near_duplicate"
        if ALL in self._sinks:
            return ALL, None
        split = self._splitter.split_of(example.content_hash)
        return split, None if split in self._sinks else "other_split"


def _near_duplicates(
    options: DatasetOptions, snapshot: DatasetSnapshot
) -> frozenset[bytes]:
    """Of those that the filters choose, the content hashes to be left out."""
    if options.similarity is None:
        return frozenset()
    # Takes a while to import; whoever keeps them all should not wait for it.
    from learning_pipeline.learning.dataset.near_duplicates import (  # noqa: PLC0415
        near_duplicates,
    )

    chosen = (
        example
        for example in snapshot.examples_by_content()
        if options.filters.why_not(example) is None
    )
    return near_duplicates(chosen, options.similarity)


def _by_name(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _stands_for(checkpoint: Checkpoint) -> StandsFor:
    return StandsFor(
        stage=checkpoint.stage,
        partition=checkpoint.partition,
        generation=checkpoint.generation,
        offset=checkpoint.offset,
    )
