"""The order in which models are recommended: total, and cheapest among the good enough."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import (
    ArgumentError,
    ConfigurationError,
    ModelProfile,
    ModelTable,
    Price,
    PriceBook,
    TaskKind,
)
from tta_notebook.orchestration.models import COMPLEXITIES, STANDARD_MODELS
from tta_notebook.orchestration.ranking import Size, ranked

NAMES = ["m0", "m1", "m2", "m3", "m4"]
prices = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 3), max_size=5)
profiles = st.builds(
    ModelProfile,
    name=st.sampled_from(NAMES),
    suits=st.sampled_from(COMPLEXITIES),
    strengths=st.frozensets(st.sampled_from(["code", "math"])),
    context_tokens=st.sampled_from([100, 1_000, 10_000]),
    is_free=st.booleans(),
)
tables = st.lists(profiles, min_size=1, max_size=5, unique_by=lambda model: model.name)
kinds = st.builds(TaskKind, st.sampled_from(COMPLEXITIES), st.just(("code",)))
sizes = st.builds(Size, st.integers(0, 12_000), st.integers(0, 500))


def book(costs):
    overrides = {
        name: Price(input_per_1m=0, output_per_1m=0, per_request=cost)
        for name, cost in costs.items()
    }
    return PriceBook(overrides=overrides, bundled=False)


def fits(model, size):
    return size.input_tokens + size.output_tokens <= model.context_tokens


def is_strong(model, kind):
    return model.rank >= COMPLEXITIES.index(kind.complexity)


@given(tables, kinds, sizes, prices, st.booleans())
def test_the_best_model_is_the_cheapest_that_fits_and_is_good_enough(
    models, kind, size, costs, prefer_free
):
    best, *_ = ranked(ModelTable(models), kind, size, book(costs), prefer_free=prefer_free)
    fitting = [model for model in models if fits(model, size)]
    if fitting:
        assert best.model in fitting
    good = [model for model in fitting if is_strong(model, kind)]
    if not good:
        return
    assert best.model in good
    cost = {model: 0 if model.is_free else costs.get(model.name) for model in good}
    known = [each for each in cost.values() if each is not None]
    free = [each for each in known if each == 0]
    paid = [each for each in known if each > 0]
    first = (free or paid) if prefer_free else (paid or free)
    assert cost[best.model] == (min(first) if first else None)


@given(tables, kinds, sizes, prices, st.booleans())
def test_the_order_is_total_and_deterministic(models, kind, size, costs, prefer_free):
    table = ModelTable(models)
    found = ranked(table, kind, size, book(costs), prefer_free=prefer_free)
    assert found == ranked(table, kind, size, book(costs), prefer_free=prefer_free)
    assert sorted(each.model.name for each in found) == sorted(table.names)
    orders = [each.order(prefer_free=prefer_free) for each in found]
    assert all(one < other for one, other in itertools.pairwise(orders))


@given(tables, kinds, sizes, prices, st.booleans(), st.randoms())
def test_the_order_of_the_table_decides_among_equals_alone(
    models, kind, size, costs, prefer_free, chance
):
    shuffled = list(models)
    chance.shuffle(shuffled)
    one = ranked(ModelTable(models), kind, size, book(costs), prefer_free=prefer_free)
    other = ranked(ModelTable(shuffled), kind, size, book(costs), prefer_free=prefer_free)
    without_place = [each.order(prefer_free=prefer_free)[:-1] for each in one]
    assert without_place == [each.order(prefer_free=prefer_free)[:-1] for each in other]


@given(tables, kinds, sizes, prices, st.booleans())
def test_a_fallback_is_the_best_of_what_is_left(models, kind, size, costs, prefer_free):
    first, *others = ranked(ModelTable(models), kind, size, book(costs), prefer_free=prefer_free)
    if others:
        rest = ModelTable(model for model in models if model != first.model)
        again = ranked(rest, kind, size, book(costs), prefer_free=prefer_free)
        assert [each.model for each in again] == [each.model for each in others]


def test_of_models_that_are_all_too_weak_it_is_the_strongest():
    table = ModelTable([ModelProfile("m0", "simple"), ModelProfile("m1", "moderate")])
    best, _ = ranked(
        table, TaskKind("complex"), Size(1, 1), book({"m0": 0, "m1": 3}), prefer_free=True
    )
    assert best.model.name == "m1"


def test_of_contexts_that_are_all_too_small_it_is_the_largest():
    small = ModelProfile("m0", "complex", context_tokens=10)
    larger = ModelProfile("m1", "simple", context_tokens=20)
    best, _ = ranked(
        ModelTable([small, larger]), TaskKind("complex"), Size(99, 1), book({}), prefer_free=True
    )
    assert best.model.name == "m1"


def test_a_strength_decides_among_equals():
    table = ModelTable([ModelProfile("m0", "simple"), ModelProfile("m1", "simple", {"code"})])
    best, _ = ranked(
        table, TaskKind("simple", ("code",)), Size(1, 1), book({"m0": 1, "m1": 1}), prefer_free=True
    )
    assert best.model.name == "m1"
    assert best.matches == 1


# Tables


def test_a_table_of_some_models_keeps_their_order_and_knows_them_all():
    assert STANDARD_MODELS.only(["openai:gpt-5", "local", "local"]).names == (
        "openai:gpt-5",
        "local",
    )
    with pytest.raises(ArgumentError, match="did you mean 'openai:gpt-5'"):
        STANDARD_MODELS.only(["openai:gpt5"])


def test_a_table_that_covers_models_takes_unknown_ones_for_fit():
    table = STANDARD_MODELS.covering(["mine", "local"])
    assert table["mine"] == ModelProfile("mine", "complex")
    assert table["local"] is STANDARD_MODELS["local"]
    assert "mine" not in STANDARD_MODELS
    assert "mine" in table


@pytest.mark.parametrize("models", [[], ["local"], [ModelProfile("m", "simple")] * 2])
def test_a_table_of_nothing_or_twice_the_same_is_refused(models):
    with pytest.raises(ConfigurationError, match="ModelTable"):
        ModelTable(models)


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": ""},
        {"suits": "hard"},
        {"context_tokens": 0},
        {"strengths": "code"},
    ],
)
def test_a_profile_that_cannot_be_is_refused(arguments):
    with pytest.raises(ConfigurationError, match="ModelProfile"):
        ModelProfile(**{"name": "m", "suits": "simple", **arguments})
