"""Keys and passwords never reach a cassette's file, and the answer is not lost for it."""

import json
import time
from contextlib import suppress

import pytest

from tta_notebook import WorkflowContext
from tta_notebook.core.errors import CassetteSecretError, ModelRequestError
from tta_notebook.llm import LLMPrimitive, Reply, ScriptedModel
from tta_notebook.llm.cassettes.cassette import Cassette
from tta_notebook.llm.cassettes.secrets import first_secret

# Put together here, so that scanners of source code do not take them for real ones.
A1 = "A1b2C3d4E5f6G7h8I9j0"
SECRETS = {
    "an OpenAI API key": ["sk-" + A1 * 2, "sk-proj-" + A1 + "_-" + A1, "sk-svcacct-" + A1 * 3],
    "an Anthropic API key": ["sk-ant-" + "api03-" + A1 * 4],
    "a Google API key": ["AIza" + (A1 * 2)[:35]],
    "an AWS access key": ["AKIA" + "IOSFODNN7EXAMPLE", "ASIA" + "IOSFODNN7EXAMPLE"],
    "a GitHub token": ["ghp_" + (A1 * 2)[:36], "ghs_" + A1 * 2, "github_pat_" + A1 * 3],
    "a Hugging Face token": ["hf_" + (A1 * 2)[:34]],
    "a Slack token": ["xoxb-" + "1234567890-" + A1],
    "a JSON Web Token": ["eyJ" + A1 + ".eyJ" + A1 + "." + A1],
    "a bearer token": ["Bearer " + A1, "authorization: bearer " + A1],
    "a private key": ["-----BEGIN " + "RSA PRIVATE KEY-----", "-----BEGIN " + "PRIVATE KEY-----"],
    "an address with a password": ["https://me:" + "pass1@host/x", "redis://:" + "s3cret@cache"],
}
HARMLESS = [
    "task-1-of-a-very-long-list-of-many-things",
    "the sk-learn package, and sk-a-name-without-any-digit-in-it",
    "Bearer authentication-is-described-in-the-manual",
    "https://example.com:8080/path?user=me@example.com",
    "eyJ is how a token begins; AIza too, and AKIA",
    "mailto:me@example.com, 12:30@noon",
    "-----BEGIN PUBLIC KEY-----",
    "xoxo, kisses",
]
KEY = SECRETS["an OpenAI API key"][0]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "calls.jsonl"


def ask(cassette, reply="answer", prompt="x", **arguments):
    context = WorkflowContext().using(backends=cassette.backends)
    return LLMPrimitive(ScriptedModel([reply]), **arguments).run_sync(prompt, context)


def closed(cassette):
    with pytest.raises(CassetteSecretError) as caught:
        cassette.close()
    return caught.value


@pytest.mark.parametrize(
    ("kind", "secret"), [(kind, each) for kind, some in SECRETS.items() for each in some]
)
def test_a_key_in_a_prompt_is_refused_and_named_by_kind_and_place_but_not_shown(path, kind, secret):
    cassette = Cassette(path)
    assert ask(cassette, prompt=f"Use this: {secret} please") == "answer"
    error = closed(cassette)
    assert (error.kind, error.place) == (kind, "request.messages[0].content")
    assert (error.path, error.retryable) == (str(path), False)
    assert kind in str(error)
    assert error.place in str(error)
    assert secret not in str(error)
    assert not path.exists()


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_a_little_like_a_key_is_written(path, text):
    with Cassette(path) as cassette:
        ask(cassette, text, prompt=text)
    assert path.exists()


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ({"reply": ["a", f"it is {KEY}"]}, "chunks[1]"),
        ({"reply": ["no ", KEY[:5], KEY[5:20], KEY[20:], "!"]}, "chunks[1]"),
        ({"reply": [*KEY]}, "chunks[0]"),
        ({"reply": Reply(error=ModelRequestError(f"bad {KEY}", model="m"))}, "error.message"),
        ({"user": [{"id": KEY}]}, "request.settings.user[0].id"),
        ({"extra": {KEY: 1}}, "request.settings.extra (the name of an entry)"),
        ({"stop": ["a", KEY]}, "request.stop[1]"),
        ({"system": KEY}, "request.messages[0].content"),
    ],
)
def test_a_key_is_found_wherever_it_is(path, arguments, place):
    cassette = Cassette(path)
    with suppress(ModelRequestError):
        ask(cassette, **arguments)
    assert closed(cassette).place == place
    assert not path.exists()


def test_the_value_of_a_key_variable_is_a_secret_and_that_of_another_is_none(path, monkeypatch):
    monkeypatch.setenv("ACME_API_KEY", "correct horse")
    monkeypatch.setenv("DB_PASSWORD", "short")
    monkeypatch.setenv("HOMETOWN", "Kopenhagen")
    with Cassette(path) as cassette:
        ask(cassette, prompt="a short trip to Kopenhagen")
    other = Cassette(path.with_name("other.jsonl"))
    ask(other, prompt="my correct horse")
    error = closed(other)
    assert error.kind == "the value of the environment variable ACME_API_KEY"
    assert "horse" not in str(error)


def test_other_calls_are_written_and_the_answer_is_given(path):
    cassette = Cassette(path)
    ask(cassette, "fine", prompt="one")
    assert ask(cassette, KEY, prompt="two") == KEY
    ask(cassette, "fine too", prompt="three")
    error = closed(cassette)
    assert "1 of the recorded calls were not written" in str(error)
    text = path.read_text(encoding="utf-8")
    assert KEY not in text
    assert [json.loads(line)["call"] for line in text.splitlines()[1:]] == [0, 2]


@pytest.mark.parametrize("allow", [KEY, [f"the text {KEY}"], lambda found: found == KEY])
def test_what_is_allowed_is_written_also_afterwards(path, allow):
    with Cassette(path, allow=allow) as cassette:
        ask(cassette, KEY)
    assert KEY in path.read_text(encoding="utf-8")
    other = Cassette(path.with_name("other.jsonl"))
    ask(other, KEY)
    for _ in range(2):
        closed(other)
    other.allow = allow
    other.close()
    assert KEY in other.path.read_text(encoding="utf-8")


def test_what_is_not_what_was_allowed_is_still_refused(path):
    cassette = Cassette(path, allow=[KEY])
    ask(cassette, f"{KEY} and {SECRETS['a GitHub token'][0]}")
    assert closed(cassette).kind == "a GitHub token"


def test_a_new_recording_with_a_secret_does_not_take_the_old_one_s_place(path):
    with Cassette(path) as cassette:
        ask(cassette, "old")
    cassette = Cassette(path, "all")
    ask(cassette, "new")
    ask(cassette, KEY)
    closed(cassette)
    assert "old" in path.read_text(encoding="utf-8")
    cassette.allow = KEY
    cassette.close()
    text = path.read_text(encoding="utf-8")
    assert KEY in text
    assert "old" not in text
    assert list(path.parent.iterdir()) == [path]


def test_a_block_s_own_error_goes_on_and_is_told_of_the_secret(path):
    def block():
        with Cassette(path) as cassette:
            ask(cassette, KEY)
            raise KeyError("a bug")

    with pytest.raises(KeyError) as caught:
        block()
    assert "an OpenAI API key" in caught.value.__notes__[0]


@pytest.mark.parametrize("piece", ["a", "sk-", "eyJ", "Bearer ", "a:", "-----BEGIN ", "x://a:"])
def test_no_text_takes_long_to_look_through(piece):
    start = time.monotonic()
    first_secret({"request": {"messages": [{"content": piece * (1_000_000 // len(piece))}]}})
    assert time.monotonic() - start < 10
