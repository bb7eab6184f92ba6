"""The cluster of a notebook: one at a time, begun and left by `%tta_cluster`."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import AsyncIterable, Generator, Iterable
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import ConfigurationError, Names, WorkerLostError
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.run import Run
from tta_notebook.notebook.figures import counted
from tta_notebook.notebook.ipython import UsageError
from tta_notebook.notebook.loop import interrupt_cancels
from tta_notebook.notebook.options import Magic
from tta_notebook.notebook.stopped import ChangeInterrupted
from tta_notebook.notebook.tables.cluster import CONNECT, MAP, SCALE, START, STOP
from tta_notebook.notebook.workers import Workers

if TYPE_CHECKING:
    from tta_notebook.scale.cluster import Cluster

_LOOK_S = 0.1
# How long workers may take to come or go, and cancelled maps to clean up.
_PATIENCE_S = 30.0

_HOW = (
    f"`{START.title}` starts workers on this machine, `{CONNECT.title} {CONNECT.synopsis}` finds "
    "others."
)


class NotebookCluster:
    """What `%tta_cluster` works on.

    Nothing but the end of the extension takes workers from a map that runs.

    Attributes:
        cluster: the one that is open; None for none.
    """

    def __init__(self) -> None:
        self.cluster: Cluster | None = None
        self._maps: dict[Run[Any], None] = {}
        self._is_changing = False
        self._is_left = False
        self._ending: threading.Thread | None = None

    # What lines do

    async def start(self, workers: int | None = None, *, is_bound: bool = False) -> Cluster | None:
        """Start workers on this machine; the cluster is the value of a line that binds one."""
        from tta_notebook.scale import Cluster  # noqa: PLC0415 - only who maps over processes

        await self._replace(START, Cluster(workers=workers))
        return self._told("on this machine", is_bound=is_bound)

    async def connect(self, address: str, *, is_bound: bool = False) -> Cluster | None:
        """Use the workers of a scheduler; its value is as that of a start."""
        from tta_notebook.scale import Cluster  # noqa: PLC0415 - the same

        await self._replace(CONNECT, Cluster(address))
        return self._told(f"of {address}", is_bound=is_bound)

    async def scale(self, workers: int) -> None:
        """Have so many workers on this machine."""
        cluster = self._needed(SCALE)
        with self._changing(SCALE):
            try:
                cluster.scale(workers)
            except ConfigurationError as error:
                raise UsageError(f"{SCALE.title}: {error}") from None
            there = await self._until_there_are(workers, cluster)
        print(f"Cluster: {counted(there, 'worker')}.")  # noqa: T201 - a magic prints

    async def stop(self, *, cancel: bool = False) -> None:
        """End the workers that were started here."""
        with self._changing(STOP):
            if cancel:
                await self._cancel_maps()
            self._refuse_under_maps(STOP)
            await self._close()
        print("Cluster: none is open.")  # noqa: T201 - a magic prints

    def status(self) -> Workers | None:
        """Return the workers, or say that there are none."""
        if self.cluster is None:
            print(f"Cluster: none is open. {_HOW}")  # noqa: T201 - a magic prints
            return None
        workers = Workers(self.cluster.status())
        if not workers.workers:
            print("Cluster: no worker answers. `%tta_cluster stop` leaves it.")  # noqa: T201 - the same
            return None
        return workers

    def executor(self, chunk_size: int | None) -> Errand:
        """Return what a map of the notebook runs on.

        Raises:
            UsageError: there is no cluster.
        """
        return Errand(self, self._needed(MAP), chunk_size)

    # When the kernel is left

    def leave(self) -> None:
        """End the workers, now and for good, whatever they do."""
        self._is_left = True
        for run in self._maps:
            run.cancel("its workers ended with the extension")
        cluster, self.cluster = self.cluster, None
        if cluster is not None:
            atexit.unregister(self.leave)
            cluster.close()

    # What they are made of

    @contextmanager
    def mapping(self, run: Run[Any] | None) -> Generator[None, None, None]:
        """Count a run among those that take the workers."""
        if run is None:
            yield
            return
        self._maps[run] = None
        try:
            yield
        finally:
            self._maps.pop(run, None)

    def _needed(self, magic: Magic) -> Cluster:
        if self.cluster is None:
            raise UsageError(f"{magic.title}: no cluster is open. {_HOW}")
        return self.cluster

    async def _replace(self, magic: Magic, new: Cluster) -> None:
        with self._changing(magic):
            self._refuse_under_maps(magic)
            # Before, not after: two clusters of Dask's at once end each other's silence.
            await self._close()
            try:
                await self._open(magic, new)
            except BaseException as error:
                # What opens it cannot be stopped, and this cell is not to wait for it. The next one
                # is, for workers that are about to come; not for an address where nobody answers.
                self._end(new, is_awaited=magic is START)
                # Of an address that is none Dask says so in a ValueError.
                if isinstance(error, ConfigurationError | WorkerLostError | ValueError):
                    raise UsageError(f"{magic.title}: {error}") from None
                raise
            self.cluster = new
            atexit.register(self.leave)

    async def _open(self, magic: Magic, new: Cluster) -> None:
        await new.open()
        if self._is_left:
            raise UsageError(f"{magic.title}: the extension was unloaded meanwhile.")

    async def _close(self) -> None:
        cluster, self.cluster = self.cluster, None
        if cluster is not None:
            atexit.unregister(self.leave)
            self._end(cluster, is_awaited=True)
        if self._ending is not None:
            await asyncio.to_thread(self._ending.join)

    def _end(self, cluster: Cluster, *, is_awaited: bool) -> None:
        """Let a cluster end in a thread of its own, which goes on when its cell is interrupted."""
        ending = threading.Thread(target=cluster.close, name="tta-cluster-close")
        ending.start()
        if is_awaited:
            self._ending = ending

    def _told(self, where: str, *, is_bound: bool) -> Cluster | None:
        cluster = self._needed(START)
        print(f"Cluster: {counted(len(cluster.status()), 'worker')} {where}.")  # noqa: T201 - a magic prints
        return cluster if is_bound else None

    @contextmanager
    def _changing(self, magic: Magic) -> Generator[None, None, None]:
        if self._is_changing:
            raise UsageError(f"{magic.title}: another cell starts or ends workers just now.")
        self._is_changing = True
        try:
            with interrupt_cancels():
                yield
        except asyncio.CancelledError:
            raise ChangeInterrupted(f"{magic.title}: interrupted; what it began ends.") from None
        finally:
            self._is_changing = False

    def _refuse_under_maps(self, magic: Magic) -> None:
        if self._maps:
            names = Names(run.workflow_name for run in self._maps)
            raise UsageError(
                f"{magic.title}: {names} runs on the workers. Await it or cancel it first; "
                f"{STOP.title} --cancel cancels it."
            )

    async def _cancel_maps(self) -> None:
        for run in list(self._maps):
            run.cancel(f"by {STOP.title}")
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                while self._maps:  # noqa: ASYNC110 - their loops may be others
                    await asyncio.sleep(_LOOK_S)

    async def _until_there_are(self, workers: int, cluster: Cluster) -> int:
        there = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                while (there := len(await asyncio.to_thread(cluster.status))) != workers:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(_LOOK_S)
        return there


class Errand:
    """What one map of the notebook runs on: the cluster that was open when it began.

    Args:
        home: the notebook's.
        cluster: the one that is open.
        chunk_size: how many items go out together; None to choose.
    """

    def __init__(self, home: NotebookCluster, cluster: Cluster, chunk_size: int | None) -> None:
        self._home = home
        self._cluster = cluster
        self._chunk_size = chunk_size

    async def run_all(
        self,
        primitive: WorkflowPrimitive[Any, Any],
        items: Iterable[Any] | AsyncIterable[Any],
        context: WorkflowContext,
        *,
        max_concurrency: int | None,
        mode: str,
    ) -> list[Any]:
        """Run a workflow for every item on the cluster.

        Raises:
            ConfigurationError: the cluster is no longer the notebook's.
        """
        if self._home.cluster is not self._cluster:
            # A closed cluster would open again by itself, and nobody would end its workers.
            raise ConfigurationError(
                f"{MAP.title}: the cluster was stopped before the map began. {START.title} starts "
                "another one."
            )
        with self._home.mapping(context.run):
            return await self._cluster.run_all(
                primitive,
                items,
                context,
                max_concurrency=max_concurrency,
                mode=mode,
                chunk_size=self._chunk_size,
            )
