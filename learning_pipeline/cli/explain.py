"""`explain`: the telemetry line behind an example."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click
import msgspec

from learning_pipeline.cli.output import echo_json, printable
from learning_pipeline.cli.stored import stored_so_far
from learning_pipeline.errors import ConfigurationError, UnknownExampleError
from learning_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from learning_pipeline.model import Example
    from learning_pipeline.stages.origins import NoOrigin, Origin
    from learning_pipeline.store import Store
    from learning_pipeline.store.dataset_reading import Places

EXIT_NO_LINE = 1
LEAST_DIGITS = 6
SHOWN_CHARS = 2_000
SHOWN_PLACES = 10

_HASH = re.compile(rf"[0-9a-f]{{{LEAST_DIGITS},64}}")


@click.command()
@click.argument("id_", metavar="ID")
@click.option("--full", is_flag=True, help="All of the line, the prompt, the response.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def explain(id_: str, *, full: bool, as_json: bool) -> int:
    """Show an example, where it comes from, and the telemetry line behind it.

    ID is a content hash, or at least its first 6 digits: the `id` of an exported
    example, the `content_hash` of `search` and `export patterns`. The line is read
    from its file, rotated or compressed or not, and secrets in it are redacted. The
    exit code is 1 when the line is not to be had any more.
    """
    prefix = id_.strip().lower()
    if not _HASH.fullmatch(prefix):
        message = f"{id_!r} is no content hash: {LEAST_DIGITS} to 64 hex digits"
        raise click.UsageError(message)
    from learning_pipeline.store.dataset_reading import places_of  # noqa: PLC0415

    settings = load_settings()
    with stored_so_far(settings) as store:
        example = _the_one(store, prefix)
        places = places_of(store, example.content_hash)
        line = _line(store, settings, example, full=full)
    if as_json:
        echo_json(_document(example, places, line))
    else:
        _echo(example, places, line, full=full)
    return 0 if line["line"] is not None else EXIT_NO_LINE


def _the_one(store: Store, prefix: str) -> Example:
    from learning_pipeline.store.dataset_reading import (  # noqa: PLC0415
        MAX_CANDIDATES,
        find_examples,
    )

    found = find_examples(store, prefix, count=MAX_CANDIDATES + 1)
    if len(found) == 1:
        return found[0]
    if not found:
        raise _why_none(store, prefix)
    listed = [
        f"  {each.content_hash.hex()}  {printable(each.kind)}, {each.partition}, "
        f"byte {each.offset:,}"
        for each in found[:MAX_CANDIDATES]
    ]
    if len(found) > MAX_CANDIDATES:
        listed.append("  and more")
    raise UnknownExampleError(
        f"several examples begin with {prefix}; add digits:\n" + "\n".join(listed)
    )


def _why_none(store: Store, prefix: str) -> UnknownExampleError:
    from learning_pipeline.store.dataset_reading import (  # noqa: PLC0415
        find_other_patterns,
    )

    others = find_other_patterns(store, prefix)
    if not others:
        return UnknownExampleError(
            f"nothing that was learned has the content hash {prefix}…; `export "
            "patterns` lists what has"
        )
    other = others[0]
    why = (
        "the stage finetuning_examples has not come there yet, `learning-pipeline "
        "process` brings it on"
        if other.is_quality
        else "it does not meet the quality rules, so it is in no dataset"
    )
    return UnknownExampleError(
        f"{other.content_hash.hex()} is a pattern, but no example: {why}. It is from "
        f"{other.partition}, generation {other.generation}, byte {other.offset:,}"
    )


def _line(
    store: Store, settings: Settings, example: Example, *, full: bool
) -> dict[str, Any]:
    """What is told of the line."""
    from learning_pipeline.extraction import build_extractor  # noqa: PLC0415
    from learning_pipeline.extraction.decoding import default_redactor  # noqa: PLC0415
    from learning_pipeline.stages import Reading  # noqa: PLC0415
    from learning_pipeline.stages.origins import (  # noqa: PLC0415
        NoOrigin,
        find_origin,
        gives,
    )
    from learning_pipeline.telemetry import ReadLimits  # noqa: PLC0415

    reading = Reading(
        telemetry_root=settings.telemetry_dir,
        limits=ReadLimits(
            max_records=1,
            max_batch_bytes=settings.max_batch_bytes,
            max_record_bytes=settings.max_record_bytes,
        ),
        read_ahead_bytes=0,
        patterns=settings.patterns,
    )
    found: Origin | NoOrigin
    try:
        found = find_origin(
            store, reading, example.partition, example.generation, example.offset
        )
    except ConfigurationError as error:
        # The telemetry root is gone; what is stored of the example is not.
        found = NoOrigin(str(error))
    if isinstance(found, NoOrigin):
        return {"line": None, "why_no_line": found.why}
    transform = build_extractor(
        settings.dead_letter_raw_bytes,
        settings.extractor_timeout_seconds,
        settings.extractor_memory_bytes,
    )
    raw = found.record.raw
    limit = len(raw) * 2 if full else SHOWN_CHARS
    shown, _ = default_redactor().redact_prefix(raw, limit)
    return {
        "file": found.file,
        "start_offset": found.record.start_offset,
        "end_offset": found.record.end_offset,
        "gives_example": gives(found, transform, example.content_hash),
        "is_cut": not full and len(raw) > limit,
        "line": shown.decode("utf-8", "backslashreplace"),
    }


def _document(example: Example, places: Places, line: dict[str, Any]) -> dict[str, Any]:
    return {
        "content_hash": example.content_hash.hex(),
        "kind": example.kind,
        "prompt": example.prompt,
        "response": example.response,
        "iterations": example.iterations,
        "backend": example.backend,
        "timestamp": example.event_timestamp,
        "success_metrics": msgspec.Raw(example.success_metrics.encode()),
        "partition": example.partition,
        "generation": example.generation,
        "offset": example.offset,
        "ordinal": example.ordinal,
        "run": example.run_id,
        "duplicate_count": places.total_count - 1,
        "duplicates": [
            msgspec.structs.asdict(each)
            for each in places.places
            if not each.is_example
        ],
        **line,
    }


def _echo(
    example: Example, places: Places, line: dict[str, Any], *, full: bool
) -> None:
    about = (example.kind, example.backend, example.event_timestamp)
    click.secho(example.content_hash.hex(), bold=True)
    click.echo(printable(", ".join(part for part in about if part)))
    end = f"-{line['end_offset']:,}" if line["line"] is not None else ""
    click.echo(
        f"from {printable(example.partition)}, generation {example.generation}, bytes "
        f"{example.offset:,}{end}, pattern {example.ordinal} of the line, run "
        f"{printable(example.run_id)}\n"
    )
    for name, text in (("prompt", example.prompt), ("response", example.response)):
        click.secho(name, bold=True)
        click.echo(_cut(printable(text), full=full) + "\n")
    _echo_line(line)
    _echo_duplicates(places, full=full)


def _echo_line(line: dict[str, Any]) -> None:
    if line["line"] is None:
        why = printable(line["why_no_line"])
        click.echo(f"The line is not to be had: {why}", err=True)
        return
    click.secho(f"line in {printable(line['file'])}", bold=True)
    click.echo(printable(line["line"]) + (" … (--full)" if line["is_cut"] else ""))
    if not line["gives_example"]:
        click.echo(
            "Note: the line does not give this example any more; the file was changed "
            "there, or the rules were since.",
            err=True,
        )


def _echo_duplicates(places: Places, *, full: bool) -> None:
    duplicates = [each for each in places.places if not each.is_example]
    if not duplicates:
        return
    shown = duplicates if full else duplicates[:SHOWN_PLACES]
    click.secho(f"\nthe same content {places.total_count - 1:,} times more", bold=True)
    for each in shown:
        click.echo(
            f"  {printable(each.partition)}, generation {each.generation}, byte "
            f"{each.offset:,}"
        )
    more_count = places.total_count - 1 - len(shown)
    if more_count:
        click.echo(f"  and {more_count:,} more")


def _cut(text: str, *, full: bool) -> str:
    is_whole = full or len(text) <= SHOWN_CHARS
    return text if is_whole else f"{text[:SHOWN_CHARS]} … (--full)"
