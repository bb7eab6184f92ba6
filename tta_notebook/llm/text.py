"""The answer of a model: a text that knows where it came from."""

from __future__ import annotations

from typing import Any, Literal, Self, TypeAlias

from tta_notebook.core.usage import Usage

Source: TypeAlias = Literal["live", "local", "replay", "mock"]


class LLMText(str):  # noqa: SLOT000 - str allows no slots beside it
    """A model's answer: a `str` in every respect, with the particulars of the call.

    What is derived from it (`.upper()`, a slice, a concatenation) is a plain `str`: it is no longer
    what the model said. Copies and pickles keep the particulars.

    Attributes:
        usage: tokens, estimated where the model did not say.
        cost_usd: what the call cost; None while it has no price.
        model: the model that served it.
        requested_model: the model that was asked for.
        source: "live" (a provider), "local", "replay" (a recording) or "mock".
        finish_reason: why it ended: "stop", "length" or the provider's own word.
        first_token_s: seconds from the request to the first text; None without any text.

    >>> answer = LLMText("Paris", usage=Usage(input_tokens=9, output_tokens=1), model="m")
    >>> answer == "Paris", answer.usage.total_tokens
    (True, 10)
    """

    usage: Usage
    cost_usd: float | None
    model: str
    requested_model: str
    source: Source
    finish_reason: str | None
    first_token_s: float | None

    def __new__(
        cls,
        text: str = "",
        *,
        usage: Usage | None = None,
        cost_usd: float | None = None,
        model: str = "",
        requested_model: str | None = None,
        source: Source = "live",
        finish_reason: str | None = None,
        first_token_s: float | None = None,
    ) -> Self:
        """Return the text with its particulars."""
        self = super().__new__(cls, text)
        self.usage = usage if usage is not None else Usage()
        self.cost_usd = cost_usd
        self.model = model
        self.requested_model = model if requested_model is None else requested_model
        self.source = source
        self.finish_reason = finish_reason
        self.first_token_s = first_token_s
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # str's own way would lose the attributes, or look for them in __new__'s arguments.
        return LLMText, (str(self),), self.__dict__

    def __tta_encode__(self) -> dict[str, Any]:
        """Return what it is made of, for `tta_notebook.storage.codec`."""
        return {"text": str(self), **self.__dict__}

    @classmethod
    def __tta_decode__(cls, data: dict[str, Any]) -> Self:
        """Return the text again."""
        return cls(**data)

    def __copy__(self) -> LLMText:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> LLMText:
        # Immutable in all but name: Usage is frozen and everything else is a scalar.
        return self
