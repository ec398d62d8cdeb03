"""Which stages read what which others commit."""

from __future__ import annotations

import sqlalchemy as sa

from learning_pipeline.store.schema import stages


def followers(connection: sa.Connection, stage: str) -> list[str]:
    """The stages that read of `stage`, directly or not; nearest first.

    Args:
        connection: Inside a transaction.
        stage: The one that is read.
    """
    readers: dict[str, list[str]] = {}
    query = sa.select(stages.c.stage, stages.c.upstream).order_by(stages.c.stage)
    for name, upstream in connection.execute(query):
        readers.setdefault(upstream, []).append(name)
    found: list[str] = []
    pending = [stage]
    while pending:
        for name in readers.get(pending.pop(0), ()):
            if name not in found:
                found.append(name)
                pending.append(name)
    return found
