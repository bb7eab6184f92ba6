"""Classifiers that ask: the nearest example, and a model."""

import asyncio

import pytest

from tta_notebook import (
    Classifier,
    ConfigurationError,
    EmbeddingPrimitive,
    LLMPrimitive,
    ModelClassifier,
    ModelOutputError,
    NearestClassifier,
    RuleClassifier,
    ScriptedModel,
    TaskClassifierPrimitive,
    TaskKind,
    WorkflowContext,
)
from tta_notebook.orchestration.models import COMPLEXITIES
from tta_notebook.testing import cancel_everywhere, run_virtual

CODE = TaskKind("moderate", ("code",))
SUMMARY = TaskKind("simple", ("summary",))
TRANSLATION = TaskKind("simple", ("translation",))
MATH = TaskKind("complex", ("math",))

EXAMPLES = {
    "Write a Python function that sorts a list": CODE,
    "Fix the bug in this program": CODE,
    "Add unit tests for this class": CODE,
    "Summarize this article in two sentences": SUMMARY,
    "Give me the main points of the report": SUMMARY,
    "Shorten this text": SUMMARY,
    "Translate this sentence into French": TRANSLATION,
    "How do you say good morning in Spanish?": TRANSLATION,
    "What is this in German?": TRANSLATION,
    "Prove that the square root of two is irrational": MATH,
    "Solve this equation for x": MATH,
    "Compute the integral of this function": MATH,
}

# None of these stands in the examples, nor shares its sentence with one.
HELD_OUT = {
    "Implement a binary search in Java": CODE,
    "My script crashes with a null pointer, please repair it": CODE,
    "Refactor this method so that it is easier to test": CODE,
    "Write a SQL query that joins two tables": CODE,
    "Condense the meeting notes to three bullet points": SUMMARY,
    "What are the key takeaways of this paper?": SUMMARY,
    "Give a brief overview of this chapter": SUMMARY,
    "Put this paragraph into Italian": TRANSLATION,
    "How would a Japanese speaker say thank you?": TRANSLATION,
    "Render the following letter in English": TRANSLATION,
    "Show that there are infinitely many primes": MATH,
    "Find the derivative of sine": MATH,
    "What are the roots of x squared minus four?": MATH,
    "Calculate the probability of two heads in a row": MATH,
}


class Counting:
    """Embeds texts by their lengths, slowly, and counts how often it is asked."""

    def __init__(self):
        self.batches = []

    async def embed(self, texts):
        self.batches.append(len(texts))
        await asyncio.sleep(1)
        return [[float(len(text)), 1.0] for text in texts]


def kind_of(classifier, text):
    return asyncio.run(classifier.classify(text, WorkflowContext()))


# Examples


def test_the_nearest_example_is_right_for_most_phrases_it_has_not_seen():
    nearest = NearestClassifier(EmbeddingPrimitive("local"), EXAMPLES)

    async def main():
        return [await nearest.classify(text, WorkflowContext()) for text in HELD_OUT]

    found = asyncio.run(main())
    right = sum(
        (one.complexity, one.characteristics) == (other.complexity, other.characteristics)
        for one, other in zip(found, HELD_OUT.values(), strict=True)
    )
    assert len(HELD_OUT) == 14
    assert right / len(HELD_OUT) >= 0.75  # 13 of 14 with the encoder of 2026


def test_an_example_itself_is_its_own_nearest():
    nearest = NearestClassifier(Counting(), {"a": CODE, "bbbb": SUMMARY})
    kind = run_virtual(lambda: nearest.classify("cccc", WorkflowContext()))
    assert kind == TaskKind("simple", ("summary",), "simple: most like 'bbbb' (1.00 of 1)")


def test_of_two_examples_as_near_it_is_the_first():
    nearest = NearestClassifier(Counting(), {"zz": CODE, "aa": SUMMARY})
    assert run_virtual(lambda: nearest.classify("??", WorkflowContext())).complexity == "moderate"


def test_a_vector_of_nothing_is_like_nothing():
    nearest = NearestClassifier(EmbeddingPrimitive(lambda texts: [[0.0]] * len(texts)), {"a": CODE})
    assert kind_of(nearest, "b").reasoning.endswith("(0.00 of 1)")


def test_a_hundred_callers_embed_the_examples_once():
    counting = Counting()
    nearest = NearestClassifier(counting, {"a": CODE, "bbbb": SUMMARY})

    async def main():
        calls = (nearest.classify("x", WorkflowContext()) for _ in range(100))
        return await asyncio.gather(*calls)

    assert len(set(run_virtual(main))) == 1
    assert counting.batches == [2] + [1] * 100
    run_virtual(lambda: nearest.classify("y", WorkflowContext()))  # in another loop
    assert counting.batches.count(2) == 1


def test_a_caller_that_is_cancelled_while_examples_are_embedded_leaves_them_to_the_next():
    async def main():
        nearest = NearestClassifier(Counting(), {"a": CODE})
        first = asyncio.create_task(nearest.classify("x", WorkflowContext()))
        second = asyncio.create_task(nearest.classify("y", WorkflowContext()))
        await asyncio.sleep(0.5)
        first.cancel()
        return (await second).complexity

    assert run_virtual(main) == "moderate"


@pytest.mark.parametrize(
    ("embedder", "examples"),
    [
        (None, {"a": CODE}),
        (Counting(), {}),
        (Counting(), {"a": "simple"}),
        (Counting(), ["a"]),
        (Counting(), None),
    ],
)
def test_what_cannot_embed_and_what_is_no_example_is_refused(embedder, examples):
    with pytest.raises(ConfigurationError, match="NearestClassifier"):
        NearestClassifier(embedder, examples)


# A model


REPLY = '{"complexity": "complex", "characteristics": ["math", "code"], "reasoning": "r"}'


def asking(reply, **options):
    return ModelClassifier(LLMPrimitive(ScriptedModel(reply, name="judge"), **options))


@pytest.mark.parametrize(
    "reply",
    [
        REPLY,
        f"```json\n{REPLY}\n```",
        f"Sure:\n```\n{REPLY}\n```\nDone.",
    ],
)
def test_a_model_says_the_kind(reply):
    assert kind_of(asking(reply), "x") == TaskKind("complex", ("code", "math"), "r")


def test_a_model_is_held_to_the_shape_of_a_kind():
    reply = '{"complexity": "simple", "characteristics": ["code"], "reasoning": "r"}'
    assert kind_of(asking(reply, output=TaskKind), "x") == TaskKind("simple", ("code",), "r")
    assert kind_of(asking(reply, output=dict), "x") == TaskKind("simple", ("code",), "r")


def test_a_model_may_say_nothing_but_the_complexity():
    reply = '{"complexity": "simple", "characteristics": null}'
    assert kind_of(asking(reply), "x") == TaskKind("simple")


def test_a_model_is_given_the_task_and_the_choice():
    model = ScriptedModel('{"complexity": "simple"}')
    judge = ModelClassifier(LLMPrimitive(model), characteristics=["legal"])
    kind_of(judge, "Read the contract")
    question = model.requests[0].messages[-1].content
    assert question.endswith("Task:\nRead the contract")
    assert '["legal"]' in question


@pytest.mark.parametrize(
    "reply",
    [
        "It is simple.",
        '{"complexity": "easy"}',
        '{"characteristics": []}',
        '{"complexity": "simple", "characteristics": "code"}',
        '{"complexity": "simple", "characteristics": [1]}',
        '{"complexity": "simple", "characteristics": 7}',
        '["simple"]',
        "null",
        '{"complexity": ["simple"]}',
        '{"complexity": "simple"',
    ],
)
def test_an_answer_that_says_no_kind_is_an_error_that_has_it(reply):
    with pytest.raises(ModelOutputError, match="which does not say it") as caught:
        kind_of(asking(reply), "x")
    assert caught.value.text == reply
    assert caught.value.model == "judge"


@pytest.mark.local_model
def test_the_embedded_model_says_some_kind(weights):
    judge = ModelClassifier(
        LLMPrimitive("local", output=TaskKind, temperature=0, max_output_tokens=200)
    )
    kind = kind_of(judge, "Summarize this text in one sentence: the cat sat on the mat.")
    assert kind.complexity in COMPLEXITIES
    assert all(isinstance(each, str) for each in kind.characteristics)


# Both


def test_all_are_classifiers_and_a_class_is_none():
    judge = asking("x")
    assert isinstance(judge, Classifier)
    assert isinstance(RuleClassifier(), Classifier)
    for wrong in (RuleClassifier, "rules", len):
        with pytest.raises(ConfigurationError, match="cannot classify"):
            TaskClassifierPrimitive(classifier=wrong)


def test_the_picture_shows_whom_a_classifier_asks():
    judge = TaskClassifierPrimitive(classifier=asking("x"))
    assert judge.graph().to_text().splitlines() == [
        "classify task  [classifier]",
        "└─ ask: judge  [llm]",
    ]
    nearest = NearestClassifier(EmbeddingPrimitive("local"), {"a": CODE})
    text = TaskClassifierPrimitive(classifier=nearest).graph().to_text()
    assert "embed: embed local" in text
    other = NearestClassifier(Counting(), {"a": CODE})
    assert TaskClassifierPrimitive(classifier=other).graph().to_text().count("\n") == 0


def test_wherever_a_classification_is_cancelled_nothing_is_left():
    async def main():
        nearest = NearestClassifier(Counting(), {"a": CODE})
        judge = TaskClassifierPrimitive(classifier=nearest)
        return (await judge("x")).complexity

    report = cancel_everywhere(main)
    assert report.suspensions == 2
    assert set(report.outcomes) <= {"cancelled", "result"}
