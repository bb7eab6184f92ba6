import datetime as dt
import pickle
import sys
import threading
from decimal import Decimal
from fractions import Fraction
from unittest import mock

import genai_prices
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.money import PICO, to_pico
from tta_notebook.core.usage import Usage
from tta_notebook.llm import genai_price_source
from tta_notebook.llm.price import Price
from tta_notebook.llm.prices import SEED_PRICES, PriceBook
from tta_notebook.llm.quote import Quote

DAY = dt.date(2026, 11, 25)
BOOK = PriceBook(at=DAY)
OWN = Price(input_per_1m=1, output_per_1m=2)

counts = st.integers(0, 3_000_000)
dollars = st.decimals(0, 200, places=4)


@st.composite
def usages(draw, most=3_000_000):
    input_tokens = draw(st.integers(0, most))
    cached = draw(st.integers(0, input_tokens))
    written = draw(st.integers(0, input_tokens - cached))
    output = draw(st.integers(0, most))
    return Usage(input_tokens, output, cached, written, draw(st.integers(0, output)))


@st.composite
def token_prices(draw):
    optional = st.none() | dollars
    kinds = ("cached_input_per_1m", "cache_write_per_1m", "reasoning_per_1m")
    return Price(draw(dollars), draw(dollars), **{kind: draw(optional) for kind in kinds})


@st.composite
def prices(draw):
    return Price(
        **{
            name: getattr(plain, name)
            for plain in [draw(token_prices())]
            for name in (
                "input_per_1m",
                "output_per_1m",
                "cached_input_per_1m",
                "cache_write_per_1m",
                "reasoning_per_1m",
            )
        },
        batch_factor=draw(st.decimals("0.01", 1, places=2)),
        per_request=draw(st.decimals(0, "0.05", places=3)),
        tiers=draw(st.dictionaries(counts, token_prices(), max_size=3)),
    )


quotes = st.builds(Quote, st.just("m"), prices(), st.just(DAY), st.just("user"), st.booleans())


def priced(price, *, batch=False):
    return Quote("m", price, DAY, "user", batch)


# Invoices by hand: the provider's price per million tokens, as the bundled table has it for 25
# November 2026 (genai-prices 0.2.3, whose newest entries were read in October 2026), times tokens.


@pytest.mark.parametrize(
    ("model", "usage", "batch", "invoice"),
    [
        # $2.50 in, $1.25 cached, $10 out: 600 * 2.5 + 400 * 1.25 + 500 * 10 = 7,000 millionths
        ("openai:gpt-4o", Usage(1000, 500, 400), False, "0.007"),
        # $0.15 in, $0.60 out: 1000 * 0.15 + 500 * 0.6 = 450
        ("openai:gpt-4o-mini", Usage(1000, 500), False, "0.00045"),
        # $1.25 in, $0.125 cached, $10 out, reasoning as output: 2000 * 1.25 + 8000 * 0.125 + 3000
        # * 10 = 33,500
        ("openai-responses:gpt-5", Usage(10_000, 3000, 8000, 0, 2500), False, "0.0335"),
        # in a batch $0.625 in, $0.0625 cached, $5 out: half of it
        ("openai:gpt-5", Usage(10_000, 3000, 8000, 0, 2500), True, "0.01675"),
        # in a batch $1.25 in and $5 out, but cached input stays at $1.25: 1000 * 1.25 + 500 * 5
        ("openai:gpt-4o", Usage(1000, 500, 400), True, "0.00375"),
        # $1 in, $0.10 read, $1.25 written, $5 out: 500 * 1 + 9000 * 0.1 + 500 * 1.25 + 200 * 5
        ("anthropic:claude-haiku-4-5", Usage(10_000, 200, 9000, 500), False, "0.003025"),
        # $5 in, $6.25 written, $25 out: 1000 * 5 + 4000 * 6.25 + 100 * 25 = 32,500
        ("anthropic:claude-opus-4-5", Usage(5000, 100, 0, 4000), False, "0.0325"),
        # up to 200,000: $1.25 in, $10 out: 250,000 + 10,000
        ("google:gemini-2.5-pro", Usage(200_000, 1000), False, "0.26"),
        # above 200,000 all of it: $2.50 in, $0.25 cached, $15 out: 150,001 * 2.5 + 50,000 * 0.25 +
        # 1000 * 15 = 402,502.5
        ("google:gemini-2.5-pro", Usage(200_001, 1000, 50_000), False, "0.4025025"),
        # $0.30 in, $2.50 out: 1000 * 0.3 + 100 * 2.5 = 550
        ("google:gemini-2.5-flash", Usage(1000, 100), False, "0.00055"),
        # $2 in, $8 out: 1234 * 2 + 567 * 8 = 7,004
        ("openai:gpt-4.1", Usage(1234, 567), False, "0.007004"),
        # above 272,000: $5 in, $22.50 out: 300,000 * 5 + 100 * 22.5 = 1,502,250
        ("openai:gpt-5.4", Usage(300_000, 100), False, "1.50225"),
        # $3 in, $15 out, $14 per 1,000 requests: 3,000 + 1,500 + 14,000
        ("perplexity:sonar-pro", Usage(1000, 100), False, "0.0185"),
        # $2 in, $8 out, $3 for reasoning: 2,000 + 100 * 8 + 900 * 3 = 5,500
        ("perplexity:sonar-deep-research", Usage(1000, 1000, 0, 0, 900), False, "0.0055"),
    ],
    ids=str,
)
def test_an_invoice_is_what_the_published_prices_make_it(model, usage, batch, invoice):
    assert BOOK.cost(model, usage, batch=batch) == Decimal(invoice)


@pytest.mark.parametrize(
    ("model", "day", "invoice"),
    [
        # o3 went from $10 and $40 to $2 and $8 on 10 June 2025
        ("openai:o3", dt.date(2025, 6, 9), "50"),
        ("openai:o3", dt.date(2025, 6, 10), "10"),
        # gpt-5.6-luna, in calls above 272,000 tokens, from $2 and $9 to $0.40 and $1.80 on 30 July
        ("openai:gpt-5.6-luna", dt.date(2026, 7, 29), "11"),
        ("openai:gpt-5.6-luna", dt.date(2026, 7, 30), "2.2"),
        # deepseek-chat is half price from 16:30 to 0:30; who knows the day alone pays the peak
        ("deepseek:deepseek-chat", DAY, "1.37"),
    ],
)
def test_the_price_of_the_day_counts(model, day, invoice):
    million = Usage(1_000_000, 1_000_000)
    assert PriceBook().cost(model, million, at=day) == Decimal(invoice)
    assert PriceBook(at=day).cost(model, million) == Decimal(invoice)


def test_a_moment_counts_by_its_day_in_utc():
    west = dt.timezone(dt.timedelta(hours=-8))
    late = dt.datetime(2025, 6, 9, 23, tzinfo=west)
    assert BOOK.quote("openai:o3", at=late).date == dt.date(2025, 6, 10)


def test_today_counts_where_no_day_is_given():
    before = dt.datetime.now(dt.UTC).date()
    quote = PriceBook().quote("openai:gpt-4o")
    assert before <= quote.date <= dt.datetime.now(dt.UTC).date()


# Names


def test_mini_is_another_model():
    mini, full = BOOK.quote("openai:gpt-4o-mini"), BOOK.quote("openai:gpt-4o")
    assert mini.price.input_per_1m * 10 < full.price.input_per_1m
    own = PriceBook({"gpt-4o": OWN}, bundled=False)
    assert own.quote("gpt-4o").price == OWN
    assert own.quote("gpt-4o-mini") is None
    assert own.quote("gpt-4") is None


@pytest.mark.parametrize(
    "model",
    [
        "openai:gpt-4o-omega",
        "openai:gpt-5-nano-omega",
        "anthropic:claude-sonnet-4-5-mega",
        "claude-sonnet-4-5-mega",
        "google:gemini-2.5-pro-max",
        "nobody:gpt-4o",
        "ollama:llama3.1",
        "ollama:claude-sonnet-4-5",
        "scripted",
        "<lambda>",
        "",
        ":",
        "::",
        "openai:",
        ":gpt-4o",
        "gpt-4o\x00",
        "openai:モデル",
        "モ" * 10_000,
        "groq:whisper-large-v3",  # paid by the second: the table has no price for tokens
    ],
    ids=lambda model: repr(model)[:40],
)
def test_an_unknown_model_has_no_price_and_is_never_free(model):
    assert BOOK.quote(model) is None
    assert BOOK.cost(model, Usage(10, 10)) is None
    assert not BOOK.known(model)


@pytest.mark.parametrize(
    ("model", "provider", "same"),
    [
        ("gpt-4o-mini-2024-07-18", None, "openai:gpt-4o-mini"),
        ("gpt-4o-mini-2024-07-18", "openai", "openai:gpt-4o-mini"),
        ("gpt-5.2-20251211", "openai-responses", "openai:gpt-5.2"),
        ("claude-sonnet-4-5-20250929", "anthropic", "anthropic:claude-sonnet-4-5"),
        ("claude-haiku-4-5@20251001", "google", "google:claude-haiku-4-5"),
        ("gemini-2.5-pro-preview-05-06", "google", "google:gemini-2.5-pro"),
        ("openai:GPT-4o", None, "openai:gpt-4o"),
        ("openai:gpt-4o", "scripted", "openai:gpt-4o"),
        ("ft:gpt-4o-2024-08-06:acme:tea:9xY", "openai", "openai:ft:gpt-4o-2024-08-06"),
    ],
)
def test_the_names_that_providers_answer_with_are_known(model, provider, same):
    found = BOOK.quote(model, provider=provider)
    assert found.price == BOOK.quote(same).price


def test_stand_ins_have_the_price_they_are_given_and_no_other():
    for provider in ("function", "scripted"):
        assert BOOK.quote("gpt-4o", provider=provider) is None
        assert PriceBook({"gpt-4o": OWN}).quote("gpt-4o", provider=provider).price == OWN


def test_the_embedded_model_costs_nothing_unless_the_user_says_so():
    quote = PriceBook(bundled=False, at=DAY).quote("local")
    assert (quote.source, quote.cost(Usage(10**9, 10**9))) == ("local", 0)
    assert BOOK.quote("SmolLM2-135M", provider="local").source == "local"
    assert BOOK.cost("local", Usage(10**6, 10**6)) == 0
    assert PriceBook({"local": OWN}).cost("local", Usage(10**6)) == 1


def test_the_users_price_goes_first_the_full_name_before_the_bare_one():
    whole, bare = Price(1, 1), Price(2, 2)
    book = PriceBook({"openai:gpt-4o": whole, "gpt-4o": bare})
    assert book.quote("openai:gpt-4o").price == whole
    assert book.quote("azure:gpt-4o").price == bare
    assert book.quote("gpt-4o").price == bare
    assert book.quote("gpt-4o", provider="openai").price == whole
    assert {book.quote(name).source for name in ("openai:gpt-4o", "gpt-4o")} == {"user"}


def test_of_several_prices_the_one_of_the_day_counts():
    january, june = dt.date(2026, 1, 1), dt.date(2026, 6, 1)
    book = PriceBook(
        {"m": [Price(3, 3, valid_from=june), Price(1, 1), Price(2, 2, valid_from=january)]}
    )
    days = (dt.date(2000, 1, 1), january - dt.timedelta(1), january, june - dt.timedelta(1), june)
    found = [int(book.quote("m", at=day).price.input_per_1m) for day in days]
    assert found == [1, 1, 2, 2, 3]


def test_before_the_users_first_price_the_table_counts():
    book = PriceBook({"openai:gpt-4o": Price(1, 1, valid_from=DAY)})
    assert book.quote("openai:gpt-4o", at=DAY).source == "user"
    assert book.quote("openai:gpt-4o", at=DAY - dt.timedelta(1)).source == "genai-prices"


def test_more_prices_make_another_book():
    first = PriceBook({"a": Price(1, 1), "b": Price(1, 1)}, at=DAY, bundled=False)
    second = first.with_overrides({"b": Price(2, 2), "c": Price(3, 3)})
    assert [int(second.quote(name).price.input_per_1m) for name in "abc"] == [1, 2, 3]
    assert first.quote("b").price == Price(1, 1)
    assert first.quote("c") is None
    assert second.quote("a").date == DAY
    assert second.quote("openai:gpt-4o") is None


def test_a_book_does_not_change_with_the_mapping_it_was_made_of():
    own = {"m": [Price(1, 1)]}
    book = PriceBook(own, bundled=False)
    own["m"].append(Price(2, 2, valid_from=dt.date(2000, 1, 1)))
    own["n"] = Price(2, 2)
    assert book.quote("m").price == Price(1, 1)
    assert book.quote("n") is None


def test_a_quote_is_made_once():
    book = PriceBook()
    assert book.quote("openai:gpt-4o", at=DAY) is book.quote("openai:gpt-4o", at=DAY)


def test_made_up_names_do_not_fill_the_memory():
    book = PriceBook({"m": OWN}, bundled=False)
    for number in range(10_000):
        assert book.quote(f"p{number}:m").price == OWN
        assert book.quote(f"p{number}") is None
    assert len(book._quotes) <= 4096


def test_threads_share_a_book():
    book, found = PriceBook(), []
    names = ["openai:gpt-4o", "google:gemini-2.5-pro", "local", "nobody:m"] * 50

    def ask():
        found.append([quote and quote.price for quote in map(book.quote, names)])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [found[0]] * 8


def test_a_book_a_price_and_a_quote_travel_to_other_processes():
    book = PriceBook({"m": Price(1, 2, tiers={5: Price(2, 3)})}, at=DAY)
    quote = book.quote("m", batch=True)
    again = pickle.loads(pickle.dumps((book, quote)))  # noqa: S301 - our own bytes
    assert again[1] == quote
    assert hash(again[1]) == hash(quote)
    assert again[0].quote("m").cost(Usage(6, 1)) == book.quote("m").cost(Usage(6, 1)) == 15 * 10**6


# Without the table


def test_without_the_table_advice_names_the_extra_and_a_price_of_ones_own():
    book = PriceBook(at=DAY)
    genai_price_source._table.cache_clear()
    with mock.patch.dict(sys.modules, {"genai_prices": None, "genai_prices.data": None}):
        assert book.quote("openai:gpt-4o") is None
        advice = book.unpriced_advice("openai:gpt-4o")
    assert "PriceBook(overrides={'openai:gpt-4o': Price(" in advice
    assert "pip install 'tta-notebook[prices]'" in advice
    # Installed since, and seen at once.
    assert book.quote("openai:gpt-4o").source == "genai-prices"
    assert "pip install" not in book.unpriced_advice("openai:gpt-4o")


def test_prices_that_somebody_else_updates_over_the_net_do_not_count():
    from genai_prices import data_snapshot  # noqa: PLC0415

    empty = data_snapshot.DataSnapshot(providers=[], from_auto_update=True)
    data_snapshot.set_custom_snapshot(empty)
    try:
        assert PriceBook(at=DAY).known("openai:gpt-4o")
    finally:
        data_snapshot.set_custom_snapshot(None)


def test_the_table_is_imported_when_it_is_asked_and_not_before():
    import subprocess  # noqa: PLC0415

    program = (
        "import sys; from tta_notebook.llm.prices import PriceBook, Price;"
        "book = PriceBook({'m': Price(1, 2)});"
        "book.quote('m'); book.quote('local'); book.quote('answer', provider='function');"
        "print('genai_prices' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


# The table and our arithmetic


MODELS = [
    "openai:gpt-4o",
    "openai:gpt-5",
    "openai:gpt-5.4",
    "openai:gpt-5.6-sol",
    "openai:o3",
    "anthropic:claude-sonnet-4-5",
    "anthropic:claude-haiku-5-5",
    "google:gemini-2.5-pro",
    "google:gemini-2.5-flash",
    "x-ai:grok-4",
    "mistral:mistral-medium-latest",
    "groq:openai/gpt-oss-120b",
    "perplexity:sonar-pro",
    "perplexity:sonar-deep-research",
    "openrouter:google/gemini-3.8-flash",  # its prices have 18 decimals
]


@given(
    st.sampled_from(MODELS),
    usages(),
    st.dates(dt.date(2024, 1, 1), dt.date(2027, 12, 31)),
    st.booleans(),
)
def test_costs_are_those_of_genai_prices_to_the_pico(model, usage, day, batch):
    provider, _, name = model.partition(":")
    theirs = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cached_input_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_reasoning_tokens=usage.reasoning_tokens,
        ),
        name,
        provider_id=provider,
        genai_request_timestamp=dt.datetime.combine(day, dt.time(), dt.UTC),
        price_context={"processing": "batch"} if batch else None,
    )
    ours = PriceBook().quote(model, at=day, batch=batch).cost(usage)
    assert abs(ours - theirs.total_price * PICO) <= Decimal("0.5")


def test_every_model_of_the_table_that_has_a_price_for_text_has_one_here():
    from genai_prices.data import providers  # noqa: PLC0415

    moment = dt.datetime.combine(DAY, dt.time(), dt.UTC)
    missing = [
        f"{provider.id}:{model.id}"
        for provider in providers
        for model in provider.models
        # Some of its models do not go by their own name.
        if provider.find_model(model.id, all_providers=providers) is model
        and model.get_prices(moment).input_mtok is not None
        and not BOOK.known(f"{provider.id}:{model.id}")
    ]
    assert missing == ["openai:ft:gpt-3.5-turbo-"]  # the beginning of a name


# Prices


@pytest.mark.parametrize("field", ["input_per_1m", "output_per_1m", "per_request"])
@pytest.mark.parametrize(
    "value",
    [-1, float("nan"), Decimal("NaN"), float("inf"), True, "0.15", "", None, -1e-30, 10**18, [1]],
    ids=repr,
)
def test_what_is_no_price_is_refused_by_name(field, value):
    with pytest.raises(ConfigurationError, match=f"{field}="):
        Price(**{"input_per_1m": 1, "output_per_1m": 1, field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cached_input_per_1m", -0.1),
        ("cache_write_per_1m", float("nan")),
        ("reasoning_per_1m", "1"),
        ("batch_factor", 0),
        ("batch_factor", 1.5),
        ("batch_factor", float("nan")),
        ("batch_factor", True),
        ("tiers", 5),
        ("tiers", [OWN]),
        ("tiers", {-1: OWN}),
        ("tiers", {True: OWN}),
        ("tiers", {200_000.0: OWN}),
        ("tiers", {200_000: 2.5}),
        ("valid_from", "2026-01-01"),
        ("valid_from", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
    ],
    ids=repr,
)
def test_what_means_nothing_in_a_price_is_refused_by_name(field, value):
    with pytest.raises(ConfigurationError, match=f"{field}="):
        Price(1, 1, **{field: value})


@pytest.mark.parametrize(
    "stated",
    [{"batch_factor": 0.5}, {"per_request": 1}, {"tiers": {1: OWN}}, {"valid_from": DAY}],
    ids=str,
)
def test_a_tier_states_prices_of_tokens_alone(stated):
    with pytest.raises(ConfigurationError, match=f"states {next(iter(stated))}"):
        Price(1, 1, tiers={10: Price(1, 1, **stated)})


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"m": 3}, "that is no price"),
        ({"m": []}, "that is no price"),
        ({"m": "free"}, "that is no price"),
        ({"m": [OWN, 3]}, "3 is no price"),
        ({"m": [OWN, Price(2, 2)]}, "two of them begin on one day"),
        ({"": OWN}, "a text"),
        ({3: OWN}, "a text"),
    ],
    ids=str,
)
def test_what_is_no_override_is_refused(overrides, said):
    with pytest.raises(ConfigurationError, match=said):
        PriceBook(overrides)


@pytest.mark.parametrize("at", ["2026-01-01", 20260101, float("nan")])
def test_what_is_no_day_is_refused(at):
    with pytest.raises(ConfigurationError, match="is no day"):
        PriceBook(at=at)
    with pytest.raises(ConfigurationError, match="is no day"):
        BOOK.quote("local", at=at)


def test_a_price_is_one_however_its_numbers_are_written():
    assert Price(1, 0.1) == Price(1.0, Decimal("0.1"))
    assert len({Price(1, 0.1, tiers={5: OWN}), Price(1, Decimal("0.10"), tiers=((5, OWN),))}) == 1


# Costs


@given(quotes, usages())
def test_a_cost_is_the_exact_one_rounded_once(quote, usage):
    price = quote.price
    for above, tier in price.tiers:
        if usage.input_tokens > above:
            price = tier
    fresh = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    plain = usage.output_tokens - usage.reasoning_tokens

    def per_token(stated, default):
        return Fraction(default if stated is None else stated) / 10**6

    exact = (
        fresh * per_token(price.input_per_1m, 0)
        + usage.cached_input_tokens * per_token(price.cached_input_per_1m, price.input_per_1m)
        + usage.cache_write_tokens * per_token(price.cache_write_per_1m, price.input_per_1m)
        + plain * per_token(price.output_per_1m, 0)
        + usage.reasoning_tokens * per_token(price.reasoning_per_1m, price.output_per_1m)
    )
    share = Fraction(quote.price.batch_factor) if quote.batch else 1
    assert quote.cost(usage) == round(exact * share * PICO) + to_pico(quote.price.per_request)


def test_half_a_pico_is_rounded_to_even_once_in_a_call():
    # A token at 10**-6 dollars per million is one pico; in a batch at half price it is a half.
    quote = priced(Price(0.000001, 0.000001, batch_factor=0.5), batch=True)
    assert [quote.cost(Usage(tokens)) for tokens in (1, 2, 3, 5)] == [0, 1, 2, 2]
    assert quote.cost(Usage(1, 1)) == 1


def test_nothing_used_costs_the_request_alone():
    assert priced(Price(30, 60)).cost(Usage()) == 0
    assert priced(Price(30, 60, per_request=0.01, batch_factor=0.5), batch=True).cost(
        Usage()
    ) == to_pico("0.01")


def test_a_tier_begins_above_its_threshold_and_holds_for_the_whole_call():
    quote = priced(Price(1, 1, tiers={100: Price(2, 2), 10: Price(3, 3)}))
    assert [quote.cost(Usage(tokens)) // 10**6 for tokens in (10, 11, 100, 101)] == [
        10,
        33,
        300,
        202,
    ]


def test_numbers_beyond_all_reason_stay_exact():
    usage = Usage(10**30 + 1, 10**30 + 1)
    assert priced(Price(999_999_999_999_999_999, 0.000001)).cost(usage) == (
        (10**30 + 1) * (10**18 - 1) * 10**6 + 10**30 + 1
    )


def test_every_token_of_an_impossible_report_is_charged():
    quote = priced(Price(1, 10, cached_input_per_1m=0.5, tiers={100: Price(2, 20)}))
    # Some report what was cached beside the input instead of in it: 90 and 80 are 170, above 100.
    assert quote.cost(Usage(80, 0, 90, 80)) == (90 + 80) * 2 * 10**6
    assert quote.cost(Usage(0, 5, 0, 0, 9)) == 9 * 10 * 10**6


@pytest.mark.parametrize("value", [-1, float("nan"), 1.5, "3", None])
def test_what_is_no_count_of_tokens_is_refused(value):
    quote = priced(OWN)
    with pytest.raises(ConfigurationError, match="input_tokens"):
        quote.cost(Usage(input_tokens=value))
    with pytest.raises(ConfigurationError, match="input_tokens"):
        quote.worst_case(value, 1)
    with pytest.raises(ConfigurationError, match="max_output_tokens"):
        quote.worst_case(1, value)
    with pytest.raises(ConfigurationError, match="input_tokens"):
        quote.affordable_output_tokens(PICO, value)


@given(quotes, usages(), counts, counts)
def test_the_worst_case_is_never_below_a_cost(quote, usage, more_input, more_output):
    worst = quote.worst_case(usage.input_tokens + more_input, usage.output_tokens + more_output)
    assert quote.cost(usage) <= worst


@given(quotes, counts, counts)
def test_the_worst_case_can_happen(quote, input_tokens, output_tokens):
    worst = quote.worst_case(input_tokens, output_tokens)
    kinds = ({}, {"cached_input_tokens": 1}, {"cache_write_tokens": 1})
    most = max(
        quote.cost(
            Usage(
                size,
                output_tokens,
                reasoning_tokens=output_tokens * reasons,
                **dict.fromkeys(kind, size),
            )
        )
        for size in {input_tokens, *(a for a, _ in quote.price.tiers if a <= input_tokens)}
        for kind in kinds
        for reasons in (0, 1)
    )
    # It takes a lower tier at the full size, so it may be above; without tiers it is just rounded.
    assert most <= worst
    if not quote.price.tiers:
        assert worst - most <= 1


@given(quotes, st.integers(-PICO, 1000 * PICO), counts)
def test_what_is_affordable_is_and_one_token_more_is_not(quote, pico, input_tokens):
    tokens = quote.affordable_output_tokens(pico, input_tokens)
    if tokens < 0:
        assert tokens == -1
        assert quote.worst_case(input_tokens, 0) > pico
    else:
        assert quote.worst_case(input_tokens, tokens) <= pico
        if tokens != sys.maxsize:
            assert quote.worst_case(input_tokens, tokens + 1) > pico


def test_output_that_costs_nothing_is_affordable_without_end():
    quote = priced(Price(1, 0))
    assert quote.affordable_output_tokens(10**6, 1) == sys.maxsize
    assert quote.affordable_output_tokens(10**6 - 1, 1) == -1
    assert BOOK.quote("local").affordable_output_tokens(0, 10**9) == sys.maxsize


# The parity figures: five requests of the original's example, words + base tokens of prompt.


def test_the_original_example_costs_what_it_did():
    base = {"gpt-4": (150, 100), "gpt-4-mini": (120, 80), "claude-3-sonnet": (140, 90)}
    requests = [
        ("alice", "gpt-4-mini", "What is TTA.dev?"),
        ("bob", "claude-3-sonnet", "Explain multi-agent coordination."),
        ("alice", "gpt-4", "Analyze this complex data set with detailed insights."),
        ("charlie", "gpt-4-mini", "How do I use primitives?"),
        ("bob", "gpt-4-mini", "Quick question about caching."),
    ]
    book = PriceBook(SEED_PRICES, bundled=False)
    spent, tokens = {}, 0
    for user, model, text in requests:
        prompt, completion = base[model]
        usage = Usage(max(10, len(text.split()) + prompt), completion)
        tokens += usage.total_tokens
        for key in (user, model, "all"):
            spent[key] = spent.get(key, 0) + book.cost(model, usage)
    assert tokens == 1103
    assert {key: f"{amount:.6f}" for key, amount in spent.items()} == {
        "all": "0.012719",
        "gpt-4": "0.010740",
        "claude-3-sonnet": "0.001779",
        "gpt-4-mini": "0.000200",
        "alice": "0.010806",
        "bob": "0.001846",
        "charlie": "0.000067",
    }
    assert book.cost("llama-3-70b", Usage(1000, 1000)) == 0
    assert len(SEED_PRICES) == 8
