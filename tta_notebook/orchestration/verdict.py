"""What a check says about an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from tta_notebook.core.errors import ArgumentError
from tta_notebook.core.preview import preview

_UNSAID = "it does not meet the task."
_OK = re.compile(r"\s*(ok|okay)\b", re.IGNORECASE)


def objection(verdict: object, step: str) -> str | None:
    """Return what a check objects to; None when it approves.

    Args:
        verdict: a text, which objects unless it is blank or begins with the word "ok"; a mapping
            with `approved` and `feedback`; or anything else, which approves when it is true.
        step: the name of the step that checks, for messages.

    Raises:
        ArgumentError: it is a mapping that does not say whether it approves.

    >>> objection("OK, well done", "check"), objection("Too long.", "check")
    (None, 'Too long.')
    """
    if isinstance(verdict, str):
        return None if not verdict.strip() or _OK.match(verdict) else verdict.strip()
    if isinstance(verdict, Mapping):
        return _in_mapping(cast("Mapping[str, Any]", verdict), step)
    return None if verdict else _UNSAID


def _in_mapping(verdict: Mapping[str, Any], step: str) -> str | None:
    approved = verdict.get("approved", verdict.get("is_approved"))
    if not isinstance(approved, bool):
        raise ArgumentError(
            f"The check of {step!r} gave {preview(verdict)}, which does not say whether the answer "
            "is good. Give {'approved': True or False, 'feedback': …}, a text, True or False."
        )
    return None if approved else str(verdict.get("feedback") or _UNSAID)
