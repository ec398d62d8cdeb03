"""What the stages tell of a partition when a run is done with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from learning_pipeline.defs.report_tables import dependency_table, percent
from learning_pipeline.defs.tables import FLOAT, INT, TEXT, rounded, table
from learning_pipeline.learning.breakers import EMBEDDINGS, QDRANT, Breakers
from learning_pipeline.learning.proposals.composing import identity_of
from learning_pipeline.learning.report.labels import shown_label
from learning_pipeline.settings import load_settings
from learning_pipeline.store import Store
from learning_pipeline.store.index_feed import count_changes, index_identity
from learning_pipeline.store.partition_counts import (
    count_examples,
    count_signals,
    measured_groups,
    signal_counts,
)
from learning_pipeline.store.signals import SignalGroup


def describe_examples(store: Store, partition: str) -> Mapping[str, Any]:
    """Examples and duplicates of the partition, and how large the dataset is."""
    counts = count_examples(store, partition)
    return {
        "example_count": counts.example_count,
        "duplicate_count": counts.duplicate_count,
        "total_example_count": counts.total_example_count,
    }


def describe_index(store: Store, partition: str) -> Mapping[str, Any]:  # noqa: ARG001 - one index for all partitions
    """Where the index is, what waits for it, and the services that it needs."""
    identity = index_identity(store)
    states = [
        each
        for each in Breakers(store, load_settings()).states()
        if each.name in {QDRANT, EMBEDDINGS}
    ]
    return {
        "index_target": "none yet" if identity is None else identity.target,
        "waiting_change_count": count_changes(store),
        "dependencies": dependency_table(states),
    }


def describe_metrics(store: Store, partition: str) -> Mapping[str, Any]:
    """What was measured of the partition, per kind and backend."""
    return {
        "metrics": table(
            {
                "kind": TEXT,
                "backend": TEXT,
                "events": INT,
                "success_%": FLOAT,
                "iterations_mean": FLOAT,
                "latency_ms_mean": FLOAT,
                "latency_ms_max": FLOAT,
                "tokens_in": INT,
                "tokens_out": INT,
            },
            (
                (
                    shown_label(each.kind),
                    shown_label(each.backend),
                    each.event_count,
                    rounded(percent(each.success_rate), 1),
                    rounded(each.iterations_mean, 2),
                    rounded(each.latency_ms_mean, 1),
                    rounded(each.latency_ms_max, 1),
                    each.tokens_in,
                    each.tokens_out,
                )
                for each in measured_groups(store, partition)
            ),
        )
    }


def describe_proposals(store: Store, partition: str) -> Mapping[str, Any]:
    """Which signs there are in the partition, and which proposals they speak for."""
    rows = []
    for each in signal_counts(store, partition):
        identity = identity_of(SignalGroup(each.signal, each.subject, each.count))
        proposal_id, kind = identity or (None, None)
        rows.append(
            (
                shown_label(each.signal),
                shown_label(each.subject),
                each.count,
                kind,
                proposal_id,
            )
        )
    return {
        "signals_by_name": count_signals(store, partition),
        "proposals": table(
            {
                "signal": TEXT,
                "about": TEXT,
                "signals": INT,
                "proposal": TEXT,
                "proposal_id": TEXT,
            },
            rows,
        ),
    }
