"""Values that users record: each once, whoever records it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from learning_pipeline.store.schema import custom_metrics
from learning_pipeline.store.statements import insert

if TYPE_CHECKING:
    from learning_pipeline.store import Store


class StoredMetric(msgspec.Struct, frozen=True):
    """A row of `custom_metrics`.

    Attributes:
        metric_id: Its identity.
        name: What was measured.
        value: Finite.
        labels: JSON text of an object of texts, by name.
        recorded_at: When, in the canonical form of timestamps.
    """

    metric_id: str
    name: str
    value: float
    labels: str
    recorded_at: str


def add_custom_metric(store: Store, metric: StoredMetric) -> StoredMetric | None:
    """Record a value, durably, unless one of its identity is there already.

    Returns:
        The one that was there; None when this one was added.
    """
    with store.change() as connection:
        added = connection.execute(
            insert(custom_metrics, connection.dialect)
            .values(msgspec.structs.asdict(metric))
            .on_conflict_do_nothing()
            .returning(custom_metrics.c.metric_id)
        )
        if added.first() is not None:
            return None
        row = connection.execute(
            sa.select(custom_metrics).where(
                custom_metrics.c.metric_id == metric.metric_id
            )
        ).one()
        return StoredMetric(*row)
