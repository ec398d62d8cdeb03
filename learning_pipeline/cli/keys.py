"""FILE arguments: partition keys, refused with a hint when they are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from learning_pipeline.errors import InvalidPartitionKeyError
from learning_pipeline.telemetry import decode_key


def _require_keys(
    _context: click.Context, _parameter: click.Parameter, value: tuple[str, ...] | str
) -> tuple[str, ...] | str:
    for key in (value,) if isinstance(value, str) else value:
        try:
            decode_key(key)
        except InvalidPartitionKeyError as error:
            raise click.UsageError(str(error)) from None
    return value


def _files_argument(*, required: bool) -> Callable[[Any], Any]:
    return click.argument(
        "files",
        nargs=-1,
        required=required,
        metavar="FILE…" if required else "[FILE…]",
        callback=_require_keys,
    )


some_files = _files_argument(required=True)
any_files = _files_argument(required=False)
one_file = click.argument("file", callback=_require_keys)
