"""`export`: what was learned, for other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from learning_pipeline.cli.moments import MomentType
from learning_pipeline.cli.output import STANDARD_OUTPUT, atomic_output
from learning_pipeline.cli.stored import stored_so_far
from learning_pipeline.errors import ConfigurationError
from learning_pipeline.learning.atomic_file import is_stream
from learning_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from learning_pipeline.learning.dataset import DatasetManifest, DatasetOptions
    from learning_pipeline.store import Store

# As `dataset.FORMATS` has them.
FORMATS = ("openai", "sharegpt", "alpaca", "parquet")
DEFAULT_SIMILARITY = 0.8


def _named(
    _context: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:
    if not value and value is not None:
        message = "is empty: name a file"
        raise click.BadParameter(message, param=parameter)
    return value


_out = click.option(
    "--out",
    callback=_named,
    default=STANDARD_OUTPUT,
    show_default=True,
    metavar="FILE",
    help="Where to; `-` is standard output. A file appears when it is complete.",
)


@click.group()
def export() -> None:
    """Write what was learned to a file or to standard output."""


@export.command("patterns")
@_out
def export_patterns(out: str) -> None:
    """One JSON object a line, ordered by partition, generation and offset.

    The same bytes of telemetry give the same lines, however often and in however
    many steps they were read.
    """
    encode = msgspec.json.Encoder().encode
    with stored_so_far(load_settings()) as store, atomic_output(out) as file:
        for pattern in store.iterate_patterns():
            file.write(encode(pattern) + b"\n")


@export.command("dataset")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default=FORMATS[0],
    show_default=True,
    help="JSON lines as OpenAI, ShareGPT or Alpaca have them, or Parquet.",
)
@_out
@click.option(
    "--manifest",
    callback=_named,
    metavar="FILE",
    help="Where counts, digests and checkpoints go; X.manifest.json beside --out X.*.",
)
@click.option(
    "--metadata/--no-metadata",
    default=True,
    show_default=True,
    help=(
        "Whether each example says where it comes from. OpenAI documents no such key: "
        "for an upload there, leave it out."
    ),
)
@click.option("--kind", "kinds", multiple=True, help="Only of this kind; repeatable.")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    help="Only of this backend or model, `(none)`: of none stated; repeatable.",
)
@click.option(
    "--since",
    type=MomentType(),
    help="Happened then or later (ISO 8601); not those that state no time.",
)
@click.option(
    "--until",
    type=MomentType(),
    help="Happened before then; not those that state no time.",
)
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    help="Of at least this value_score, else efficiency; not those that have neither.",
)
@click.option(
    "--near-duplicates",
    type=click.Choice(["keep", "drop"]),
    default="keep",
    show_default=True,
    help="Of examples that say nearly the same: keep all, or one.",
)
@click.option(
    "--similarity",
    type=click.FloatRange(0.5, 1),
    help=f"From when on they do, with `drop`.  [default: {DEFAULT_SIMILARITY}]",
)
@click.option(
    "--validation",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="About this share is for validation: X.train.* and X.validation.*",
)
@click.option(
    "--split-seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Another deals them anew.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "all"]),
    help="Only this one, to --out itself; `all`: not divided.",
)
@click.option(
    "--tokenizer",
    metavar="NAME|FILE|none",
    help="Counts tokens for the manifest; as the setting DATASET_TOKENIZER.",
)
def export_dataset(**options: Any) -> None:
    """The fine-tuning examples, each content once, as trainers read them.

    They are ordered by partition, generation and offset; `learning-pipeline explain`
    takes an example's id. Whether one is for training or validation depends on its
    content and the seed only: it never changes sides. With several files, all are
    written before the first appears, and the manifest comes last: its digests tell
    whether they belong together.
    """
    out = options["out"]
    to_stream = out == STANDARD_OUTPUT or is_stream(Path(out))
    if options["split"] in {"train", "validation"} and not options["validation"]:
        message = "--split needs a share for --validation"
        raise click.UsageError(message)
    if options["similarity"] is not None and options["near_duplicates"] == "keep":
        message = "--similarity is for --near-duplicates drop"
        raise click.UsageError(message)
    if to_stream:
        _check_stream(options)
    settings = load_settings()
    asked = _asked(options, settings)
    with stored_so_far(settings) as store:
        if to_stream:
            made = _to_stream(store, asked, options)
        else:
            made = _to_files(store, asked, options)
    _say(made, out)


def _check_stream(options: dict[str, Any]) -> None:
    is_standard_output = options["out"] == STANDARD_OUTPUT
    if options["validation"] and options["split"] is None:
        where = "standard output" if is_standard_output else "what is no file"
        message = (
            f"{where} takes one of them: --split train, validation or all; or name a "
            "file by --out"
        )
        raise click.UsageError(message)
    if (
        is_standard_output
        and options["format_name"] == "parquet"
        and sys.stdout.isatty()
    ):
        message = "Parquet is nothing for a terminal; name a file by --out"
        raise click.UsageError(message)


def _asked(options: dict[str, Any], settings: Settings) -> DatasetOptions:
    from learning_pipeline.learning.dataset import (  # noqa: PLC0415 - takes a while
        DatasetOptions,
        Filters,
    )
    from learning_pipeline.learning.events.moments import canonical_moment  # noqa: PLC0415

    similarity = None
    if options["near_duplicates"] == "drop":
        similarity = options["similarity"] or DEFAULT_SIMILARITY
    asked = DatasetOptions(
        format=options["format_name"],
        with_metadata=options["metadata"],
        filters=Filters(
            kinds=options["kinds"],
            backends=options["backends"],
            since=canonical_moment(options["since"]),
            until=canonical_moment(options["until"]),
            min_score=options["min_score"],
        ),
        validation_share=options["validation"],
        split_seed=options["split_seed"],
        similarity=similarity,
        tokenizer=options["tokenizer"] or settings.dataset_tokenizer,
        training_threshold=settings.training_threshold,
    )
    asked.check()
    return asked


def _to_stream(
    store: Store, asked: DatasetOptions, options: dict[str, Any]
) -> DatasetManifest:
    from learning_pipeline.learning.dataset import Output  # noqa: PLC0415
    from learning_pipeline.learning.dataset import (  # noqa: PLC0415
        export_dataset as write,
    )

    manifest = options["manifest"]
    if manifest is None:
        # Nobody would see the count.
        asked = msgspec.structs.replace(asked, tokenizer="none")
    with atomic_output(options["out"]) as stream:
        output = Output(options["out"], stream)
        made = write(store, asked, {options["split"] or "all": output})
    if manifest is not None:
        with atomic_output(manifest) as file:
            file.write(made.encode())
    return made


def _to_files(
    store: Store, asked: DatasetOptions, options: dict[str, Any]
) -> DatasetManifest:
    from learning_pipeline.learning.dataset.publishing import (  # noqa: PLC0415
        manifest_path,
        split_paths,
        write_files,
    )

    path = Path(options["out"])
    split = options["split"]
    paths = split_paths(path, asked) if split is None else {split: path}
    manifest = Path(options["manifest"] or manifest_path(path))
    if manifest.absolute() in {each.absolute() for each in paths.values()}:
        message = f"--out and --manifest are both {manifest}"
        raise click.UsageError(message)
    try:
        return write_files(store, asked, paths, manifest)
    except OSError as error:
        name = error.filename or path
        message = f"cannot write {name}: {error.strerror or error}"
        raise ConfigurationError(message) from error


def _say(made: DatasetManifest, out: str) -> None:
    where = "the output" if out == STANDARD_OUTPUT else "the dataset"
    if not made.known_example_count:
        click.echo(
            f"Nothing was learned yet, so {where} is empty; `learning-pipeline "
            "process` learns from telemetry.",
            err=True,
        )
    elif not made.example_count:
        click.echo(
            f"None of the {made.known_example_count:,} examples is left, so {where} "
            "is empty.",
            err=True,
        )
