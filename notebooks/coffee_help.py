"""The workflow of the quickstart as a module: the same primitives, no notebook.

Run it with: tta run coffee_help:ask --input "How often should I descale the machine?"
"""

from tta_notebook import ConditionalPrimitive, LLMPrimitive

MANUAL = [
    "Descale the machine every two months, or when the orange lamp blinks.",
    "The water tank holds 1.8 litres. Fill it with cold, fresh water every day.",
    "For a strong coffee press the bean button twice before you press start.",
    "The machine switches itself off after thirty minutes without use.",
    "Milk residue is removed by running the rinse programme after every cappuccino.",
]

COMMON = frozenset("a after does for how i in is it long much my of often or should the to".split())  # noqa: SIM905


def words(text: str) -> set[str]:
    """Return the words of a text that carry its meaning."""
    return {word.strip("?.,:").lower() for word in text.split()} - COMMON


def find(question: str) -> dict[str, str | None]:
    """Find the sentence of the manual that shares the most words with the question."""
    best = max(MANUAL, key=lambda line: len(words(line) & words(question)))
    known = bool(words(best) & words(question))
    return {"question": question, "source": best if known else None}


def prompt(found: dict[str, str | None]) -> str:
    """Put the question and what the manual says into words for the model."""
    return f"Manual: {found['source']}\n\nQuestion: {found['question']}\nAnswer from the manual."


answer = LLMPrimitive(
    "local",
    system="You answer questions from a manual in one short sentence.",
    max_output_tokens=48,
    temperature=0,
    name="answer",
)


def is_known(found: dict[str, str | None]) -> bool:
    """Tell whether the manual says anything about the question."""
    return found["source"] is not None


def decline(found: dict[str, str | None]) -> str:
    """Say so instead of asking a model that would make something up."""
    return f"The manual does not say: {found['question']}"


ask = (find >> ConditionalPrimitive(is_known, prompt >> answer, decline)).named("ask")
