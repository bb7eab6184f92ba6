"""One plans, another does the work, a third may send it back."""

import asyncio

import pytest
from dollars import DOLLARS, costing, failing, paying, reporting

from tta_notebook import (
    ArgumentError,
    Budget,
    BudgetExceededError,
    CachePrimitive,
    CompositionError,
    ConfigurationError,
    CostTrackingPrimitive,
    DelegationPrimitive,
    DelegationRequest,
    DelegationResponse,
    FallbackPrimitive,
    Ledger,
    LLMPrimitive,
    MockPrimitive,
    ModelUnavailableError,
    MultiModelWorkflow,
    RouteError,
    ScriptedModel,
    WorkflowContext,
    capture,
)
from tta_notebook.testing import cancel_everywhere, run_virtual


def echo(messages):
    return [message["content"] for message in messages]


# Plans


@pytest.mark.parametrize(
    "plan",
    [
        "Do it",
        {"task_description": "Do it"},
        {"task_description": "Do it", "executor_model": "executor"},
        {"messages": [{"role": "user", "content": "Do it"}]},
        {"messages": ({"role": "user", "content": "Do it"},), "task_description": " "},
        DelegationRequest("Do it"),
        DelegationRequest("", messages=[{"role": "user", "content": "Do it"}]),
        [{"role": "user", "content": "Do it"}],
    ],
)
def test_a_plan_is_a_text_a_mapping_or_a_request(plan):
    assert DelegationPrimitive(lambda _: plan, echo).run_sync("goal").content == ["Do it"]
    assert DelegationPrimitive(executor=echo).run_sync(plan).content == ["Do it"]


def test_the_orchestrator_gets_the_input_and_the_request_keeps_its_particulars():
    orchestrator = MockPrimitive(
        "plan", return_value={"task_description": "x", "metadata": {"id": 7}}
    )
    response = DelegationPrimitive(orchestrator, echo).run_sync({"goal": 1})
    assert orchestrator.last_input == {"goal": 1}
    assert response.metadata == {"id": 7}
    assert response == DelegationResponse(
        ["x"], "executor", True, 0, None, 0, response.cost_by_role, {"id": 7}
    )
    assert response.cost_by_role == {"orchestrator": 0, "executor": 0}


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("", "describes no task"),
        (None, "the orchestrator's plan is None, and a NoneType describes no task"),
        ([], "describes no task"),
        (7, "a int describes no task"),
        ({}, "describes no task"),
        ({"messages": []}, "describes no task"),
        ({"messages": "Do it"}, "no list of messages"),
        ({"task_description": "x", "executor": "a"}, "did you mean 'executor_model'"),
        ({"task_description": "x", "model": "a"}, "'model' is no field"),
        ({"task_description": "x", "executor_model": ["a"]}, "no name of an executor"),
    ],
)
def test_a_plan_that_says_nothing_to_do_is_refused(plan, message):
    with pytest.raises(ArgumentError, match=message):
        DelegationPrimitive(lambda _: plan, echo).run_sync("goal")


def test_a_wrong_plan_says_whose_it_is():
    with pytest.raises(ArgumentError) as caught:
        DelegationPrimitive(lambda _: {"task": "x"}, echo).run_sync("goal")
    note = "It was made of the orchestrator's plan of 'delegate': {'task': 'x'}."
    assert caught.value.__notes__ == [note]


# Executors


def test_the_plan_names_the_executor():
    delegate = DelegationPrimitive(executor_primitives={"a": lambda _: 1, "b": lambda _: 2})
    response = delegate.run_sync({"task_description": "x", "executor_model": "b"})
    assert (response.content, response.executor_model) == (2, "b")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("chep", r"the work is for 'chep', .* 'cheap', 'dear' \(did you mean 'cheap'\?\)"),
        (None, "the work names no executor, and the executors are 'cheap', 'dear'"),
    ],
)
def test_an_unknown_executor_is_told_with_those_there_are(model, message):
    delegate = DelegationPrimitive(executor_primitives={"cheap": echo, "dear": echo})
    with pytest.raises(RouteError, match=message) as caught:
        delegate.run_sync({"task_description": "x", "executor_model": model})
    assert (caught.value.route, caught.value.routes) == (model, ("cheap", "dear"))


@pytest.mark.parametrize("given", [None, {}])
def test_executors_can_come_later(given):
    delegate = DelegationPrimitive(executor_primitives=given)
    with pytest.raises(RouteError, match=r"the executors are none.*register_executor"):
        delegate.run_sync("x")
    delegate.register_executor("a", lambda _: 1)
    assert delegate.run_sync("x").content == 1
    delegate.register_executor("a", lambda _: 2)
    assert delegate.run_sync("x").content == 2


def test_what_is_under_way_keeps_its_executor():
    delegate = DelegationPrimitive(executor_primitives={"a": lambda _: "old"})

    def replace_and_object(_):
        delegate.register_executor("a", lambda _: "new")
        return False

    delegate.check = MockPrimitive("check", side_effect=replace_and_object)
    assert delegate.run_sync("x").content == "old"
    assert delegate.run_sync("x").content == "new"


def test_an_empty_table_beside_an_executor_says_nothing():
    assert DelegationPrimitive(None, echo, executor_primitives={}).run_sync("x").content == ["x"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"executor": echo, "executor_primitives": {"a": echo}}, ArgumentError),
        ({"executor_primitives": {"": echo}}, ConfigurationError),
        ({"executor_primitives": {1: echo}}, ConfigurationError),
        ({"executor": echo, "max_revisions": -1}, ConfigurationError),
        ({"executor": echo, "max_revisions": True}, ConfigurationError),
        ({"executor": 7}, CompositionError),
    ],
)
def test_arguments_that_mean_nothing_are_refused(arguments, error):
    with pytest.raises(error):
        DelegationPrimitive(**arguments)


# Checks


@pytest.mark.parametrize(
    ("verdict", "approves"),
    [
        (True, True),
        (False, False),
        (None, False),
        ("", True),
        (" ok", True),
        ("OK.", True),
        ("Okay: fine", True),
        ("Okra is no fruit", False),
        ("Too long.", False),
        ({"approved": True}, True),
        ({"is_approved": True, "feedback": "nice"}, True),
        ({"approved": False, "feedback": "Too long."}, False),
    ],
)
def test_a_check_says_yes_or_no_in_many_ways(verdict, approves):
    delegate = DelegationPrimitive(executor=echo, check=lambda _: verdict, max_revisions=0)
    assert delegate.run_sync("x").is_approved is approves


@pytest.mark.parametrize("verdict", [{}, {"aproved": True}, {"approved": "false"}])
def test_a_check_that_does_not_say_is_an_error(verdict):
    with pytest.raises(ArgumentError, match="does not say whether the answer is good"):
        DelegationPrimitive(executor=echo, check=lambda _: verdict).run_sync("x")


def test_a_check_sees_the_answer_and_what_it_has_cost():
    seen = []
    delegate = DelegationPrimitive(executor=costing("work", 2), check=seen.append, max_revisions=0)
    delegate.run_sync("x", paying())
    (response,) = seen
    assert (response.content, response.cost, response.is_approved) == ("done", 2, False)


def test_an_answer_is_sent_back_with_what_is_wrong():
    executor = MockPrimitive("work", side_effect=["first", "second"])
    delegate = DelegationPrimitive(
        executor=executor, check=lambda r: "Too short." if r.content == "first" else "ok"
    )
    response = delegate.run_sync("x")
    assert (response.content, response.revisions, response.is_approved) == ("second", 1, True)
    assert executor.last_input == [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "first"},
        {"role": "user", "content": "That is not right: Too short. Do it again."},
    ]


@pytest.mark.parametrize("most", [0, 1, 3])
def test_an_answer_is_sent_back_no_more_often_than_allowed(most):
    executor = MockPrimitive("work", return_value="x")
    check = MockPrimitive("check", return_value=False)
    response = DelegationPrimitive(executor=executor, check=check, max_revisions=most).run_sync("x")
    assert (response.revisions, response.is_approved) == (most, False)
    assert executor.call_count == check.call_count == most + 1


@pytest.mark.parametrize(
    ("answer", "said"), [("", "(no answer)"), ({"text": "short"}, "short"), (7, "7"), ({}, "{}")]
)
def test_any_answer_can_be_sent_back(answer, said):
    executor = MockPrimitive("work", side_effect=[answer, "done"])
    check = MockPrimitive("check", side_effect=[False, True])
    DelegationPrimitive(executor=executor, check=check).run_sync("x")
    assert executor.last_input[1] == {"role": "assistant", "content": said}


def test_an_empty_answer_can_be_sent_back_to_a_model():
    work = costing("work", 1, "", "done")
    delegate = DelegationPrimitive(executor=work, check=lambda r: bool(r.content))
    assert delegate.run_sync("x").content == "done"


def test_what_an_executor_does_to_its_messages_reaches_nobody_else():
    def spoils(messages):
        messages[0]["content"] = "spoilt"
        messages.clear()
        return "x"

    said = [{"role": "user", "content": "Hello"}]
    seen = []
    delegate = DelegationPrimitive(
        executor=lambda messages: seen.append(messages[0]["content"]) or spoils(messages),
        check=lambda _: False,
    )
    delegate.run_sync(DelegationRequest("x", messages=said))
    assert said == [{"role": "user", "content": "Hello"}]
    assert seen == ["Hello", "Hello"]


# What it costs


def test_each_role_is_charged():
    ledger = Ledger()
    delegate = DelegationPrimitive(
        costing("plan", 5),
        costing("work", 2, "first", "second"),
        check=(lambda r: f"Judge: {r.content}") >> costing("check", 3, "No.", "ok"),
    )
    run = run_virtual(lambda: delegate.run("goal", paying(ledger)))
    response = run.output
    assert response.cost_by_role == {"orchestrator": 5, "executor": 4, "checker": 6}
    assert response.cost == ledger.total_usd == run.cost_usd == 15
    assert response.usage == run.usage
    assert response.usage.output_tokens == 15
    assert ledger.by("model") == {"check": 6, "plan": 5, "work": 4}
    assert ledger.total_requests == 5


def test_a_role_without_a_price_is_unknown_and_so_is_the_whole():
    unknown = LLMPrimitive(ScriptedModel("done", name="nobody"))
    response = DelegationPrimitive(costing("plan", 5), unknown).run_sync("goal", paying())
    assert response.cost_by_role == {"orchestrator": 5, "executor": None}
    assert response.cost is None
    assert response.usage.output_tokens > 5


def test_a_role_that_asks_no_model_costs_nothing():
    response = DelegationPrimitive(lambda goal: goal, costing("work", 2)).run_sync("x", paying())
    assert response.cost_by_role == {"orchestrator": 0, "executor": 2}


def test_a_role_whose_answer_is_cached_is_free():
    delegate = DelegationPrimitive(CachePrimitive(costing("plan", 5)), costing("work", 2))
    responses = [delegate.run_sync("goal", paying()) for _ in range(2)]
    assert [each.cost_by_role["orchestrator"] for each in responses] == [5, 0]
    assert [each.cost for each in responses] == [7, 2]


def test_attempts_that_fail_inside_a_role_are_charged_to_it():
    executor = FallbackPrimitive(failing("a", 4), [costing("b", 2)])
    response = DelegationPrimitive(costing("plan", 5), executor).run_sync("goal", paying())
    assert response.cost_by_role == {"orchestrator": 5, "executor": 6}


def test_when_a_role_fails_what_was_spent_is_booked_and_in_the_trace():
    ledger = Ledger()
    delegate = DelegationPrimitive(costing("plan", 5), failing("a", 4))
    with capture() as spans, pytest.raises(ConnectionError, match="a is gone"):
        delegate.run_sync("goal", paying(ledger))
    assert ledger.total_usd == 9
    assert sum(span.cost_pico or 0 for span in spans) == 9 * 10**12


def test_a_usage_that_a_result_reports_is_charged_to_its_role():
    ledger = Ledger()

    def plan(_):
        return {"task_description": "x", "usage": {"output_tokens": 5}, "model": "plan"}

    delegate = DelegationPrimitive(plan, reporting("work", 2), check=lambda _: False)
    run = run_virtual(lambda: delegate.run("goal", paying(ledger)))
    # The work is done twice, and both times reported.
    assert run.output.cost_by_role == {"orchestrator": 5, "executor": 4, "checker": 0}
    assert run.output.cost == ledger.total_usd == run.cost_usd == 9
    assert run.output.usage.output_tokens == run.usage.output_tokens == 9


def test_a_usage_without_a_model_is_priced_by_the_executors_name():
    delegate = DelegationPrimitive(executor_primitives={"work": reporting(None, 2)})
    assert delegate.run_sync("x", paying()).cost == 2


@pytest.mark.parametrize(
    "executor", [costing("work", 3), reporting("work", 3)], ids=["seen", "told"]
)
def test_who_tracks_the_delegation_books_everything_once(executor):
    ledger = Ledger(DOLLARS)
    tracked = CostTrackingPrimitive(DelegationPrimitive(executor=executor), ledger=ledger)
    run = run_virtual(lambda: tracked.run("x"))
    assert run.output.cost == ledger.total_usd == run.cost_usd == 3
    assert ledger.total_requests == 1


def test_a_whole_workflow_can_be_an_executor():
    inner = MultiModelWorkflow({"a": costing("a", 2)})
    delegate = DelegationPrimitive(costing("plan", 5), inner)
    run = run_virtual(lambda: delegate.run("goal", paying()))
    assert run.output.cost_by_role == {"orchestrator": 5, "executor": 2}
    assert run.output.cost == run.cost_usd == 7
    assert run.usage.output_tokens == 7


def test_a_budget_holds_over_all_roles():
    budget, ledger = Budget(6, max_wait_seconds=0, min_output_tokens=3), Ledger()
    delegate = DelegationPrimitive(
        costing("plan", 5, max_output_tokens=5), costing("work", 3, max_output_tokens=3)
    )
    with pytest.raises(BudgetExceededError, match="a call to 'work' may cost"):
        delegate.run_sync("goal", paying(budget, ledger))
    assert budget.status().spent_usd == ledger.total_usd == 5


def test_a_budget_holds_over_many_callers():
    budget, ledger = Budget(20, max_wait_seconds=0), Ledger()
    delegate = DelegationPrimitive(
        costing("plan", 2, delay_s=0.1, max_output_tokens=2),
        costing("work", 2, delay_s=0.1, max_output_tokens=2),
    )

    async def main():
        calls = (delegate("goal", paying(budget, ledger)) for _ in range(100))
        return await asyncio.gather(*calls, return_exceptions=True)

    results = run_virtual(main)
    assert budget.status().spent_usd == ledger.total_usd <= 20
    assert any(isinstance(each, BudgetExceededError) for each in results)


# Many at once


def test_a_hundred_callers_do_not_get_in_each_others_way():
    async def plan(number):
        await asyncio.sleep(number % 5 / 10)
        return {"task_description": f"{number}", "executor_model": "ab"[number % 2]}

    async def work(messages):
        await asyncio.sleep(0.1)
        return f"{messages[0]['content']} after {len(messages)}"

    def is_right(response):
        number = int(response.content.split()[0])
        return number % 3 > 0 or response.revisions == 1

    delegate = DelegationPrimitive(plan, executor_primitives={"a": work, "b": work}, check=is_right)

    async def main():
        return await asyncio.gather(*(delegate(number) for number in range(100)))

    for number, response in enumerate(run_virtual(main)):
        is_revised = number % 3 == 0
        assert response.content == f"{number} after {3 if is_revised else 1}"
        assert response.executor_model == "ab"[number % 2]
        assert response.revisions == is_revised


@pytest.mark.parametrize("watched", [False, True])
def test_wherever_it_is_cancelled_nothing_is_left_and_all_is_booked(watched):
    ledgers = []

    async def check(_):
        await asyncio.sleep(1)
        return False

    async def main():
        ledgers.append(Ledger())
        delegate = DelegationPrimitive(
            costing("plan", 1, "do it", delay_s=1),
            costing("work", 1, "one", "two", delay_s=1),
            check=check,
        )
        if not watched:
            return (await delegate("goal", paying(ledgers[-1]))).content
        with capture():
            return (await delegate("goal", paying(ledgers[-1]))).content

    def is_booked(_):
        assert 1 <= ledgers[-1].total_requests <= 3

    assert len(cancel_everywhere(main, check=is_booked).runs) > 8


# The picture and the trace


def test_the_picture_shows_the_roles():
    delegate = DelegationPrimitive(
        costing("plan", 1), executor_primitives={"cheap": len, "dear": max}, check=bool
    )
    assert delegate.graph().to_text().splitlines() == [
        "delegate  [delegation]",
        "├─ plan: plan  [llm]",
        "├─ cheap: len",
        "├─ dear: max",
        "└─ check: bool",
    ]


def test_the_trace_says_to_whom_and_how_often():
    with capture() as spans:
        DelegationPrimitive(executor=echo, check=lambda _: "Too long.").run_sync("x")
    (span,) = (span for span in spans if span.name == "delegate")
    assert [(note.name, note.data) for note in span.notes] == [
        ("delegated", {"executor": "executor"}),
        ("revision", {"objection": "Too long.", "revision": 1}),
        ("not_approved", {"objection": "Too long.", "revisions": 1}),
    ]


def test_an_executors_error_is_its_own():
    down = MockPrimitive("down", side_effect=ModelUnavailableError("gone", model="m"))
    with pytest.raises(ModelUnavailableError, match="gone"):
        DelegationPrimitive(executor=down).run_sync("x", WorkflowContext())
