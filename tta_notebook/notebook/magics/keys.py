"""The magic that asks for keys of providers."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING

from IPython.core.error import StdinNotImplementedError
from IPython.core.magic import line_magic, magics_class
from IPython.core.magic import no_var_expand as raw_line

from tta_notebook.core.errors import ConfigurationError, Names
from tta_notebook.notebook.ipython import UsageError
from tta_notebook.notebook.magics.base import Family
from tta_notebook.notebook.tables.keys import KEY

if TYPE_CHECKING:
    from tta_notebook.notebook.keys import Keys, KeyState


@magics_class
class KeyMagics(Family):
    """Keys of providers, which the notebook never holds."""

    @cached_property
    def _keys(self) -> Keys:
        from tta_notebook.notebook.keys import Keys  # noqa: PLC0415 - with the backends

        return Keys()

    @raw_line
    @line_magic
    def tta_key(self, line: str) -> None:
        """Ask for the key of a provider, or list who has one. %tta_key -h has the rest."""
        if len(_words(line)) > 1:
            raise self._refusal()
        arguments = self._read(KEY, line)
        if arguments is None:
            return
        from tta_notebook.llm.backends.openers import PROVIDERS  # noqa: PLC0415 - not at load

        words, values = arguments.words, arguments.values
        if not words:
            if values:
                raise UsageError(f"{KEY.title}: whose key? Write the provider before the options.")
            print("\n".join(map(str, self._keys.states())))  # noqa: T201 - a magic prints
            return
        provider = words[0].strip("'\"").lower()
        if not get_close_matches(provider, PROVIDERS, 1):
            raise self._refusal()
        try:
            if "forget" in values:
                state = self._keys.forget(provider, keyring="keyring" in values)
            else:
                state = self._asked(provider, is_kept="keyring" in values)
        except ConfigurationError as error:
            raise UsageError(f"{KEY.title}: {error}") from None
        print(state)  # noqa: T201 - a magic prints

    def _asked(self, provider: str, *, is_kept: bool) -> KeyState:
        before = self._keys.state(provider)
        try:
            return self._keys.ask(provider, keyring=is_kept)
        except (StdinNotImplementedError, EOFError):
            if before.source is not None:
                return before  # a notebook that runs by itself, with its keys in the environment
            raise UsageError(
                f"{KEY.title}: nobody can be asked here. Set {before.variable} in the environment "
                "before the kernel starts."
            ) from None
        except KeyboardInterrupt:
            raise UsageError(f"{KEY.title}: no key was given; nothing has changed.") from None

    def _refusal(self) -> UsageError:
        """Say how it is written, and where a key that was written on the line stands now.

        No word of the line is said again: the output is part of the notebook, too.
        """
        from tta_notebook.llm.backends.openers import PROVIDERS  # noqa: PLC0415 - loaded by now

        history = self.shell.history_manager
        number = len(history.input_hist_parsed) - 1  # versions count before or after the cell
        places = ["this cell", f"In[{number}]"]
        if history.enabled:
            entry = f"session {history.session_number}, line {number} of {history.hist_file}"
            places.append(f"IPython's history ({entry})")
        where = f"{', '.join(places[:-1])} and {places[-1]}"
        return UsageError(
            f"{KEY.title}: write {KEY.title} PROVIDER, and the key where you are asked for it; "
            f"there is {Names(PROVIDERS)}. If a key stands on the line, it stands in {where} now: "
            "remove it there, and have the provider revoke it."
        )


def _words(line: str) -> list[str]:
    # What stands behind a sign of Python's is a word here, too: a key may hold one.
    return [word for word in re.split(r"[\s;#]+", line) if word and not word.startswith("-")]
