"""The magics that ask recorded runs, models and caches."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from IPython.core.magic import line_magic, magics_class, needs_local_scope
from IPython.core.magic import no_var_expand as raw_line

from tta_notebook.core.algebra import as_primitive
from tta_notebook.core.errors import ArgumentError, CompositionError, ConfigurationError, Names
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.standing import standing
from tta_notebook.core.threads import run_blocking
from tta_notebook.notebook.compare import Comparison
from tta_notebook.notebook.ipython import UsageError
from tta_notebook.notebook.magics.base import Family
from tta_notebook.notebook.options import timedelta_in
from tta_notebook.notebook.tables.records import CACHE, COMPARE, HISTORY, MODELS, WHATIF

if TYPE_CHECKING:
    import pandas as pd

    from tta_notebook.cost.whatif import WhatIf
    from tta_notebook.performance.cache import CachePrimitive

_SHOWN_RUNS = 20
_COLUMNS = ["id", "workflow", "status", "started_ns", "duration_s", "spans", "cost_usd", "error"]
_SAVINGS = ["size", "hits", "misses", "joined", "hit_rate", "tokens_saved"]


@magics_class
class RecordMagics(Family):
    """What was run before, by whom, and what caches have saved."""

    @raw_line
    @line_magic
    def tta_history(self, line: str) -> pd.DataFrame | None:
        """List the runs that were made. %tta_history -h has the rest."""
        arguments = self._read(HISTORY, line)
        if arguments is None:
            return None
        said = arguments.values  # noqa: PD011 - no data frame
        filters = {key: said[key] for key in ("workflow", "status") if key in said}
        return self._records.up_to_date().df(
            "runs",
            since=_since(said),
            limit=int(said.get("limit", _SHOWN_RUNS)),
            columns=_COLUMNS,
            **filters,
        )

    @raw_line
    @line_magic
    def tta_models(self, line: str) -> pd.DataFrame | None:
        """List the models that were asked and what they cost. %tta_models -h has the rest."""
        from tta_notebook.llm.pricing import standard_prices  # noqa: PLC0415 - not at load

        arguments = self._read(MODELS, line)
        if arguments is None:
            return None
        frame = self._records.up_to_date().costs("model", since=_since(arguments.values))
        prices = standing.prices or standard_prices()
        quotes = [prices.quote(model) for model in frame["model"]]
        terms = [{} if quote is None else quote.terms() for quote in quotes]
        for name in ("input_per_1m", "output_per_1m"):
            frame[name] = [float(each[name]) if name in each else None for each in terms]
        frame["price"] = ["none" if quote is None else quote.source for quote in quotes]
        return frame.drop(columns="cost_pico")

    @raw_line
    @needs_local_scope
    @line_magic
    def tta_cache(self, line: str, local_ns: dict[str, Any] | None = None) -> pd.DataFrame | None:
        """Show what caches have saved, or clear one. %tta_cache -h has the rest."""
        arguments = self._read(CACHE, line)
        if arguments is None:
            return None
        verb, *named = arguments.words or ["stats"]
        if verb == "clear" and named:
            self._clear(named[0], local_ns)
        elif verb != "stats" or named:
            raise UsageError(f"{CACHE.title}: write {CACHE.title} or {CACHE.title} clear NAME.")
        return self._savings()

    def _savings(self) -> pd.DataFrame:
        import pandas as pd  # noqa: PLC0415 - only who asks for a frame

        found: dict[int, tuple[str, CachePrimitive[Any, Any]]] = {}
        for name in self._runtime.workflow_names():
            for cache in _caches_in(self.shell.user_ns[name]):
                found.setdefault(id(cache), (name, cache))
        rows = [
            {"workflow": name, "cache": cache.name, **_chosen(cache.get_stats())}
            for name, cache in found.values()
        ]
        return pd.DataFrame(rows, columns=["workflow", "cache", *_SAVINGS])

    def _clear(self, name: str, local_ns: dict[str, Any] | None) -> None:
        workflow = self._runtime.named(name, lambda: self._evaluate(name, local_ns))
        try:
            caches = list(_caches_in(as_primitive(workflow)))
        except CompositionError:
            kind = type(workflow).__name__
            raise UsageError(f"{CACHE.title}: {name} is a {kind}, not a workflow.") from None
        if not caches:
            known = [each for each in self._runtime.workflow_names() if self._has_cache(each)]
            raise UsageError(
                f"{CACHE.title}: there is no cache in {name}; there is one in {Names(known)}."
            )
        for cache in caches:
            run_blocking(cache.clear)

    def _has_cache(self, name: str) -> bool:
        return any(True for _ in _caches_in(self.shell.user_ns[name]))

    @raw_line
    @needs_local_scope
    @line_magic
    def tta_compare(self, line: str, local_ns: dict[str, Any] | None = None) -> Comparison | None:
        """Show two runs side by side. %tta_compare -h has the rest."""
        arguments = self._read(COMPARE, line)
        if arguments is None:
            return None
        if not arguments.words:
            raise UsageError(f"{COMPARE.title}: which runs? Write {COMPARE.title} RUN RUN.")
        one = self._find_run(COMPARE, arguments.words[:1], local_ns)
        other = self._find_run(COMPARE, arguments.words[1:], local_ns)
        return Comparison(one, other)

    @raw_line
    @needs_local_scope
    @line_magic
    def tta_whatif(self, line: str, local_ns: dict[str, Any] | None = None) -> Any:
        """Ask what recorded runs would have cost otherwise. %tta_whatif -h has the rest."""
        from tta_notebook.cost.whatif import WhatIf  # noqa: PLC0415 - only who asks

        arguments = self._read(WHATIF, line)
        if arguments is None:
            return None
        question, *rest = arguments.words or [""]
        value = self._evaluate(rest[0], local_ns) if rest else None
        said = arguments.values  # noqa: PD011 - no data frame
        source: Any = self._records.up_to_date()
        if "run" in said:
            source = self._find_run(WHATIF, [said["run"]], local_ns)
        asked = WhatIf(source, since=_since(said))
        try:
            answer = _answered(asked, question, value, said)
        except (ConfigurationError, ArgumentError) as error:
            raise UsageError(f"{WHATIF.title}: {error}") from None
        if "plot" not in said:
            return answer
        from tta_notebook.report.whatif_figures import whatif_chart  # noqa: PLC0415 - only who draws

        return whatif_chart(answer)


def _answered(asked: WhatIf, question: str, value: Any, said: dict[str, str]) -> Any:
    if question == "model" and value is not None:
        return asked.reprice(value)
    if question == "cache":
        sizes = [value] if isinstance(value, int) else value
        return asked.cache(sizes, float(said["ttl"]) if "ttl" in said else None)
    if question == "retry" and value is not None:
        return asked.retry(value)
    if question == "budget" and value is not None:
        return asked.budget(value, cast("Any", said.get("per", "total")), said.get("scope"))
    forms = WHATIF.synopsis.replace(" | ", f", {WHATIF.title} ")
    raise UsageError(f"{WHATIF.title}: write {WHATIF.title} {forms}.")


def _since(values: dict[str, str]) -> timedelta | None:
    return timedelta_in(values["since"]) if "since" in values else None


def _chosen(stats: dict[str, Any]) -> dict[str, Any]:
    return {name: stats[name] for name in _SAVINGS}


def _caches_in(workflow: WorkflowPrimitive[Any, Any]) -> Iterator[CachePrimitive[Any, Any]]:
    """Give the caches in a workflow, each once."""
    from tta_notebook.performance.cache import CachePrimitive  # noqa: PLC0415 - not at load

    seen: set[int] = set()
    stack = [workflow]
    while stack:
        step = stack.pop()
        if id(step) not in seen:
            seen.add(id(step))
            stack.extend(part for _, part in step.parts())
            if isinstance(step, CachePrimitive):
                yield step
