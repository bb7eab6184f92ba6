"""One of several ways to the same end, by name."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

from tta_notebook.core import clock
from tta_notebook.core.calling import Call
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import ConfigurationError, Names, RouteError
from tta_notebook.core.primitive import Chunks, TIn, TOut, WorkflowPrimitive

# Not a literal, which would be interned: "fast" by default is told apart from "fast" by choice.
_UNSET = "".join(("fa", "st"))  # noqa: FLY002


@runtime_checkable
class RoutingStrategy(Protocol):
    """Chooses by what it learns from the calls: see `core/routing.py`."""

    def __call__(self, input_data: Any, context: WorkflowContext) -> str:
        """Return the route for this input."""
        ...

    def began(self, route: str) -> None:
        """Learn that a call over `route` has begun."""
        ...

    def ended(self, route: str, duration_s: float, error: BaseException | None) -> None:
        """Learn how a call over `route` has ended."""
        ...


class RouterPrimitive(WorkflowPrimitive[TIn, TOut]):
    """Runs the route that a function names: the cheap model or the good one, say.

    Args:
        routes: a primitive for each name.
        router_fn: a function of `(x)` or `(x, ctx)`, sync or async, that returns a name, or a
            strategy: `CheapestRoute`, `FastestRoute`, `LeastLoadedRoute`.
        default: the route for a name that does not exist, or None. By default "fast" where there is
            such a route; without a default a name that does not exist is a RouteError.
        fall_through: when the chosen route fails, try the others in their order, the default first;
            the error of the last one is raised with a note of the others.
        name: by default "router".

    Raises:
        ConfigurationError: there are no routes, or `default` is not one of them.

    >>> by_length = RouterPrimitive({"fast": str.upper, "smart": str.title},
    ...     lambda text: "smart" if " " in text else "fast")
    >>> by_length.run_sync("hello"), by_length.run_sync("hello world")
    ('HELLO', 'Hello World')
    """

    kind: ClassVar[str] = "router"

    def __init__(
        self,
        routes: Mapping[str, Any],
        router_fn: Callable[..., Any],
        default: str | None = _UNSET,
        *,
        fall_through: bool = False,
        name: str | None = None,
    ) -> None:
        from tta_notebook.core.algebra import as_primitive  # noqa: PLC0415 - it knows all primitives

        super().__init__(name=name, default_name="router")
        if not routes:
            raise ConfigurationError(
                "RouterPrimitive(routes={}): there is nothing to choose from. Give at least one."
            )
        self.routes = {route: as_primitive(step) for route, step in routes.items()}
        self._choose = Call(router_fn, "RouterPrimitive(router_fn=…)")
        self._strategy = router_fn if isinstance(router_fn, RoutingStrategy) else None
        self.default = None if default is _UNSET and _UNSET not in self.routes else default
        self.fall_through = fall_through
        if self.default is not None and self.default not in self.routes:
            raise ConfigurationError(
                f"RouterPrimitive(default={default!r}): there is no such route; routes are "
                f"{Names(self.routes).instead_of(default)}. Name one of these."
            )

    def parts(self) -> Sequence[tuple[str, WorkflowPrimitive[Any, Any]]]:
        """Return the routes."""
        return list(self.routes.items())

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Choose a route, then run it.

        Raises:
            RouteError: the chosen route does not exist, and there is no default.
        """
        failed: list[str] = []
        for route, is_last in await self._attempts(input_data, context):
            try:
                with self._observed_by_strategy(route):
                    return cast("TOut", await self.routes[route].execute(input_data, context))
            except Exception as error:
                if is_last:
                    _tell(error, failed)
                    raise
                failed.append(_fell_through(route, error, context))
        raise AssertionError("the last attempt returns or raises")

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        failed: list[str] = []
        for route, is_last in await self._attempts(input_data, context):
            has_begun = False
            try:
                with self._observed_by_strategy(route):
                    async with aclosing(self.routes[route].stream(input_data, context)) as pieces:
                        async for chunk in pieces:
                            has_begun = True
                            yield chunk
            except Exception as error:
                # What the reader has seen cannot be taken back: only a stream that never began
                # may be replaced by another.
                if is_last or has_begun:
                    _tell(error, failed)
                    raise
                failed.append(_fell_through(route, error, context))
            else:
                return

    async def _attempts(
        self, input_data: Any, context: WorkflowContext
    ) -> Sequence[tuple[str, bool]]:
        """Return the routes to try in order, each with whether it is the last."""
        chosen = self._existing(await self._choose(input_data, context))
        context.note("route", route=chosen)
        others = dict.fromkeys([self.default, *self.routes]) if self.fall_through else {}
        routes = [chosen, *(route for route in others if route not in (None, chosen))]
        return [(str(route), route == routes[-1]) for route in routes]

    def _existing(self, route: Any) -> str:
        if isinstance(route, str) and route in self.routes:
            return route
        if self.default is not None:
            return self.default
        raise RouteError(
            f"RouterPrimitive {self.name!r}: router returned {route!r}; routes are "
            f"{Names(self.routes).instead_of(route)}. Return one of these or pass default=….",
            route=route,
            routes=self.routes,
        )

    @contextmanager
    def _observed_by_strategy(self, route: str) -> Generator[None]:
        if self._strategy is None:
            yield
            return
        self._strategy.began(route)
        start, failure = clock.monotonic(), None
        try:
            yield
        except BaseException as error:
            failure = error
            raise
        finally:
            self._strategy.ended(route, clock.monotonic() - start, failure)


def _fell_through(route: str, error: Exception, context: WorkflowContext) -> str:
    context.note("fell_through", route=route, error=repr(error))
    return f"Route {route!r} failed before: {type(error).__name__}: {error}"


def _tell(error: Exception, failed: Sequence[str]) -> None:
    for note in failed:
        error.add_note(note)
