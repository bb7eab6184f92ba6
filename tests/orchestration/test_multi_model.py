"""A task goes to the model that suits it, and to the next when that fails."""

import asyncio

import pytest
from dollars import DOLLARS, costing, failing, paying, reporting

from tta_notebook import (
    STANDARD_MODELS,
    ArgumentError,
    Budget,
    BudgetExceededError,
    CachePrimitive,
    CircuitBreakerPrimitive,
    CircuitOpenError,
    ConfigurationError,
    CostTrackingPrimitive,
    Ledger,
    LLMPrimitive,
    MockPrimitive,
    ModelClassifier,
    ModelProfile,
    ModelRequestError,
    ModelTable,
    MultiModelRequest,
    MultiModelWorkflow,
    RetryPrimitive,
    ScriptedModel,
    TaskClassification,
    TaskClassifierPrimitive,
    WorkflowContext,
    WorkflowError,
    capture,
)
from tta_notebook.testing import cancel_everywhere, run_virtual

TABLE = ModelTable([ModelProfile(name, "complex") for name in ("a", "b", "c")])


def asking(a, b=None, c=None, **options):
    steps = {name: step for name, step in {"a": a, "b": b, "c": c}.items() if step is not None}
    return MultiModelWorkflow(steps, **{"models": TABLE, **options})


def raising(error):
    return MockPrimitive("down", side_effect=error)


def judging(*models):
    return lambda _: TaskClassification("simple", (), models[0], "because", None, models[1:])


# Who is asked


def test_the_recommended_model_answers():
    local, large = MockPrimitive("local", return_value="Hi"), MockPrimitive("large")
    ask = MultiModelWorkflow({"local": local, "openai:gpt-5": large})
    response = ask.run_sync("Say hello")
    assert (response.content, response.model, response.tried) == ("Hi", "local", ("local",))
    assert response.classification.fallback_models == ("openai:gpt-5",)
    assert response.is_valid
    assert (response.usage, response.cost_usd) == (None, 0)
    assert local.last_input == [{"role": "user", "content": "Say hello"}]
    large.assert_not_called()


@pytest.mark.parametrize("given", [None, {}])
def test_without_executors_there_is_a_model_for_each_of_the_table(given):
    ask = MultiModelWorkflow(given)
    assert tuple(ask.executors) == STANDARD_MODELS.names
    assert all(step.model == name for name, step in ask.executors.items())


def test_a_model_that_raises_is_followed_by_the_next():
    ask = asking(raising(ConnectionError("gone")), lambda _: "from b")
    response = ask.run_sync("Say hello")
    assert (response.content, response.model, response.tried) == ("from b", "b", ("a", "b"))


def test_a_model_whose_answer_is_not_good_is_followed_by_the_next():
    ask = asking(lambda _: "", lambda _: "yes", validate=bool)
    response = ask.run_sync("Say hello")
    assert (response.content, response.tried, response.is_valid) == ("yes", ("a", "b"), True)


def test_a_model_behind_an_open_circuit_is_followed_by_the_next():
    down = raising(ConnectionError("gone"))
    breaker = CircuitBreakerPrimitive(down, failure_threshold=1)
    ask = asking(breaker, lambda _: "from b")
    assert [ask.run_sync("Say hello").model for _ in range(3)] == ["b"] * 3
    assert down.call_count == 1
    with pytest.raises(CircuitOpenError):
        asking(breaker).run_sync("Say hello")


def test_when_all_fail_the_first_error_is_raised_with_the_others():
    errors = [ConnectionError("one"), TimeoutError("two"), ValueError("three")]
    with pytest.raises(ConnectionError, match="one") as caught:
        asking(*map(raising, errors)).run_sync("Say hello")
    assert caught.value.fallback_errors == tuple(errors)
    assert "two" in caught.value.__notes__[0]


def test_when_no_answer_is_good_the_last_one_is_given_and_said_to_be_bad():
    response = asking(lambda _: 1, lambda _: 2, validate=lambda _: False).run_sync("Say hello")
    assert (response.content, response.model, response.is_valid) == (2, "b", False)


def test_a_bad_answer_is_better_than_none():
    ask = asking(lambda _: "bad", raising(ValueError("gone")), validate=lambda _: False)
    response = ask.run_sync("Say hello")
    assert (response.content, response.model, response.tried) == ("bad", "a", ("a", "b"))
    assert not response.is_valid


def test_one_model_is_checked_and_fails_like_several():
    assert not asking(lambda _: "bad", validate=lambda _: False).run_sync("Say hello").is_valid
    with pytest.raises(ConnectionError, match="gone"):
        asking(raising(ConnectionError("gone"))).run_sync("Say hello")


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_models_are_asked_than_allowed(most):
    down = [raising(ConnectionError("gone")) for _ in range(3)]
    with pytest.raises(ConnectionError):
        asking(*down, max_models=most).run_sync("Say hello")
    assert [step.call_count for step in down] == [1] * most + [0] * (3 - most)


def test_models_without_a_step_do_not_count():
    ask = asking(lambda _: "from a", classifier=judging("x", "y", "z", "a"), max_models=1)
    assert ask.run_sync("Say hello").model == "a"


# The check


def test_a_check_is_asked_once_for_each_answer_and_may_be_async():
    seen = []

    async def is_good(answer, context):
        await asyncio.sleep(1)
        assert isinstance(context, WorkflowContext)
        seen.append(answer)
        return answer == 2

    ask = asking(lambda _: 1, lambda _: 2, lambda _: 3, validate=is_good)
    assert run_virtual(lambda: ask("Say hello")).content == 2
    assert seen == [1, 2]


def test_a_check_that_raises_is_no_bad_answer():
    def broken(_):
        raise ZeroDivisionError

    other = MockPrimitive("other")
    with pytest.raises(ZeroDivisionError):
        asking(lambda _: 1, other, validate=broken).run_sync("Say hello")
    other.assert_not_called()


def test_a_check_that_asks_a_model_is_charged():
    judge = costing("check", 2, "yes", "yes")

    async def is_good(answer, context):
        return await judge.execute(answer, context) == "yes"

    ask = asking(costing("a", 3), validate=is_good)
    assert ask.run_sync("Say hello", paying()).cost_usd == 5


# Requests


def test_a_mapping_and_a_request_say_more_than_a_text():
    step = MockPrimitive("a", return_value="Hi")
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    fields = {"task_description": "Say hello", "messages": said}
    ask = asking(step, lambda _: "from b")
    assert ask.run_sync(fields) == ask.run_sync(MultiModelRequest(**fields))
    assert step.last_input == said
    only = {"task_description": "Say hello", "user_preferences": {"models": ["b"]}}
    assert ask.run_sync(only).tried == ("b",)


def test_a_conversation_is_judged_by_what_the_user_said_last():
    said = [("user", "Prove it"), ("assistant", "Why?"), ("user", "Say hello"), ("assistant", "Hi")]
    step = MockPrimitive("a", return_value="Hi")
    response = asking(step).run_sync(said)
    assert response.classification.complexity == "simple"
    assert step.last_input == said
    with pytest.raises(ModelRequestError, match="message 0"):
        asking(step).run_sync(["Say hello"])


def test_messages_count_for_the_context_that_is_needed():
    table = ModelTable(
        [
            ModelProfile("small", "complex", context_tokens=1_000, is_free=True),
            ModelProfile("large", "complex", context_tokens=100_000),
        ]
    )
    ask = MultiModelWorkflow({"small": lambda _: 1, "large": lambda _: 2}, models=table)
    assert ask.run_sync("Say hello").model == "small"
    request = MultiModelRequest("Say hello", [{"role": "user", "content": "word " * 2_000}])
    assert ask.run_sync(request).model == "large"


def test_what_a_model_does_to_its_messages_reaches_nobody_else():
    def spoils(messages):
        messages[0]["content"] = "spoilt"
        messages.append("more")
        raise ConnectionError

    said = [{"role": "user", "content": "Hello"}]
    request = MultiModelRequest("Say hello", said)
    assert asking(spoils, lambda messages: messages).run_sync(request).content == said
    assert said == [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "describes no task"),
        (3, "describes no task"),
        ([], "describes no task"),
        ({"messages": [{"role": "user", "content": "Hello"}]}, "describes no task"),
        ({"task_description": "x", "messages": "Hello"}, "no list of messages"),
        ({"task_description": "x", "messages": None}, "no list of messages"),
        ({"task_description": "x", "mesages": []}, "did you mean 'messages'"),
        ({"task_description": "x", "user_preferences": {"models": ["z"]}}, "no model 'z'"),
        ({"task_description": "x", "user_preferences": {"free": True}}, "nobody would look at"),
        ({"task_description": "x", "output_tokens": -1}, "output_tokens"),
    ],
)
def test_what_describes_no_task_is_refused(given, message):
    with pytest.raises(WorkflowError, match=message):
        asking(lambda _: "x").run_sync(given)


@pytest.mark.parametrize(
    "arguments",
    [
        {"executor_primitives": ["a"]},
        {"executor_primitives": {1: len}},
        {"max_models": 0},
        {"max_models": True},
        {"max_models": 1.5},
        {"prefer_free": "yes"},
    ],
)
def test_arguments_that_mean_nothing_are_refused(arguments):
    with pytest.raises(ConfigurationError, match="Give "):
        MultiModelWorkflow(**arguments)


def test_a_classifier_that_recommends_nobody_or_nothing_is_told():
    with pytest.raises(ArgumentError, match="recommends 'x', and there is a step for 'a'"):
        asking(lambda _: 1, classifier=judging("x")).run_sync("Say hello")
    with pytest.raises(ArgumentError, match="gave simple, which recommends no model"):
        asking(lambda _: 1, classifier=lambda _: "simple").run_sync("Say hello")


# What it costs


def test_all_attempts_are_charged_also_those_that_failed():
    ledger = Ledger()
    run = run_virtual(lambda: asking(failing("a", 4), costing("b", 2)).run("Hi", paying(ledger)))
    response = run.output
    assert response.tried == ("a", "b")
    assert response.cost_usd == ledger.total_usd == run.cost_usd == 4 + 2
    assert ledger.by("model") == {"a": 4, "b": 2}
    assert response.usage.output_tokens == run.usage.output_tokens == 6


def test_a_classifier_that_asks_a_model_is_charged():
    reply = '{"complexity": "simple", "characteristics": []}'
    judge = ModelClassifier(costing("plan", 3, reply))
    classifier = TaskClassifierPrimitive(models=TABLE, classifier=judge)
    ledger = Ledger()
    ask = asking(costing("a", 2), classifier=classifier)
    run = run_virtual(lambda: ask.run("Say hello", paying(ledger)))
    assert run.output.cost_usd == ledger.total_usd == run.cost_usd == 5
    assert ledger.total_requests == 2


def test_a_model_without_a_price_leaves_the_cost_unknown():
    unknown = LLMPrimitive(ScriptedModel("Hi", name="nobody"))
    response = asking(unknown).run_sync("Say hello", paying())
    assert response.cost_usd is None
    assert response.usage.output_tokens > 0
    mixed = asking(failing("a", 2), unknown).run_sync("Say hello", paying())
    assert (mixed.model, mixed.cost_usd) == ("b", None)


def test_an_answer_from_a_cache_is_free():
    ask = asking(CachePrimitive(costing("a", 2)))
    responses = [ask.run_sync("Say hello", paying()) for _ in range(2)]
    assert [each.cost_usd for each in responses] == [2, 0]
    assert [each.content for each in responses] == ["done", "done"]
    reported = asking(CachePrimitive(reporting("a", 2)))
    assert [reported.run_sync("Say hello", paying()).cost_usd for _ in range(2)] == [2, 0]


def test_a_usage_that_a_result_reports_is_charged():
    ledger = Ledger()
    bad_first = asking(
        reporting("a", 3), reporting(None, 2), validate=lambda result: result["model"] is None
    )
    run = run_virtual(lambda: bad_first.run("Say hello", paying(ledger)))
    # The second names no model: it is the one that it stands for.
    assert run.output.cost_usd == ledger.total_usd == run.cost_usd == 5
    assert ledger.by("model") == {"a": 3, "b": 2}
    unpriced = asking(reporting("nobody", 3)).run_sync("Say hello", paying())
    assert (unpriced.cost_usd, unpriced.usage.output_tokens) == (None, 3)


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("step", [costing("a", 3), reporting("a", 3)], ids=["seen", "reported"])
def test_who_tracks_the_workflow_books_everything_once(step, watched):
    ledger = Ledger(DOLLARS)
    tracked = CostTrackingPrimitive(asking(step), ledger=ledger)
    if watched:
        with capture():
            response = tracked.run_sync("Say hello")
    else:
        response = tracked.run_sync("Say hello")
    assert response.cost_usd == ledger.total_usd == 3
    assert ledger.total_requests == 1


def test_a_tracker_inside_books_once_and_the_trace_counts_once():
    ledger = Ledger(DOLLARS)
    ask = asking(CostTrackingPrimitive(reporting("a", 3), ledger=ledger))
    run = run_virtual(lambda: ask.run("Say hello", paying()))
    assert run.output.cost_usd == run.cost_usd == ledger.total_usd == 3


def test_a_workflow_inside_another_is_charged_once():
    inner = asking(costing("a", 2))
    run = run_virtual(lambda: asking(inner).run("Say hello", paying()))
    assert run.output.cost_usd == run.output.content.cost_usd == run.cost_usd == 2
    assert run.usage.output_tokens == 2


def test_a_cached_workflow_is_free_the_second_time():
    cached = CachePrimitive(asking(costing("a", 2)))
    outer = asking(cached)
    assert [outer.run_sync("Say hello", paying()).cost_usd for _ in range(2)] == [2, 0]


def test_a_budget_holds_over_all_models():
    budget = Budget(5, max_wait_seconds=0, min_output_tokens=3)
    ask = asking(
        costing("a", 4, max_output_tokens=4),
        costing("b", 4, max_output_tokens=4),
        validate=lambda _: False,
    )
    # The first spends four; one dollar is left, which does not pay for three tokens.
    response = ask.run_sync("Say hello", paying(budget))
    assert (response.model, response.tried, response.cost_usd) == ("a", ("a", "b"), 4)
    assert budget.status().spent_usd == 4
    with pytest.raises(BudgetExceededError):
        ask.run_sync("Say hello", paying(budget))


def test_a_budget_is_not_asked_about_what_is_only_reported():
    budget, ledger = Budget(1, max_wait_seconds=0), Ledger()
    response = asking(reporting("a", 3)).run_sync("Say hello", paying(budget, ledger))
    assert response.cost_usd == ledger.total_usd == 3
    assert budget.status().spent_usd == 0


# Many at once


def test_a_hundred_callers_do_not_get_in_each_others_way():
    async def flaky(messages):
        number = int(messages[0]["content"].rpartition(" ")[2])
        await asyncio.sleep(number % 7 / 10)
        if number % 2:
            raise ConnectionError(str(number))
        return number

    async def steady(messages):
        await asyncio.sleep(0.1)
        return int(messages[0]["content"].rpartition(" ")[2])

    ask = asking(flaky, steady, validate=lambda number: number % 3)

    async def main():
        return await asyncio.gather(*(ask(f"number {number}") for number in range(100)))

    for number, response in enumerate(run_virtual(main)):
        first_is_good = number % 2 == 0 and number % 3
        assert response.tried == (("a",) if first_is_good else ("a", "b"))
        assert response.content == number
        assert response.is_valid == bool(number % 3)


def test_a_hundred_callers_are_charged_each_for_its_own():
    ledger = Ledger()
    ask = asking(
        RetryPrimitive(failing("a", 1), max_retries=0),
        costing("b", 2, *["done"] * 100, delay_s=0.1),
    )

    async def main():
        calls = (ask("Say hello", paying(ledger)) for _ in range(100))
        return await asyncio.gather(*calls)

    # The failing model's script has nine replies, each billed for one token; then it is refused.
    responses = run_virtual(main)
    assert sorted(each.cost_usd for each in responses) == [2] * 91 + [3] * 9
    assert ledger.total_usd == sum(each.cost_usd for each in responses)


def test_wherever_it_is_cancelled_nothing_is_left():
    async def slow(_):
        await asyncio.sleep(1)
        raise ConnectionError

    async def is_good(answer):
        await asyncio.sleep(1)
        return answer == "done"

    async def main():
        judge = ModelClassifier(costing("plan", 1, '{"complexity": "simple"}', delay_s=1))
        classifier = TaskClassifierPrimitive(models=TABLE, classifier=judge)
        ask = asking(slow, costing("b", 1, delay_s=1), classifier=classifier, validate=is_good)
        return (await ask("Say hello", paying())).content

    assert len(cancel_everywhere(main).runs) > 6


# The picture and the trace


def test_the_picture_shows_the_roles():
    judge = ModelClassifier(costing("plan", 1))
    classifier = TaskClassifierPrimitive(models=TABLE, classifier=judge)
    assert asking(len, max, classifier=classifier).graph().to_text().splitlines() == [
        "multi-model  [multi_model]",
        "├─ classify: classify task  [classifier]",
        "│  └─ ask: plan  [llm]",
        "├─ a: len",
        "└─ b: max",
    ]


def test_the_trace_shows_who_was_asked():
    with capture() as spans:
        asking(raising(ConnectionError("gone")), lambda _: "from b").run_sync("Say hello")
    names = [span.name for span in spans]
    for name in ("multi-model", "classify task", "multi-model models", "a", "b"):
        assert name in names
    (cascade,) = (span for span in spans if span.name == "multi-model models")
    assert cascade.notes[0].name == "fell_back"
