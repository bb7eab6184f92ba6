"""Performance: answers that are given again instead of being asked for again."""

from tta_notebook.performance.cache import CachePrimitive
from tta_notebook.performance.entry import CacheStore, Entry, StoreCounters
from tta_notebook.performance.memo import Memo
from tta_notebook.performance.semantic import SemanticCachePrimitive
from tta_notebook.performance.stores.encoded import EncodedStore
from tta_notebook.performance.stores.memory import MemoryStore
from tta_notebook.performance.stores.redis import RedisStore
from tta_notebook.performance.stores.sqlite import SQLiteStore

__all__ = [
    "CachePrimitive",
    "CacheStore",
    "EncodedStore",
    "Entry",
    "Memo",
    "MemoryStore",
    "RedisStore",
    "SQLiteStore",
    "SemanticCachePrimitive",
    "StoreCounters",
]
