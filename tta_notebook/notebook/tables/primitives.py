"""What the magic accepts that makes a primitive of a function."""

from tta_notebook.notebook.options import HELP, QUIET, TIMEOUT, Magic, Option

PRIMITIVE = Magic(
    "tta_primitive",
    "%%",
    "Make a primitive of the last function that a cell defines.",
    ("NAME",),
    (
        Option("--cache", "keep its answers for so long: 90, 90s, 30m, 12h, 7d", "TTL"),
        Option("--retry", "try again up to N times when it fails with what may pass", "N"),
        Option("--timeout", TIMEOUT.help.replace("the run", "each attempt"), "S"),
        Option("--model", "the function gives a prompt; ask this model with it", "M"),
        QUIET,
        HELP,
    ),
    "NAME",
    "The body is ordinary Python; its last def or async def becomes the primitive NAME. From the\n"
    "inside: the function, the model, the cache, the timeout, the retries. A hit is instant, the\n"
    "timeout holds for one attempt, and what is retried is the whole of it.\n"
    "In plain Python:\n"
    "  NAME = RetryPrimitive(TimeoutPrimitive(CachePrimitive(function, TTL), S), N).named(NAME)\n"
    "and with --model `LambdaPrimitive(function) >> LLMPrimitive(M)` in place of the function.\n\n"
    "  %%tta_primitive summary --model local --cache 1h --retry 2\n"
    "  def prompt(text):\n"
    "      return f'Summarise in one sentence: {text}'",
    surplus="the function goes into the body of the cell",
)
