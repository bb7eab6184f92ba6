"""The semantic cache: what counts as the same question, and what never does."""

import asyncio
import math

import pytest

from tta_notebook import (
    ArgumentError,
    CachePrimitive,
    CompositionError,
    ConfigurationError,
    EmbeddingPrimitive,
    LambdaPrimitive,
    LLMPrimitive,
    MockPrimitive,
    Reply,
    ScriptedModel,
    Usage,
    WorkflowContext,
    capture,
)
from tta_notebook.performance.neighbours import Neighbours
from tta_notebook.performance.semantic import SemanticCachePrimitive
from tta_notebook.testing import cancel_everywhere, run_virtual

DESCALE = "How often should I descale the machine?"
SAME = "How frequently should I descale the machine?"


class Letters:
    """Embeds a text by its letters: an anagram means the same."""

    def __init__(self, error=None):
        self.asked, self.error = [], error

    async def embed(self, texts):
        self.asked += texts
        await asyncio.sleep(0.001)
        if self.error is not None:
            raise self.error
        return [[text.lower().count(chr(97 + n)) for n in range(26)] for text in texts]


def counted(answer=lambda told: f"answer to {told}"):
    calls = []

    async def ask(told):
        calls.append(told)
        await asyncio.sleep(1)
        return answer(told)

    return ask, calls


def asking(step, *inputs, context=None):
    async def main():
        return [await step(told, context) for told in inputs]

    return run_virtual(main)


# With real sentences


@pytest.fixture(scope="module")
def embedder():
    return EmbeddingPrimitive()


@pytest.mark.parametrize(
    ("other", "is_hit"),
    [
        (SAME, True),
        ("how often should i descale the machine", True),
        ("How often should I not descale the machine?", False),
        ("How often should I descale the machine in 2 years?", False),
        ("How often should I clean the mill?", False),
        ("What is the weather?", False),
    ],
)
def test_real_sentences_share_an_answer_only_if_they_mean_the_same(embedder, other, is_hit):
    ask, calls = counted()
    step = SemanticCachePrimitive(ask, embedder, threshold=0.9)

    first, second = asking(step, DESCALE, other)
    assert (second == first) == is_hit
    assert len(calls) == (1 if is_hit else 2)


def test_what_only_a_veto_sees_would_be_a_hit_without_it(embedder):
    negated = "How often should I not descale the machine?"
    ask, calls = counted()
    step = SemanticCachePrimitive(ask, embedder, threshold=0.9, veto=None)

    asking(step, DESCALE, negated)
    assert calls == [DESCALE]


# What is the same, and what never is


def test_a_hit_is_shown_as_what_it_is():
    ask, _ = counted()
    step = SemanticCachePrimitive(ask, Letters(), threshold=0.99)
    with capture() as spans:
        assert asking(step, "stale", "least") == ["answer to stale"] * 2
    notes = [dict(note.data) for span in spans for note in span.noted("cache")]
    assert notes[0] == {"hit": False, "semantic": True}
    assert notes[1] == {
        "hit": True,
        "semantic": True,
        "similarity": pytest.approx(1),
        "age_s": pytest.approx(0.001),
        "saved": 0,
    }


def test_a_veto_is_in_the_trace_and_the_next_candidate_is_looked_at():
    ask, calls = counted()
    step = SemanticCachePrimitive(ask, Letters(), threshold=0.9)
    with capture() as spans:
        results = asking(step, "no", "on", "on n")
    # "no" and "on" have the same letters and not the same meaning; "on n" may be answered as "on".
    assert results == ["answer to no", "answer to on", "answer to on"]
    assert calls == ["no", "on"]
    vetoes = [note.data["because"] for span in spans for note in span.noted("veto")]
    assert vetoes[0] == "negations differ: no / -" or vetoes[0] == "negations differ: - / no"
    assert step.get_stats()["vetoes"] == len(vetoes)


def test_a_veto_of_ones_own_is_asked():
    ask, calls = counted()
    step = SemanticCachePrimitive(ask, Letters(), veto=lambda one, other: "never")
    asking(step, "stale", "stale")
    assert len(calls) == 2


def test_the_nearest_is_taken():
    ask, _ = counted()
    step = SemanticCachePrimitive(ask, Letters(), threshold=0.5)
    assert asking(step, "aab", "bccc", "bcc")[2] == "answer to bccc"


def test_the_threshold_is_kept():
    ask, calls = counted()
    step = SemanticCachePrimitive(ask, Letters(), threshold=0.8)
    asking(step, "ab", "ac", "abbb")  # cosines to "ab": 0.5 and 0.894
    assert calls == ["ab", "ac"]


def test_models_and_versions_do_not_share_answers():
    letters = Letters()

    def shout(text):
        return text.upper()

    def whisper(text):
        return text.lower()

    for change in (shout, whisper):
        step = SemanticCachePrimitive(change, letters)
        asking(step, "Stale")
    one = SemanticCachePrimitive(LLMPrimitive(lambda _: "one", name="m"), letters)
    assert (
        one._version() != SemanticCachePrimitive(LLMPrimitive(lambda _: "two"), letters)._version()
    )


def test_a_step_whose_global_changes_is_asked_anew():
    global suffix  # noqa: PLW0603 - a cell's variable
    suffix = "!"
    step = SemanticCachePrimitive(lambda text: text + suffix, Letters())
    assert asking(step, "stale") == ["stale!"]
    suffix = "?"
    assert asking(step, "least") == ["least?"]


def test_users_do_not_share_answers():
    ask, calls = counted()
    step = SemanticCachePrimitive(ask, Letters())
    for user in ("u-1", "u-2", "u-1"):
        asking(step, "stale", context=WorkflowContext(user_id=user))
    assert len(calls) == 2


def test_everything_besides_the_text_has_to_be_equal():
    ask, calls = counted()
    step = SemanticCachePrimitive(ask, Letters())
    asking(
        step,
        {"prompt": "stale", "top_p": 1},
        {"prompt": "least", "top_p": 1},
        {"prompt": "least", "top_p": 1.0},
    )
    assert len(calls) == 2


def test_a_function_can_say_what_the_text_is_and_what_has_to_be_equal():
    ask, calls = counted()
    step = SemanticCachePrimitive(ask, Letters(), text_fn=lambda told: (told[0], told[1:]))
    asking(step, ["stale", 1], ["least", 1], ["least", 2])
    assert len(calls) == 2


def test_a_function_can_give_the_text_alone():
    ask, calls = counted()
    step = SemanticCachePrimitive(ask, Letters(), text_fn=lambda told: told[0])
    asking(step, ["stale", 1], ["least", 2])
    assert len(calls) == 1


@pytest.mark.parametrize("odd", [3, None, ["text"], {"question": "text"}], ids=repr)
def test_an_input_without_a_text_is_refused(odd):
    step = SemanticCachePrimitive(MockPrimitive("m", return_value=1), Letters())
    with pytest.raises(ArgumentError, match="only texts have a meaning"):
        asking(step, odd)


# How long, how many


def test_answers_expire():
    ask, calls = counted()
    step = SemanticCachePrimitive(ask, Letters(), ttl_seconds=10)

    async def main():
        await step("stale")
        await asyncio.sleep(9.9)
        await step("least")
        assert len(calls) == 1
        await asyncio.sleep(0.2)
        return await step("steal")

    assert run_virtual(main) == "answer to steal"
    assert step.get_stats()["size"] == 1


def test_the_least_recently_used_makes_room():
    ask, calls = counted()
    step = SemanticCachePrimitive(ask, Letters(), max_size=2, threshold=0.99, ttl_seconds=None)
    asking(step, "aa", "bb", "aa", "cc", "aa", "bb")
    assert calls == ["aa", "bb", "cc", "bb"]
    assert step.get_stats()["size"] == 2


def test_clearing_forgets():
    ask, calls = counted()
    step = SemanticCachePrimitive(ask, Letters())
    asking(step, "aa")
    step.clear()
    asking(step, "aa")
    assert len(calls) == 2


def test_statistics_tell_of_tokens_saved():
    usage = Usage(input_tokens=10, output_tokens=20)
    model = ScriptedModel([Reply("answer", usage=usage)])
    step = SemanticCachePrimitive(LLMPrimitive(model), Letters())

    async def main():
        await step("stale")
        run = await step.run("least")
        assert run.usage is None  # nothing was used by this one
        return step.get_stats()

    assert run_virtual(main) == {
        "size": 1,
        "hits": 1,
        "misses": 1,
        "vetoes": 0,
        "errors": 0,
        "tokens_saved": 30,
        "hit_rate": 50.0,
    }


# Safe


def test_an_answer_is_a_copy():
    ask, _ = counted(lambda told: {"tags": []})
    step = SemanticCachePrimitive(ask, Letters())

    async def main():
        (await step("stale"))["tags"].append("mine")
        (await step("least"))["tags"].append("mine")
        return await step("steal")

    assert run_virtual(main) == {"tags": []}


def test_an_answer_that_cannot_be_copied_is_given_and_not_kept():
    ask, calls = counted(lambda told: (n for n in (1, 2)))
    step = SemanticCachePrimitive(ask, Letters())
    assert [list(answer) for answer in asking(step, "stale", "least")] == [[1, 2], [1, 2]]
    assert len(calls) == 2


def test_an_embedder_that_fails_costs_a_miss():
    ask, calls = counted()
    step = SemanticCachePrimitive(ask, Letters(error=OSError("no model")))
    with capture() as spans:
        assert asking(step, "stale", "stale") == ["answer to stale"] * 2
    assert len(calls) == 2
    assert step.get_stats()["errors"] == 2
    (note, _) = (note for span in spans for note in span.noted("cache_error"))
    assert note.data == {"operation": "embed", "error": "OSError: no model"}


def test_an_embedder_whose_vectors_change_their_length_costs_a_miss():
    lengths = iter([2, 3, 3])

    class Changing:
        async def embed(self, texts):
            return [[1.0] * next(lengths) for _ in texts]

    ask, calls = counted()
    step = SemanticCachePrimitive(ask, Changing())
    assert asking(step, "stale", "least") == ["answer to stale", "answer to least"]
    assert len(calls) == 2


@pytest.mark.parametrize("vector", [[math.nan, 1.0], [0.0, 0.0]])
def test_a_vector_without_a_direction_is_near_nothing(vector):
    class Odd:
        async def embed(self, texts):
            return [vector for _ in texts]

    ask, calls = counted()
    asking(SemanticCachePrimitive(ask, Odd()), "stale", "least")
    assert len(calls) == 2


def test_an_error_is_not_kept():
    mock = MockPrimitive("m", side_effect=[OSError("once"), "answer"])
    step = SemanticCachePrimitive(mock, Letters())

    async def main():
        with pytest.raises(OSError, match="once"):
            await step("stale")
        return await step("stale")

    assert run_virtual(main) == "answer"


def test_an_exact_cache_around_it_makes_one_call_of_many():
    ask, calls = counted()
    letters = Letters()
    step = CachePrimitive(SemanticCachePrimitive(ask, letters))

    async def main():
        await asyncio.gather(*(step("stale") for _ in range(1000)))
        await asyncio.gather(*(step("least") for _ in range(1000)))

    run_virtual(main)
    assert calls == ["stale"]
    assert letters.asked == ["stale", "least"]


def test_a_stream_is_kept_when_it_is_complete():
    model = ScriptedModel([Reply(["an", "swer"]), Reply(["other"])])
    step = SemanticCachePrimitive(LLMPrimitive(model), Letters())

    async def main():
        begun = step.stream("stale")
        await anext(begun)
        await begun.aclose()
        whole = [chunk.content async for chunk in step.stream("stale")]
        again = [chunk.content async for chunk in step.stream("least")]
        return whole, again

    assert run_virtual(main) == (["other", ""], ["other"])


def test_a_cancellation_is_one_at_every_point():
    async def main():
        ask, _ = counted()
        step = SemanticCachePrimitive(ask, Letters())
        return [await step("stale"), await step("least")]

    assert cancel_everywhere(main).suspensions > 0


def test_it_composes_and_shows_what_it_wraps():
    inner = LambdaPrimitive(str.upper, name="shout")
    step = SemanticCachePrimitive(inner, Letters())
    assert step.name == "semantic cache shout"
    assert step.parts() == [("", inner)]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *[("threshold", wrong) for wrong in (0, -1, 1.1, math.nan, True, "0.9")],
        *[("ttl_seconds", wrong) for wrong in (0, -1, math.nan, math.inf, True, "3")],
        *[("max_size", wrong) for wrong in (0, -1, 1.5, True, "3", None)],
        *[("embedder", wrong) for wrong in (None, "local", Letters, len)],
        *[("scope", wrong) for wrong in ("users", None)],
        ("veto", "never"),
    ],
    ids=repr,
)
def test_bad_configuration_is_refused_and_named(field, wrong):
    options = {"embedder": Letters()} | {field: wrong}
    with pytest.raises(ConfigurationError, match=f"^SemanticCachePrimitive: {field}="):
        SemanticCachePrimitive(str.upper, **options)


# Word by word


def notes_of(spans, name):
    return [dict(note.data) for span in spans for note in span.noted(name)]


def test_what_goes_wrong_is_counted_and_noted_each_time():
    lengths = iter([2, 3, 3, 3])

    class Changing:
        async def embed(self, texts):
            return [[1.0] * next(lengths) for _ in texts]

    step = SemanticCachePrimitive(lambda told: (n for n in told), Changing(), version="1")
    with capture() as spans:
        asking(step, "stale", "least", "steal")
    assert (
        notes_of(spans, "cache_error")
        == [{"operation": "copy", "error": "TypeError: cannot pickle 'generator' object"}] * 3
    )
    assert step.get_stats() | {"size": 0} == {
        "size": 0,
        "hits": 0,
        "misses": 3,
        "vetoes": 0,
        "errors": 3,
        "tokens_saved": 0,
        "hit_rate": 0.0,
    }


def test_vectors_that_cannot_be_compared_are_told_of():
    lengths = iter([2, 3, 3])

    class Changing:
        async def embed(self, texts):
            return [[1.0] * next(lengths) for _ in texts]

    step = SemanticCachePrimitive(counted()[0], Changing())
    with capture() as spans:
        asking(step, "stale", "least", "steal")
    assert [note["operation"] for note in notes_of(spans, "cache_error")] == ["compare"] * 2
    assert step.get_stats()["errors"] == 2
    assert step.get_stats()["misses"] == 3


def test_hits_and_what_they_save_add_up():
    usage = Usage(input_tokens=10, output_tokens=20)
    model = ScriptedModel([Reply("answer", usage=usage)])
    step = SemanticCachePrimitive(LLMPrimitive(model), Letters())
    with capture() as spans:
        asking(step, "stale", "least", "steal", "tales")
    assert [note["saved"] for note in notes_of(spans, "cache") if note["hit"]] == [30] * 3
    stats = step.get_stats()
    assert (stats["hits"], stats["tokens_saved"], stats["hit_rate"]) == (3, 90, 75.0)


def test_a_veto_is_told_with_how_close_it_was():
    ask, _ = counted()
    step = SemanticCachePrimitive(ask, Letters())
    with capture() as spans:
        asking(step, "not a", "a ton")
    assert notes_of(spans, "veto") == [
        {"similarity": pytest.approx(1), "because": "negations differ: - / not"}
    ]


def test_mistakes_are_told_in_full():
    step = SemanticCachePrimitive(str.upper, Letters(), name="near")
    with pytest.raises(ArgumentError) as caught:
        asking(step, 3)
    assert str(caught.value) == (
        "SemanticCachePrimitive 'near': of an input of type int the text is 3, and only texts have "
        "a meaning to compare. Give a text, a mapping with a 'prompt', or text_fn=… which returns "
        "the text, or the text and the rest."
    )
    with pytest.raises(ConfigurationError) as caught:
        SemanticCachePrimitive(str.upper, len)
    assert str(caught.value).endswith(
        "cannot embed. Give EmbeddingPrimitive(), or another object with an embed(texts) method."
    )
    with pytest.raises(CompositionError, match=r"^SemanticCachePrimitive\(text_fn=…\)"):
        SemanticCachePrimitive(str.upper, Letters(), text_fn="text")


def test_a_stated_version_takes_the_place_of_the_code():
    kept = {"suffix": "!"}
    step = SemanticCachePrimitive(lambda text: text + kept["suffix"], Letters(), version=1)
    other = SemanticCachePrimitive(lambda text: text, Letters(), version="2")
    assert (step._version(), other._version()) == ("1", "2")
    assert asking(step, "stale") == ["stale!"]
    kept["suffix"] = "?"
    assert asking(step, "least") == ["stale!"]


def test_a_function_of_the_text_sees_the_context():
    ask, calls = counted()
    step = SemanticCachePrimitive(ask, Letters(), text_fn=lambda _, ctx: ctx.tags["topic"])
    for topic in ("stale", "least", "other"):
        asking(step, object(), context=WorkflowContext(tags={"topic": topic}))
    assert len(calls) == 2


def test_the_defaults_are_an_hour_and_a_thousand():
    step = SemanticCachePrimitive(str.upper, Letters())
    assert (step.ttl_seconds, step.max_size, step.threshold) == (3600.0, 1000, 0.9)


def test_exactly_the_threshold_is_enough_and_order_decides_between_equals():
    near = Neighbours()
    near.put(1, [1.0, 0.0], "first")
    near.put(2, [2.0, 0.0], "second")
    near.put(3, [0.0, 1.0], "across")
    assert [found.item for found in near.to([5.0, 0.0], at_least=1.0)] == ["first", "second"]
    near.drop(1)
    assert [found.key for found in near.to([5.0, 0.0], at_least=1.0)] == [2]
    assert len(near) == 2
