"""A store that may fail: that costs a miss and is counted, but never costs the answer."""

from __future__ import annotations

from typing import Any, cast

from tta_notebook.core import checked
from tta_notebook.core.checked import UNSET, UnsetType
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.performance.entry import CacheStore, Entry, now_s
from tta_notebook.performance.statistics import Statistics
from tta_notebook.performance.stores.memory import MemoryStore

_OWNER = "CachePrimitive"
_METHODS = ("get", "put", "delete", "clear", "counters")


class Keeper:
    """Asks a cache's store.

    Attributes:
        store: the store.
        get_now: its `get` without a coroutine, where it has one.
        needs_copies: whether what it gives is what was put, so that it is not to be given away.
    """

    def __init__(self, store: CacheStore, counts: Statistics) -> None:
        self.store = store
        self.get_now: Any = getattr(store, "get_now", None)
        self.needs_copies = store.keeps_objects
        self._put_now: Any = getattr(store, "put_now", None)
        self._counts = counts

    async def get(self, key: str, context: WorkflowContext) -> Entry | None:
        """Return the entry; None when there is none, or the store fails."""
        try:
            if self.get_now is not None:
                return cast("Entry | None", self.get_now(key, now_s()))
            return await self.store.get(key)
        except Exception as error:  # noqa: BLE001 - a cache's back end
            self.failed("get", error, context)
            return None

    async def put(self, key: str, entry: Entry, context: WorkflowContext) -> None:
        """Keep the entry, if the store can."""
        try:
            if self._put_now is None:
                await self.store.put(key, entry)
            else:
                self._put_now(key, entry)
        except Exception as error:  # noqa: BLE001 - a cache's back end
            self.failed("put", error, context)

    def failed(self, operation: str, error: BaseException, context: WorkflowContext) -> None:
        """Count and note that something went wrong which the answer does not depend on."""
        self._counts.errors += 1
        context.note("cache_error", operation=operation, error=f"{type(error).__name__}: {error}")


def chosen_store(
    given: CacheStore | None, max_size: int | UnsetType, max_bytes: int | UnsetType | None
) -> CacheStore:
    """Return the store that a cache's arguments ask for.

    Raises:
        ConfigurationError: it is no store.
        ArgumentError: there are a store and bounds for another one.
    """
    if given is None:
        return MemoryStore(
            1000 if max_size is UNSET else max_size, None if max_bytes is UNSET else max_bytes
        )
    checked.alone(_OWNER, "store", {"max_size": max_size, "max_bytes": max_bytes})
    missing = [name for name in _METHODS if not callable(getattr(given, name, None))]
    if isinstance(given, type) or missing or not hasattr(given, "keeps_objects"):
        lacks = ", ".join(missing) or "being an object with keeps_objects"
        raise ConfigurationError(
            f"{_OWNER}: store={given!r} cannot keep answers: it lacks {lacks}. Give a MemoryStore "
            "or another object that fits the CacheStore protocol."
        )
    return given
