"""A step in which a strong model plans, a cheap one does the work, and the strong one checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, cast

from tta_notebook.core import checked
from tta_notebook.core.algebra import as_primitive
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import ArgumentError, ConfigurationError, Names, RouteError
from tta_notebook.core.money import usd
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.usage import Usage
from tta_notebook.orchestration.bill import Bill, cost_of_all, sum_of
from tta_notebook.orchestration.request import (
    checked_messages,
    checked_task,
    conversation_about,
    request_of,
)
from tta_notebook.orchestration.verdict import objection
from tta_notebook.recovery.original import copied

_OWNER = "DelegationPrimitive"

EXECUTOR = "executor"
"""The name of the executor that was given without one."""

# What a plan that reports its own cost says beside the plan.
_REPORTED = ("usage", "model", "cost_usd")


@dataclass(frozen=True, slots=True)
class DelegationRequest:
    """Work for an executor.

    Attributes:
        task_description: what is to be done; may be blank where there are messages.
        executor_model: which executor is to do it; may be left out where there is one.
        messages: the conversation to answer; by default the description as the user's message.
        metadata: free particulars, carried along.

    Raises:
        ArgumentError: it says nothing to do.

    >>> DelegationRequest("Translate this", executor_model="local").messages
    ()
    """

    task_description: str
    executor_model: str | None = None
    messages: Sequence[Any] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        owner = type(self).__name__
        checked_messages(owner, self.messages)
        if not self.messages:
            checked_task(owner, self.task_description)
        if self.executor_model is not None and not isinstance(self.executor_model, str):
            raise ArgumentError(
                f"{owner}: executor_model={self.executor_model!r} is no name of an executor. Give "
                "a text, or leave it out where there is one executor."
            )


@dataclass(frozen=True, slots=True)
class DelegationResponse:
    """What came of it.

    Attributes:
        content: the executor's answer.
        executor_model: who gave it.
        is_approved: whether the check passed; True without one, False while it is under way.
        revisions: how often it was done again after a check.
        usage: tokens of all roles together; None when none said so.
        cost: what all calls to models cost together, in USD; None when one of them has no price.
        cost_by_role: the same for "orchestrator", "executor" and "checker", those that were asked.
        metadata: that of the request.
    """

    content: Any
    executor_model: str
    is_approved: bool
    revisions: int
    usage: Usage | None
    cost: float | None
    cost_by_role: Mapping[str, float | None]
    metadata: Mapping[str, Any]


class DelegationPrimitive(WorkflowPrimitive[Any, DelegationResponse]):
    """An orchestrator plans, an executor does the work, and a check may send it back.

    The orchestrator gets the input and gives a `DelegationRequest`, a mapping of its fields, a list
    of messages, or a text, which is the task. Without an orchestrator the input is one of these.
    The executor gets the conversation; the check gets the `DelegationResponse` and gives True or
    False, a mapping with `approved` and `feedback`, or a text that says what is wrong (a blank one,
    or one that begins with the word "ok", approves).

    Args:
        orchestrator: the step that plans.
        executor: the step that does the work.
        executor_primitives: executors by name, where there are several; `register_executor` adds
            to them.
        check: a step that judges the answer.
        max_revisions: how often an answer that did not pass is done again.
        name: by default "delegate".

    Raises:
        ArgumentError: both `executor` and `executor_primitives` were given.

    >>> delegate = DelegationPrimitive(lambda goal: f"Write one line: {goal}", lambda _: "Hi!")
    >>> response = delegate.run_sync("a greeting")
    >>> response.content, response.executor_model
    ('Hi!', 'executor')
    """

    kind: ClassVar[str] = "delegation"

    def __init__(
        self,
        orchestrator: Any = None,
        executor: Any = None,
        *,
        executor_primitives: Mapping[str, Any] | None = None,
        check: Any = None,
        max_revisions: int = 1,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, default_name="delegate")
        if executor is not None and executor_primitives:
            raise ArgumentError(
                f"{_OWNER}: executor=… and executor_primitives=… were given, which say the same "
                "thing twice. Give one or the other."
            )
        self.orchestrator = None if orchestrator is None else as_primitive(orchestrator)
        self.check = None if check is None else as_primitive(check)
        self.max_revisions = checked.count(_OWNER, "max_revisions", max_revisions, least=0)
        self.executors: dict[str, WorkflowPrimitive[Any, Any]] = {}
        if executor is not None:
            self.register_executor(EXECUTOR, executor)
        for model, step in (executor_primitives or {}).items():
            self.register_executor(model, step)

    def register_executor(self, model: str, primitive: Any) -> None:
        """Add an executor, or replace the one of that name; what is under way keeps its own.

        Raises:
            ConfigurationError: it is no name.
        """
        if not isinstance(model, str) or not model:
            raise ConfigurationError(
                f"{_OWNER}: {model!r} is no name by which an executor could be asked for. Give a "
                "text."
            )
        self.executors[model] = as_primitive(primitive)

    def parts(self) -> Sequence[tuple[str, WorkflowPrimitive[Any, Any]]]:
        """Return the orchestrator, the executors and the check."""
        roles = [("plan", self.orchestrator), *self.executors.items(), ("check", self.check)]
        return [(role, step) for role, step in roles if step is not None]

    async def execute(self, input_data: Any, context: WorkflowContext = HERE) -> DelegationResponse:
        """Plan, do and check.

        Raises:
            ArgumentError: the plan is no request, or the check does not say whether it approves.
            RouteError: the plan names an executor that does not exist.
        """
        bills = _Bills(Bill(), Bill(), Bill())
        request = await self._planned(input_data, context, bills)
        model, executor = self._executor_for(request)
        context.note("delegated", executor=model)
        response = await self._approved(request, model, executor, context, bills)
        # What it reports are the sums of calls that have been counted.
        context.reused(response)
        return response

    async def _planned(
        self, input_data: Any, context: WorkflowContext, bills: _Bills
    ) -> DelegationRequest:
        planner = self.orchestrator
        if planner is None:
            return request_of(DelegationRequest, input_data, self.name)
        plan: Any = await bills.orchestrator.charge(
            planner.execute, input_data, context, planner.name
        )
        return request_of(
            DelegationRequest, plan, self.name, whose="the orchestrator's plan", besides=_REPORTED
        )

    def _executor_for(self, request: DelegationRequest) -> tuple[str, WorkflowPrimitive[Any, Any]]:
        model = request.executor_model
        if model is None and len(self.executors) == 1:
            return next(iter(self.executors.items()))
        if model is not None and model in self.executors:
            return model, self.executors[model]
        known = Names(self.executors).instead_of(model)
        wanted = "names no executor" if model is None else f"is for {model!r}"
        raise RouteError(
            f"{self.name!r}: the work {wanted}, and the executors are {known}. Name one of these "
            "in executor_model, or add it with register_executor.",
            route=model,
            routes=self.executors,
        )

    async def _approved(
        self,
        request: DelegationRequest,
        model: str,
        executor: WorkflowPrimitive[Any, Any],
        context: WorkflowContext,
        bills: _Bills,
    ) -> DelegationResponse:
        """Have it done until the check approves, or no revision is left."""
        said = conversation_about(request.task_description, request.messages)
        revisions = 0
        while True:
            # Copied: what an executor does to its messages must not reach the caller, or the next.
            content = await bills.executor.charge(executor.execute, copied(said), context, model)
            response = bills.on(_response(content, model, revisions, request))
            wrong = await self._wrong(response, context, bills)
            if wrong is None or revisions == self.max_revisions:
                break
            revisions += 1
            context.note("revision", objection=wrong, revision=revisions)
            said = [*said, *_sent_back(content, wrong)]
        if wrong is not None:
            context.note("not_approved", objection=wrong, revisions=revisions)
        return bills.on(replace(response, is_approved=wrong is None))

    async def _wrong(
        self, response: DelegationResponse, context: WorkflowContext, bills: _Bills
    ) -> str | None:
        check = self.check
        if check is None:
            return None
        verdict = await bills.checker.charge(check.execute, response, context, check.name)
        return objection(verdict, self.name)


class _Bills(NamedTuple):
    """What the roles of one execution have spent."""

    orchestrator: Bill
    executor: Bill
    checker: Bill

    def on(self, response: DelegationResponse) -> DelegationResponse:
        """Return the response with what has been spent until now."""
        return replace(
            response,
            usage=sum_of(bill.usage for bill in self),
            cost=cost_of_all(self),
            cost_by_role={
                role: None if bill.cost_pico is None else usd(bill.cost_pico)
                for role, bill in self._asdict().items()
                if bill.was_charged
            },
        )


def _response(
    content: Any, model: str, revisions: int, request: DelegationRequest
) -> DelegationResponse:
    return DelegationResponse(content, model, False, revisions, None, None, {}, request.metadata)


def _sent_back(content: Any, wrong: str) -> list[dict[str, str]]:
    """Return what is added to the conversation: the answer, and what is wrong with it."""
    given = content
    if isinstance(content, Mapping):
        given = cast("Mapping[str, Any]", content).get("text", content)
    return [
        # A model takes no empty message.
        {"role": "assistant", "content": str(given) if str(given).strip() else "(no answer)"},
        {"role": "user", "content": f"That is not right: {wrong} Do it again."},
    ]
