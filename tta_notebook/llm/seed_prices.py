"""The price list of the parity figures: what the original of this system reckoned with."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tta_notebook.llm.price import Price

# In the original per 1,000 tokens; the names and figures are its own, not any provider's.
SEED_PRICES: Mapping[str, Price] = MappingProxyType(
    {
        "gpt-4": Price(input_per_1m=30, output_per_1m=60),
        "gpt-4-mini": Price(input_per_1m=0.15, output_per_1m=0.6),
        "gpt-4-turbo": Price(input_per_1m=10, output_per_1m=30),
        "gpt-3.5-turbo": Price(input_per_1m=0.5, output_per_1m=1.5),
        "claude-3-opus": Price(input_per_1m=15, output_per_1m=75),
        "claude-3-sonnet": Price(input_per_1m=3, output_per_1m=15),
        "gemini-pro": Price(input_per_1m=0.25, output_per_1m=0.5),
        "llama-3-70b": Price(input_per_1m=0, output_per_1m=0),
    }
)
