"""One circuit per key, bounded in number."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from tta_notebook.core import checked
from tta_notebook.core.errors import ArgumentError
from tta_notebook.recovery.circuit import Circuit, CircuitState
from tta_notebook.recovery.circuit_config import CircuitBreakerConfig


class Circuits:
    """Circuits by key, of which the least recently used closed one makes room for a new one.

    One that is not closed is never forgotten while it keeps calls away: its key could be used to
    close it.

    Args:
        config: what opens and closes each of them.
        max_keys: how many closed ones are remembered.

    >>> circuits = Circuits(CircuitBreakerConfig(), max_keys=2)
    >>> circuits["eu"].isolate()
    >>> for key in ("us", "asia", "africa"):
    ...     _ = circuits[key]
    >>> sorted(circuits.keys())
    ['africa', 'asia', 'eu']
    """

    def __init__(self, config: CircuitBreakerConfig, max_keys: int) -> None:
        self._config = config
        self._max_keys = checked.count("CircuitBreakerPrimitive", "max_keys", max_keys)
        self._closed: OrderedDict[Hashable, Circuit] = OrderedDict()
        self._tripped: dict[Hashable, Circuit] = {}

    def __getitem__(self, key: Any) -> Circuit:
        try:
            found = self._tripped.get(key)
        except TypeError:
            raise ArgumentError(
                f"CircuitBreakerPrimitive: key={key!r} cannot name a circuit, because a "
                f"{type(key).__name__} is not hashable. Let the key function return a text."
            ) from None
        if found is not None:
            return found
        found = self._closed.get(key)
        if found is None:
            return self._new(key)
        self._closed.move_to_end(key)
        return found

    def keys(self) -> list[Hashable]:
        """Return the keys that are remembered."""
        return [*self._closed, *self._tripped]

    def _new(self, key: Hashable) -> Circuit:
        while len(self._closed) >= self._max_keys:
            self._closed.popitem(last=False)
        made = Circuit(self._config, _Move(self, key))
        made.key = key
        # Of two threads that ask for a new key at once, both get the one that came first.
        return self._closed.setdefault(key, made)

    def move(self, key: Hashable, circuit: Circuit) -> None:
        """Put a circuit where its state belongs."""
        if circuit.state is CircuitState.CLOSED:
            self._tripped.pop(key, None)
            self._closed[key] = circuit
        else:
            self._closed.pop(key, None)
            self._tripped[key] = circuit


class _Move:
    """Tells the circuits which of them has changed; an object, because lambdas do not pickle."""

    def __init__(self, circuits: Circuits, key: Hashable) -> None:
        self._circuits = circuits
        self._key = key

    def __call__(self, circuit: Circuit) -> None:
        self._circuits.move(self._key, circuit)
