"""Entries in a store of bytes, which may be slow, full or gone."""

from __future__ import annotations

import math
import sys
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

from tta_notebook.core import checked
from tta_notebook.core.deadline import bounded
from tta_notebook.core.errors import CircuitOpenError, DecodeError, StepTimeoutError
from tta_notebook.core.protocols import Store
from tta_notebook.performance.entry import Entry, StoreCounters, now_s
from tta_notebook.recovery.circuit import Circuit
from tta_notebook.recovery.circuit_config import CircuitBreakerConfig
from tta_notebook.storage import codec

T = TypeVar("T")


class EncodedStore:
    """Keeps a cache's entries as bytes in a `Store`.

    Every operation has a short time, and after a few failures in a row none is tried for a while:
    a store that is down then costs a miss at once, and not a wait in every call. What cannot be
    read (damaged, of another version) is a miss as well, and is forgotten.

    Args:
        store: keeps bytes under keys.
        timeout_seconds: how long an operation may take.
        failure_threshold: failures in a row after which the store is left alone.
        recovery_timeout: for how many seconds.

    >>> class Shelf(dict):
    ...     async def get(self, key): return dict.get(self, key)
    ...     async def put(self, key, value, ttl_s=None): self[key] = value
    ...     async def delete(self, key): self.pop(key, None)
    ...     async def clear(self): dict.clear(self)
    >>> from tta_notebook import CachePrimitive
    >>> cached = CachePrimitive(str.upper, store=EncodedStore(Shelf()))
    >>> cached.run_sync("hello"), cached.run_sync("hello"), cached.get_stats()["hits"]
    ('HELLO', 'HELLO', 1)
    """

    keeps_objects: ClassVar[bool] = False

    def __init__(
        self,
        store: Store,
        *,
        timeout_seconds: float = 1.0,
        failure_threshold: int = 5,
        recovery_timeout: float = 10.0,
    ) -> None:
        owner = type(self).__name__
        self.timeout_seconds = checked.seconds(
            owner, "timeout_seconds", timeout_seconds, zero=False
        )
        self._store = store
        self.circuit = Circuit(
            CircuitBreakerConfig(
                failure_threshold=failure_threshold,
                recovery_timeout=recovery_timeout,
                success_threshold=1,
            )
        )

    async def get(self, key: str) -> Entry | None:
        """Return the entry; None when there is none, or it cannot be read."""
        data = await self._guarded(self._get(key))
        if data is None:
            return None
        try:
            entry = _decoded(data)
        except DecodeError:
            await self.delete(key)
            raise
        return entry if now_s() < entry.drop_at_s else None

    async def put(self, key: str, entry: Entry) -> None:
        """Keep the entry until `drop_at_s`, or until it is displaced.

        Raises:
            EncodeError: the answer is nothing that could be written down.
        """
        data = _encoded(entry)
        ttl_s = entry.drop_at_s - now_s()
        if ttl_s > 0:
            await self._guarded(self._put(key, data, None if ttl_s == math.inf else ttl_s))

    async def delete(self, key: str) -> None:
        """Forget the entry."""
        await self._guarded(self._delete(key))

    async def clear(self) -> None:
        """Forget everything."""
        # Without the short time: it may take long, and somebody waits for it to be done.
        await self._store.clear()

    def counters(self) -> StoreCounters:
        """Return what is known without asking the store: nothing."""
        return StoreCounters(size=None)

    # The store's methods give awaitables, and a time can only be kept for coroutines.

    async def _get(self, key: str) -> bytes | None:
        return await self._store.get(key)

    async def _put(self, key: str, data: bytes, ttl_s: float | None) -> None:
        await self._store.put(key, data, ttl_s)

    async def _delete(self, key: str) -> None:
        await self._store.delete(key)

    async def _guarded(self, operation: Coroutine[Any, Any, T]) -> T:
        permit = self.circuit.admit()
        if permit is None:
            operation.close()
            raise CircuitOpenError(
                f"{type(self).__name__}: the store was not asked. It has failed "
                f"({self.circuit.because}), and is left alone for "
                f"{self.circuit.retry_after() or 0.0:.3g} s more.",
                primitive=type(self).__name__,
                retry_after=self.circuit.retry_after(),
            )
        try:
            result = await bounded(operation, self.timeout_seconds, self._too_slow)
        except Exception:
            self.circuit.failed(permit)
            raise
        except BaseException:
            self.circuit.released(permit)
            raise
        self.circuit.succeeded(permit)
        return result

    def _too_slow(self) -> StepTimeoutError:
        return StepTimeoutError(
            f"{type(self).__name__}: the store did not answer in {self.timeout_seconds:g} s. Look "
            "whether it is overloaded, or allow more with timeout_seconds=….",
            kind="own",
            primitive=type(self).__name__,
            timeout_s=self.timeout_seconds,
        )


def _encoded(entry: Entry) -> bytes:
    return codec.encode(
        {
            "value": entry.value,
            "stored_at_s": entry.stored_at_s,
            "expires_at_s": entry.expires_at_s,
            "drop_at_s": entry.drop_at_s,
            "chunks": entry.chunks,
            "compute_s": entry.compute_s,
            "usage": entry.usage,
            "cost_pico": entry.cost_pico,
            "error": None if entry.error is None else _packed_error(entry.error),
        }
    )


def _decoded(data: bytes) -> Entry:
    fields: Any = codec.decode(data)
    try:
        error = fields.pop("error")
        return Entry(**fields, error=None if error is None else _unpacked_error(error))
    except (AttributeError, KeyError, TypeError) as odd:
        raise DecodeError(
            f"an entry of a cache was found that has not its fields ({odd}): another version wrote "
            "it. It is forgotten."
        ) from odd


def _packed_error(error: Exception) -> dict[str, Any]:
    kind = type(error)
    return {
        "module": kind.__module__,
        "name": kind.__qualname__,
        "args": list(error.args),
        "state": dict(error.__dict__),
    }


def _unpacked_error(packed: dict[str, Any]) -> Exception:
    # Only a class of errors that is loaded already, and never its constructor.
    found: Any = sys.modules.get(packed["module"])
    for name in packed["name"].split("."):
        found = getattr(found, name, None)
    if not (isinstance(found, type) and issubclass(found, Exception)):
        raise DecodeError(
            f"an error of the class {packed['module']}.{packed['name']} was kept, which is not "
            "loaded here. Import its module, or call again."
        )
    error = found.__new__(found, *packed["args"])
    error.args = tuple(packed["args"])
    error.__dict__.update(packed["state"])
    return error
