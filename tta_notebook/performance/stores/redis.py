"""A cache in Redis, shared by machines."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.per_loop import Opened, PerLoop
from tta_notebook.performance.stores.encoded import EncodedStore

_SCANNED_AT_ONCE = 500

# A thousand callers at once must not open a thousand connections.
_CONNECTIONS = 32


class RedisStore(EncodedStore):
    """Keeps a cache's entries in Redis: processes on several machines share them.

    How much is kept is the server's affair (`maxmemory` with `maxmemory-policy allkeys-lru`).
    Connections are opened per event loop when they are first needed, and closed with it. A server
    that is gone costs a miss, and after a few failures not even a try.

    Args:
        url: of the server: `redis://[user:password@]host:port/db`, `rediss://…` or `unix://…`.
        prefix: stands before every key, so that others can share the database.
        timeout_seconds: how long an operation may take before it counts as a miss.

    Raises:
        ConfigurationError: the extra `redis` is not installed, or the URL is none.

    >>> RedisStore("redis://localhost:6379/0", prefix="answers:")
    <RedisStore 'answers:'>
    """

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        prefix: str = "tta:cache:",
        timeout_seconds: float = 0.5,
    ) -> None:
        if not isinstance(prefix, str) or not prefix:
            raise ConfigurationError(
                f"RedisStore: prefix={prefix!r} sets its keys apart from nobody's. Give a text."
            )
        self._keyspace = _Keyspace(url, prefix)
        super().__init__(self._keyspace, timeout_seconds=timeout_seconds)

    def __repr__(self) -> str:
        return f"<RedisStore {self._keyspace.prefix!r}>"  # the URL may hold a password


class _Keyspace:
    """Bytes under keys that begin alike."""

    def __init__(self, url: str, prefix: str) -> None:
        self.prefix = prefix
        self._url = url
        try:
            self._redis: Any = import_module("redis.asyncio")
            retrying = import_module("redis.asyncio.retry")
            backoff = import_module("redis.backoff")
        except ImportError as missing:
            raise ConfigurationError(
                "RedisStore: the package redis is not installed. Run "
                "`pip install 'tta-notebook[redis]'`."
            ) from missing
        # One try: more of them is the affair of the breaker around it.
        self._once: Any = retrying.Retry(backoff.NoBackoff(), 0)
        self._clients: PerLoop[Any] = PerLoop(self._open)
        try:
            self._redis.ConnectionPool.from_url(url)
        except (ValueError, AttributeError, TypeError) as error:
            raise ConfigurationError(
                f"RedisStore: the url is not one that Redis has ({error}). Give "
                "redis://host:port/db, rediss://… or unix://…."
            ) from None  # the cause would show the URL, which may hold a password

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._url, self.prefix)

    def _open(self) -> Opened[Any]:
        pool = self._redis.BlockingConnectionPool.from_url(
            self._url, retry=self._once, max_connections=_CONNECTIONS, timeout=None
        )
        client = self._redis.Redis.from_pool(pool)
        return Opened(client, client.aclose)

    async def get(self, key: str) -> bytes | None:
        client: Any = await self._clients.get()
        found: bytes | None = await client.get(self.prefix + key)
        return found

    async def put(self, key: str, value: bytes, ttl_s: float | None = None) -> None:
        client: Any = await self._clients.get()
        ttl_ms = None if ttl_s is None else max(1, int(ttl_s * 1000))
        await client.set(self.prefix + key, value, px=ttl_ms)

    async def delete(self, key: str) -> None:
        client: Any = await self._clients.get()
        await client.delete(self.prefix + key)

    async def clear(self) -> None:
        client: Any = await self._clients.get()
        batch: list[bytes] = []
        async for key in client.scan_iter(
            match=_literal(self.prefix) + "*", count=_SCANNED_AT_ONCE
        ):
            batch.append(key)
            if len(batch) >= _SCANNED_AT_ONCE:
                await client.unlink(*batch)
                batch.clear()
        if batch:
            await client.unlink(*batch)


def _literal(prefix: str) -> str:
    """Return a prefix as Redis's patterns write it: without wildcards."""
    return "".join(f"\\{sign}" if sign in "*?[]^-\\" else sign for sign in prefix)
