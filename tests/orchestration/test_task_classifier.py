"""A step that judges tasks: what it takes, what it says, whom it recommends."""

import asyncio

import pytest
from dollars import DOLLARS, paying

from tta_notebook import (
    STANDARD_MODELS,
    ArgumentError,
    ConfigurationError,
    ModelProfile,
    ModelTable,
    Price,
    PriceBook,
    TaskClassification,
    TaskClassifierPrimitive,
    TaskClassifierRequest,
    WorkflowError,
    capture,
)

# What is read from a table that changes would be no test.
PRICES = PriceBook(
    overrides={
        "openai:gpt-5-nano": Price(input_per_1m=0.05, output_per_1m=0.4),
        "openai:gpt-5-mini": Price(input_per_1m=0.25, output_per_1m=2),
        "google:gemini-2.5-flash": Price(input_per_1m=0.3, output_per_1m=2.5),
        "anthropic:claude-haiku-4-5": Price(input_per_1m=1, output_per_1m=5),
        "openai:gpt-5": Price(input_per_1m=1.25, output_per_1m=10),
        "google:gemini-2.5-pro": Price(input_per_1m=1.25, output_per_1m=10),
        "anthropic:claude-sonnet-4-5": Price(input_per_1m=3, output_per_1m=15),
    },
    bundled=False,
)


def judged(task, prefer_free=True, **options):
    options.setdefault("prices", PRICES)
    return TaskClassifierPrimitive(prefer_free, **options).run_sync(task)


@pytest.mark.parametrize(
    ("task", "prefer_free", "model"),
    [
        ("Classify this review", True, "local"),
        ("Classify this review", False, "openai:gpt-5-nano"),
        ("Write a python script", True, "openai:gpt-5-mini"),
        ("Why does this function fail?", True, "openai:gpt-5"),
        ("Why does this function fail?", False, "openai:gpt-5"),
        ("word " * 9_000, True, "openai:gpt-5-mini"),
    ],
)
def test_the_cheapest_that_is_good_enough_is_recommended(task, prefer_free, model):
    assert judged(task, prefer_free).recommended_model == model


def test_a_task_that_fits_no_small_context_goes_to_a_larger_one():
    request = TaskClassifierRequest("Say hello", input_tokens=500_000)
    found = judged(request)
    assert found.recommended_model == "google:gemini-2.5-flash"
    assert judged(TaskClassifierRequest("Say hello", input_tokens=2_000_000)).reasoning.endswith(
        "though 951,924 tokens too many for it"
    )


def test_the_estimate_is_the_price_of_its_tokens():
    request = TaskClassifierRequest("Prove it", input_tokens=1_000_000, output_tokens=100_000)
    only = TaskClassifierRequest(
        "Prove it", {"models": ["openai:gpt-5"]}, input_tokens=100_000, output_tokens=1_000
    )
    assert judged(only).estimated_cost == pytest.approx(0.125 + 0.01)
    assert judged(request).recommended_model.startswith("google:")


def test_a_model_without_a_price_has_no_estimate_and_comes_last():
    table = ModelTable([ModelProfile("mine", "simple"), ModelProfile("a", "simple")])
    found = judged("Say hello", models=table, prices=DOLLARS)
    assert (found.recommended_model, found.fallback_models) == ("a", ("mine",))
    alone = judged("Say hello", models=table.only(["mine"]), prices=DOLLARS)
    assert alone.estimated_cost is None
    assert alone.reasoning.endswith("(its price is not known)")


def test_prices_are_those_of_the_run_unless_it_has_its_own():
    table = ModelTable([ModelProfile("a", "simple")])
    request = TaskClassifierRequest("Say hello", output_tokens=3)
    step = TaskClassifierPrimitive(models=table)
    assert step.run_sync(request, paying()).estimated_cost == 3
    own = PriceBook(overrides={"a": Price(input_per_1m=0, output_per_1m=2_000_000)})
    assert TaskClassifierPrimitive(models=table, prices=own).run_sync(request).estimated_cost == 6


def test_all_models_are_there_in_order():
    found = judged("Say hello")
    assert sorted(found.models) == sorted(STANDARD_MODELS.names)
    assert found.models == (found.recommended_model, *found.fallback_models)


def test_the_reasoning_says_both_kinds_of_why():
    assert judged("Say hello").reasoning == (
        "simple: nothing in it asks for several steps; signs: none. local is good enough and free"
    )
    weak = ModelTable([ModelProfile("a", "simple")])
    assert judged("Prove it", models=weak).reasoning.endswith(
        "a is the strongest there is, though meant for simple tasks"
    )


def test_a_text_a_mapping_and_a_request_are_the_same():
    request = TaskClassifierRequest("Say hello", {"models": ["openai:gpt-5"]})
    mapping = {"task_description": "Say hello", "user_preferences": {"models": ("openai:gpt-5",)}}
    assert judged(request) == judged(mapping)
    assert judged("Say hello") == judged({"task_description": "Say hello"})


def test_preferences_go_before_the_steps_own():
    prefer_paid = {"task_description": "Say hello", "user_preferences": {"prefer_free": False}}
    assert judged(prefer_paid).recommended_model == "openai:gpt-5-nano"
    prefer_free = {"task_description": "Say hello", "user_preferences": {"prefer_free": True}}
    assert judged(prefer_free, False).recommended_model == "local"
    models = {"task_description": "Say hello", "user_preferences": {"models": {"openai:gpt-5"}}}
    assert judged(models).models == ("openai:gpt-5",)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "describes no task"),
        (" \n", "describes no task"),
        (None, "a NoneType describes no task"),
        (7, "a int describes no task"),
        ([{"role": "user", "content": "Say hello"}], "a list describes no task"),
        ({}, "task_description='' describes no task"),
        ({"task_description": None}, "describes no task"),
        ({"task": "x"}, "'task' is no field"),
        ({"task_descripton": "x"}, "did you mean 'task_description'"),
        ({"task_description": "x", "usage": {}, "models": []}, "is no field"),
        ({"task_description": "x", "user_preferences": None}, "no preference can be looked up"),
        ({"task_description": "x", "user_preferences": {"prefer_fre": 1}}, "mean 'prefer_free'"),
        ({"task_description": "x", "user_preferences": {"prefer_free": 1}}, "neither yes nor no"),
        ({"task_description": "x", "user_preferences": {"prefer_free": "no"}}, "True or False"),
        ({"task_description": "x", "user_preferences": {"models": "local"}}, "list of names"),
        ({"task_description": "x", "user_preferences": {"models": []}}, "names no models"),
        ({"task_description": "x", "user_preferences": {"models": [1]}}, "names no models"),
        ({"task_description": "x", "user_preferences": {"models": ["locl"]}}, "mean 'local'"),
        ({"task_description": "x", "input_tokens": -1}, "input_tokens=-1"),
        ({"task_description": "x", "output_tokens": 1.5}, "output_tokens=1.5"),
    ],
)
def test_what_describes_no_task_is_refused_and_says_why(given, message):
    with pytest.raises(WorkflowError, match=message):
        judged(given)


def test_a_wrong_mapping_says_which_step_it_was_given_to():
    with pytest.raises(ArgumentError) as caught:
        TaskClassifierPrimitive(name="judge").run_sync({"task": "x"})
    assert caught.value.__notes__ == ["It was made of the input of 'judge': {'task': 'x'}."]


@pytest.mark.parametrize(
    "arguments",
    [
        {"prefer_free": None},
        {"prefer_free": STANDARD_MODELS},
        {"models": ["local"]},
        {"classifier": object()},
        {"prices": {"a": 1}},
    ],
)
def test_arguments_that_mean_nothing_are_refused(arguments):
    with pytest.raises(ConfigurationError, match="TaskClassifierPrimitive"):
        TaskClassifierPrimitive(**arguments)


def test_the_trace_says_what_was_found():
    with capture() as spans:
        judged("Say hello")
    note = spans[0].notes[0]
    assert (note.name, note.data) == ("classified", {"complexity": "simple", "model": "local"})


def test_a_hundred_callers_get_what_one_gets():
    step = TaskClassifierPrimitive(prices=PRICES)
    tasks = ["Say hello", "Write a python script", "Why does this function fail?"]

    async def main():
        return await asyncio.gather(*(step(tasks[number % 3]) for number in range(100)))

    found = asyncio.run(main())
    assert all(isinstance(each, TaskClassification) for each in found)
    assert found == [judged(tasks[number % 3]) for number in range(100)]
