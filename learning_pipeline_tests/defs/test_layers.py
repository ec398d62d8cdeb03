"""Imports point downward only, as design.md says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from learning_pipeline_tests.pipeline import PROJECT

PACKAGE = PROJECT / "learning_pipeline"
LAYERS = {
    "definitions": 8,
    "cli": 8,
    "defs": 7,
    "learning": 6,
    "stages": 5,
    "reading_process": 4,
    "store": 3,
    "extraction": 3,
    "telemetry": 2,
    "settings": 1,
    "logs": 1,
    "connection_settings": 0,
    "model": 0,
    "errors": 0,
    "steps": 0,
}
"""From the top down; modules of the same height do not import each other."""

SAME_HEIGHT_ALLOWED = {("settings", "errors")}
FREE = {"testing"}
"""Test equipment drives the command, which is at the top."""

DAGSTER_IN = {"defs", "definitions", "cli"}
SQL_IN = {"store"}
URLS_IN = {"settings"}


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports when it runs, also inside functions."""
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
        pending += ast.iter_child_nodes(node)


def part_of(path: Path) -> str:
    """The layer that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_part_of_the_package_has_a_layer() -> None:
    """A new folder takes its place first."""
    assert {part_of(path) for path in FILES} - FREE - {"__init__"} <= LAYERS.keys()


@pytest.mark.parametrize(
    "path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES]
)
def test_imports_point_downward(path: Path) -> None:
    """A module imports only what is below it; outsiders only where they belong."""
    part = part_of(path)
    if part in FREE:
        return
    height = LAYERS.get(part, -1)
    for name in imports(path):
        package, _, rest = name.partition(".")
        if package == "learning_pipeline":
            other = rest.partition(".")[0]
            if other in LAYERS and other != part:
                assert LAYERS[other] < height, f"{part} imports {name}"
        outsider = {
            "dagster": DAGSTER_IN,
            "qdrant_client": {"learning"},
            "qdrant_edge": {"learning"},
            "alembic": SQL_IN,
            "psycopg": SQL_IN,
            "sqlite3": SQL_IN,
        }.get(package)
        assert outsider is None or part in outsider, f"{part} imports {name}"
        if package == "sqlalchemy":
            urls = name.startswith(("sqlalchemy.engine", "sqlalchemy.exc"))
            assert part in SQL_IN or (urls and part in URLS_IN), f"{part}: {name}"


def test_commands_that_do_not_run_anything_do_not_wait_for_dagster() -> None:
    """It takes seconds to import: only `process`, `dev` and `demo` may."""
    for path in (PACKAGE / "cli").glob("*.py"):
        if path.stem in {"runs", "home"}:
            continue
        top = ast.parse(path.read_text())
        names = {
            alias.name
            for node in top.body
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert "dagster" not in names, path
