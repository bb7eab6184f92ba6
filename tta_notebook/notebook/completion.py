"""Completion behind our magics: options and their values, workflow names, ids of runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tta_notebook.notebook.options import Magic
from tta_notebook.notebook.rows import short_id
from tta_notebook.notebook.runtime import Runtime
from tta_notebook.notebook.tables import MAGICS
from tta_notebook.notebook.tables.config import SETTINGS

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext, SimpleMatcherResult

_LINE = re.compile(r"\s*(?:[^%#=]+=\s*)?%{1,2}(tta_\w+)\s(.*)")
_LAST_WORD = re.compile(r"\S*$")


class Matcher:
    """A context matcher of IPython's API v2 for lines that begin with one of our magics."""

    matcher_api_version = 2
    matcher_identifier = "tta_notebook.matcher"

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # IPython asks for it even where there is an identifier.
        self.__qualname__ = type(self).__qualname__

    def __call__(self, context: CompletionContext) -> SimpleMatcherResult:
        """Return what may stand at the cursor; nothing outside of our lines and in expressions."""
        from IPython.core.completer import SimpleCompletion  # noqa: PLC0415 - loaded by now

        words = self.words(context.text_until_cursor)
        token = context.token
        fitting = [SimpleCompletion(word) for word in words if word.startswith(token)]
        if not fitting:
            return {"completions": []}
        return {"completions": fitting, "suppress": True, "ordered": True}

    def words(self, line: str) -> Sequence[str]:
        """Return what may stand at the end of a line."""
        found = _LINE.match(line)
        if found is None or found[1] not in MAGICS:
            return []
        magic, rest = MAGICS[found[1]], found[2]
        action, behind = magic.action(rest)
        if action is not None and behind:
            magic, rest = action, behind
        before = _LAST_WORD.sub("", rest).split()
        if rest.split(" ")[-1].startswith("-"):
            return [option.flag for option in magic.options if option.flag not in before]
        for option in magic.options:
            if before and before[-1] == option.flag and option.value:
                return option.choices
        name, sign, _ = rest.split(" ")[-1].partition("=")
        if magic.completes == "settings" and sign and name in SETTINGS:
            return SETTINGS[name].choices  # IPython asks for what stands behind the sign
        return self._positional(magic, before)

    def _positional(self, magic: Magic, before: Sequence[str]) -> Sequence[str]:
        if magic.completes == "settings":
            # Each may stand once, in any order.
            return [
                f"{name}={choice}"
                for name, option in SETTINGS.items()
                for choice in option.choices or ("",)
                if not any(word.startswith(f"{name}=") for word in before)
            ]
        if before:
            return []
        if magic.choices or magic.actions:
            return [*magic.choices, *magic.action_words]
        if magic.completes == "runs":
            return [short_id(run) for run in self._runtime.recent_runs()]
        if magic.completes == "providers":
            from tta_notebook.llm.backends.openers import PROVIDERS  # noqa: PLC0415 - on use

            return list(PROVIDERS)
        return self._runtime.workflow_names() if magic.completes == "workflows" else []
