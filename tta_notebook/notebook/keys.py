"""Keys of providers: asked for without being shown, kept where clients look for them."""

from __future__ import annotations

import getpass
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tta_notebook.core.errors import ConfigurationError, Names
from tta_notebook.llm.backends.openers import PROVIDERS

SERVICE = "tta_notebook"


@dataclass(frozen=True, slots=True)
class KeyState:
    """Whether a provider has a key, and from where; never the key.

    Attributes:
        provider: its name before the colon of a model.
        variable: the environment variable that it is read from.
        source: "asked for here", "keyring" or "environment"; None where there is none.
        needs_key: whether it answers nobody without one.
    """

    provider: str
    variable: str
    source: str | None
    needs_key: bool

    def __str__(self) -> str:
        if self.source is not None:
            return f"{self.provider}: has a key, {self.variable} ({self.source})"
        if not self.needs_key:
            return f"{self.provider}: none, and needs none"
        return f"{self.provider}: none; it would be {self.variable}"


class Keys:
    """The keys of this process: whether they are there, never what they are.

    >>> import os
    >>> keys = Keys()
    >>> print(keys.ask("ollama", ask=lambda prompt: "a-key"))
    ollama: has a key, OLLAMA_API_KEY (asked for here)
    >>> print(keys.forget("ollama"))
    ollama: none, and needs none
    """

    def __init__(self) -> None:
        # By variable: those that were asked for here, or came from the keyring.
        self._sources: dict[str, str] = {}

    def states(self) -> list[KeyState]:
        """Return which providers have a key in this process."""
        return [self.state(provider) for provider in PROVIDERS]

    def state(self, provider: str) -> KeyState:
        """Return whether a provider has a key in this process.

        Raises:
            ConfigurationError: there is no such provider.
        """
        variables = _variables(provider)
        found = next((name for name in variables if os.environ.get(name)), None)
        source = None if found is None else self._sources.get(found, "environment")
        return KeyState(provider, found or variables[0], source, PROVIDERS[provider].needs_key)

    def ask(
        self, provider: str, *, keyring: bool = False, ask: Callable[[str], str] | None = None
    ) -> KeyState:
        """Ask for a provider's key, which nobody sees, and keep it for this process.

        Args:
            provider: "openai", "anthropic", "google", …
            keyring: take it from the system's keyring; where it has none, ask, and keep it there.
            ask: asks for a line without showing it; by default `getpass.getpass`.

        Raises:
            ConfigurationError: there is no such provider; what was entered can be no key; the
                keyring cannot be used; it would be shown where it is typed.
        """
        variable = _variables(provider)[0]
        key = _from_keyring(variable) if keyring else None
        if key is None:
            key = _checked(provider, (ask or _ask)(f"Key of {provider}: "))
            if keyring:
                _in_keyring("kept in", lambda ring: ring.set_password(SERVICE, variable, key))
        os.environ[variable] = key
        self._sources[variable] = "keyring" if keyring else "asked for here"
        return self.state(provider)

    def forget(self, provider: str, *, keyring: bool = False) -> KeyState:
        """Take a provider's key out of this process, and out of the keyring if it says so.

        Raises:
            ConfigurationError: there is no such provider, or the keyring cannot be used.
        """
        variables = _variables(provider)
        for variable in variables:
            os.environ.pop(variable, None)
            self._sources.pop(variable, None)
        if keyring and _from_keyring(variables[0]) is not None:
            _in_keyring("taken out of", lambda ring: ring.delete_password(SERVICE, variables[0]))
        return self.state(provider)


def _variables(provider: str) -> tuple[str, ...]:
    if provider not in PROVIDERS:
        # Not the word itself: it may be a key that stands in the wrong place.
        raise ConfigurationError(
            f"no provider is called like that; there is {Names(PROVIDERS).instead_of(provider)}."
        )
    return PROVIDERS[provider].key_variables


def _ask(prompt: str) -> str:
    with warnings.catch_warnings():
        # It warns where it cannot hide what is typed, and then shows it.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(prompt)
        except getpass.GetPassWarning:
            raise ConfigurationError(
                "the key would be shown while it is typed here. Set its environment variable "
                "before the program starts."
            ) from None


def _checked(provider: str, entered: str) -> str:
    key = entered.strip()
    if not key:
        raise ConfigurationError(f"nothing was entered, so the key of {provider} stays as it was.")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError(
            f"what was entered for {provider} has spaces or signs that no key has, so it was not "
            "taken. Copy the key alone."
        )
    return key


def _from_keyring(variable: str) -> str | None:
    found = _in_keyring("read from", lambda ring: ring.get_password(SERVICE, variable))
    return found or None


def _in_keyring(what: str, do: Callable[[Any], Any]) -> Any:
    try:
        ring: Any = import_module("keyring")
    except ModuleNotFoundError:
        raise ConfigurationError(
            "the system's keyring was to be used, but keyring is not installed, which talks to it. "
            "Run `pip install keyring`, or leave --keyring out: the key then lasts as long as the "
            "kernel."
        ) from None
    try:
        return do(ring)
    except Exception as error:  # noqa: BLE001 - its back ends raise what they like
        # `from None`: a traceback that shows local variables would show the key.
        said = str(error).strip() or type(error).__name__
        raise ConfigurationError(
            f"a key was to be {what} the system's keyring, which refused: {said.splitlines()[0]} "
            "Leave --keyring out to keep the key in this kernel alone."
        ) from None
