"""Workers on this machine or others, on which maps run."""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import AsyncIterable, Iterable, Sized
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tta_notebook.core import checked
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import ArgumentError, ConfigurationError, WorkerLostError
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.scale import dask_worker
from tta_notebook.scale.dask_crew import DaskCrew
from tta_notebook.scale.dealing import Dealing
from tta_notebook.scale.interrupts import held_back

if TYPE_CHECKING:
    from distributed import Client

_OWNER = "Cluster"
# What Dask says of a client whose scheduler is gone.
_OVER = ("closed", "closing", "failed")


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker of a cluster.

    Attributes:
        address: by which the others know it.
        places: how many chunks it works on at once.
        host: the machine.
        memory_bytes: what it takes now.
    """

    address: str
    places: int
    host: str
    memory_bytes: int


class Cluster:
    """Runs `workflow.map(items, executor=cluster)` on the workers of a Dask cluster.

    Items go out in chunks and run there as they would here, many at once on an event loop. Results
    come back as they are ready, with their spans, which join the trace of the run here. Budgets,
    ledgers and limits over the run stay here and are asked before every call to a model, so that
    all workers together keep to them. Cancelling the run cancels the work, wherever it is.

    When a worker is lost, items that have a result keep it, and the others go to other workers: a
    step may be called again that had been called before. What calls under way may have cost counts
    as spent.

    A worker gets a copy of the workflow: docs/scale/travel.md says what that is for each primitive.

    Args:
        address: of a Dask scheduler ("tcp://10.0.0.1:8786"); nothing for workers on this machine.
        workers: how many processes to start on this machine; by default one for each core.
        client: a `distributed.Client` to use, which stays open.
        chunk_size: how many items go out together; by default it follows from their number.
        attempts: how often an item is begun at most, when the worker that has it is lost.
        grace_seconds: how long a cancelled map waits for its workers to clean up.
        connect_timeout_seconds: how long to wait for a scheduler, and for a first worker.

    Raises:
        ConfigurationError: an argument means nothing, or the extra `dask` is missing.

    >>> import asyncio
    >>> from tta_notebook import LambdaPrimitive
    >>> async def main():
    ...     async with Cluster(workers=2) as cluster:
    ...         return await LambdaPrimitive(len).map(["a", "bb"], executor=cluster)
    >>> asyncio.run(main())  # doctest: +SKIP
    [1, 2]
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        workers: int | None = None,
        client: Client | None = None,
        chunk_size: int | None = None,
        attempts: int = 3,
        grace_seconds: float = 10.0,
        connect_timeout_seconds: float = 30.0,
    ) -> None:
        given = {"address": address, "workers": workers, "client": client}
        if len(named := [name for name, value in given.items() if value is not None]) > 1:
            raise ArgumentError(
                f"{_OWNER}: {' and '.join(named)} each say which workers to use. Give one of them."
            )
        if workers is not None:
            workers = checked.count(_OWNER, "workers", workers)
        if chunk_size is not None:
            chunk_size = checked.count(_OWNER, "chunk_size", chunk_size)
        self._address = address
        self._count = workers
        self._client: Any = client
        self._is_borrowed = client is not None
        self._is_checked = False
        self._chunk_size = chunk_size
        self._attempts = checked.count(_OWNER, "attempts", attempts)
        self._grace_s = checked.seconds(_OWNER, "grace_seconds", grace_seconds)
        self._patience_s = checked.seconds(
            _OWNER, "connect_timeout_seconds", connect_timeout_seconds
        )
        self._local: Any = None
        self._opening = threading.Lock()

    def __repr__(self) -> str:
        where = self._address or ("this machine" if self._client is None else self._scheduler())
        return f"<Cluster on {where}, {'closed' if self._client is None else 'open'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            "A Cluster cannot go to its own workers: a map over a cluster inside of another one "
            "would wait for places that it takes itself. Leave executor=… out of the inner map."
        )

    # Open and closed

    async def open(self) -> Self:
        """Start or find the workers; a map does so by itself.

        Raises:
            ConfigurationError: the extra `dask` is missing, or a worker has another release.
            WorkerLostError: there is no scheduler, or no worker.
        """
        await asyncio.to_thread(self._opened)
        return self

    async def aclose(self) -> None:
        """Leave the cluster, and end the workers that were started here."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """The same from synchronous code."""
        with self._opening:
            client, local, self._local = self._client, self._local, None
            if client is not None and not self._is_borrowed:
                self._client = None
                client.close()
            if local is not None:
                local.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        self._opened()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # What it does

    async def run_all(
        self,
        primitive: WorkflowPrimitive[Any, Any],
        items: Iterable[Any] | AsyncIterable[Any],
        context: WorkflowContext,
        *,
        max_concurrency: int | None,
        mode: str,
        chunk_size: int | None = None,
    ) -> list[Any]:
        """Run a workflow for every item, for `workflow.map(items, executor=cluster)`.

        Args:
            primitive: the workflow.
            items: its inputs.
            context: of the step that maps.
            max_concurrency: how many items run at once, as in a map.
            mode: "fail_fast" or "collect", as in a map.
            chunk_size: how many items go out together, in place of the cluster's own.

        Raises:
            TravelError: the workflow or an item cannot go to another process.
            WorkerLostError: an item ended its workers, or there are none.
        """
        is_ready = self._is_checked and self._is_open
        client = self._client if is_ready else await asyncio.to_thread(self._opened)
        map_id = f"tta-{uuid.uuid4().hex}"
        dealing = Dealing(
            primitive,
            context,
            DaskCrew(client, map_id, self._patience_s),
            map_id=map_id,
            max_concurrency=max_concurrency,
            is_collecting=mode == "collect",
            chunk_size=chunk_size or self._chunk_size,
            attempts=self._attempts,
            grace_s=self._grace_s,
        )
        return await dealing.run(items, len(items) if isinstance(items, Sized) else None)

    def status(self) -> list[WorkerStatus]:
        """Return the workers there are; none while it is closed, and while no scheduler answers."""
        if self._client is None or self._client.status != "running":
            return []
        known: Any = self._client.scheduler_info(n_workers=-1)
        return [
            WorkerStatus(
                address, worker["nthreads"], worker["host"], worker["metrics"].get("memory", 0)
            )
            for address, worker in known["workers"].items()
        ]

    def scale(self, workers: int) -> None:
        """Start or end workers on this machine, so that there are so many.

        Raises:
            ConfigurationError: they were not started here.
        """
        self._count = checked.count(_OWNER, "workers", workers)
        if self._local is None:
            raise ConfigurationError(
                f"{self!r}.scale({workers}): its workers were not started here. Scale them where "
                "they are started, or begin with Cluster(workers=…)."
            )
        self._local.scale(self._count)

    # How it is opened

    @property
    def _is_open(self) -> bool:
        return self._client is not None and self._client.status not in _OVER

    def _scheduler(self) -> str:
        assert self._client is not None
        return str(self._client.scheduler.address) if self._client.scheduler else "a scheduler"

    def _opened(self) -> Any:
        with self._opening:
            if not self._is_open and not self._is_borrowed:
                self._client, self._is_checked = self._connected(), False
            if not self._is_checked:
                self._check_releases(self._client)
                self._is_checked = True
            return self._client

    def _connected(self) -> Any:
        try:
            dask: Any = import_module("distributed")
        except ImportError as missing:
            raise ConfigurationError(
                f"{_OWNER}: Dask is not installed. Install the extra: "
                "pip install 'tta-notebook[dask]'."
            ) from missing
        if self._address is None:
            with held_back():
                self._local = dask.LocalCluster(
                    n_workers=self._count,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    preload=dask_worker.__name__,
                    # Of lost workers the map says what it means.
                    silence_logs=logging.ERROR,
                )
        try:
            client: Any = dask.Client(
                self._local or self._address, timeout=self._patience_s, set_as_default=False
            )
        except OSError as error:
            raise WorkerLostError(
                f"{_OWNER}: no scheduler answers at {self._address}: {error}. Start one there "
                "(`dask scheduler`), or leave the address out to start workers on this machine.",
                worker=str(self._address),
            ) from error
        return client

    def _check_releases(self, client: Any) -> None:
        try:
            found: dict[str, tuple[str, str]] = client.run(dask_worker.about)
        except ImportError as error:
            self._give_back(client)
            raise ConfigurationError(
                f"{_OWNER}: a worker cannot load tta_notebook: {error}. Install there what is "
                "installed here: pip install 'tta-notebook[dask]'."
            ) from error
        here = _release_here()
        for worker, there in found.items():
            if there != here:
                self._give_back(client)
                raise ConfigurationError(
                    f"{_OWNER}: the worker {worker} runs {_releases(there)}, and this process "
                    f"{_releases(here)}: code does not travel between them. Use the same releases."
                )

    def _give_back(self, client: Any) -> None:
        self._client = client if self._is_borrowed else None
        if not self._is_borrowed:
            client.close()
        if self._local is not None:
            self._local.close()
            self._local = None


def _release_here() -> tuple[str, str]:
    return dask_worker.about()


def _releases(about: tuple[str, str]) -> str:
    return f"Python {about[0]} with tta_notebook {about[1]}"
