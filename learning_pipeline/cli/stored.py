"""What is stored so far, for commands that only look or take back."""

from __future__ import annotations

from pathlib import Path

from learning_pipeline.settings import Settings
from learning_pipeline.store import Store

NOTHING_URL = "sqlite://"
"""An empty database in memory."""


def stored_so_far(settings: Settings) -> Store:
    """The state database; an empty one, and nothing created, when there is none yet.

    Raises:
        StoreError: As `Store` does.
    """
    path = Path(settings.state_dir.absolute() / "state.db")
    # A log without its database is no fresh start: `Store` refuses that.
    log = path.with_name(path.name + "-wal")
    nothing = not settings.store_url and not path.exists() and not log.exists()
    return Store(NOTHING_URL if nothing else settings.resolved_store_url)
