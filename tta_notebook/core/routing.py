"""Strategies for a router: by price, by observed latency, by load."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import ConfigurationError


class CheapestRoute:
    """Chooses the cheapest route that is good enough for the input.

    Args:
        costs: what a call over each route costs, in any one unit.
        suits: whether a route is good enough for an input; by default every route is. When none is,
            the dearest is taken.

    >>> choose = CheapestRoute({"small": 1, "large": 20}, suits=lambda route, text:
    ...     route == "large" or len(text) < 100)
    >>> choose("short"), choose("long " * 100)
    ('small', 'large')
    """

    def __init__(
        self, costs: Mapping[str, float], suits: Callable[[str, Any], bool] | None = None
    ) -> None:
        for route, cost in costs.items():
            if not (isinstance(cost, (int, float)) and math.isfinite(cost) and cost >= 0):
                raise ConfigurationError(
                    f"CheapestRoute: the cost of {route!r} is {cost!r}, which no other can be "
                    "compared with. Give a number from 0."
                )
        _demand_routes("CheapestRoute", costs)
        self._by_cost = sorted(costs, key=lambda route: costs[route])
        self._suits = suits

    def __call__(self, input_data: Any) -> str:
        """Return the cheapest suitable route."""
        if self._suits is None:
            return self._by_cost[0]
        suitable = (route for route in self._by_cost if self._suits(route, input_data))
        return next(suitable, self._by_cost[-1])


class FastestRoute:
    """Chooses the route with the lowest observed latency; one that was never tried comes first.

    Latency is an exponentially weighted mean; a failure counts as `penalty_s`.

    Args:
        routes: the routes' names.
        smoothing: the weight of the newest call, between 0 and 1.
        penalty_s: the latency, in seconds, that a failed call counts as.

    >>> choose = FastestRoute(["near", "far"])
    >>> choose.ended("near", 0.1, None); choose.ended("far", 0.5, None)
    >>> choose(None, None)
    'near'
    """

    def __init__(
        self, routes: Iterable[str], smoothing: float = 0.3, penalty_s: float = 60.0
    ) -> None:
        self.latency_s: dict[str, float] = dict.fromkeys(routes, 0.0)
        _demand_routes("FastestRoute", self.latency_s)
        if not 0 < smoothing <= 1:
            raise ConfigurationError(
                f"FastestRoute(smoothing={smoothing!r}): the weight of the newest call must lie "
                "between 0 and 1. The default is 0.3."
            )
        self._tried: set[str] = set()
        self._smoothing = smoothing
        self._penalty_s = penalty_s

    def __reduce__(self) -> tuple[Any, ...]:
        # Elsewhere, calls take other times.
        return type(self), (tuple(self.latency_s), self._smoothing, self._penalty_s)

    def __call__(self, input_data: Any, context: WorkflowContext) -> str:  # noqa: ARG002 - the protocol's signature
        """Return the fastest route so far."""
        return min(self.latency_s, key=self.latency_s.__getitem__)

    def began(self, route: str) -> None:
        """Nothing is known of a call that has only begun."""

    def ended(self, route: str, duration_s: float, error: BaseException | None) -> None:
        """Weigh the call in; a cancelled one tells nothing."""
        if error is not None and not isinstance(error, Exception):
            return
        observed_s = self._penalty_s if error is not None else duration_s
        known_s = self.latency_s[route] if route in self._tried else observed_s
        self._tried.add(route)
        self.latency_s[route] = known_s + self._smoothing * (observed_s - known_s)


class LeastLoadedRoute:
    """Chooses the route with the fewest calls under way.

    Args:
        routes: the routes' names; the first of equals is taken.

    >>> choose = LeastLoadedRoute(["a", "b"])
    >>> choose.began("a")
    >>> choose(None, None)
    'b'
    """

    def __init__(self, routes: Iterable[str]) -> None:
        self._routes = tuple(routes)
        _demand_routes("LeastLoadedRoute", self._routes)
        self.under_way: Counter[str] = Counter()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._routes,)  # what is under way here ends here

    def __call__(self, input_data: Any, context: WorkflowContext) -> str:  # noqa: ARG002 - the protocol's signature
        """Return the least loaded route."""
        return min(self._routes, key=self.under_way.__getitem__)

    def began(self, route: str) -> None:
        """Count the call."""
        self.under_way[route] += 1

    def ended(self, route: str, duration_s: float, error: BaseException | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Count it off, however it ended."""
        self.under_way[route] -= 1


def _demand_routes(owner: str, routes: Iterable[str]) -> None:
    if not list(routes):
        raise ConfigurationError(f"{owner}: there are no routes to choose from. Name at least one.")
