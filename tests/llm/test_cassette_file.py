"""A cassette's file: readable by people, exact, and whole whatever happens to the process."""

import asyncio
import json
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_notebook import WorkflowContext
from tta_notebook.core.errors import CassetteMissError, StorageError
from tta_notebook.llm import (
    LLMPrimitive,
    Message,
    ModelDelta,
    ModelRequest,
    Reply,
    ScriptedModel,
)
from tta_notebook.llm.cassettes import file as cassette_file
from tta_notebook.llm.cassettes.cassette import Cassette
from tta_notebook.llm.usage import Usage

HEADER = '{"format": "tta-cassette", "version": 1}\n'


@pytest.fixture
def path(tmp_path):
    return tmp_path / "calls.jsonl"


def ask(cassette, reply="answer", prompt="x", **arguments):
    context = WorkflowContext().using(backends=cassette.backends)
    return LLMPrimitive(ScriptedModel([reply]), **arguments).run_sync(prompt, context)


def record(path, *prompts, **arguments):
    with Cassette(path, **arguments) as cassette:
        for prompt in prompts:
            ask(cassette, f"to {prompt}", prompt)


def texts(path):
    lines = path.read_bytes().split(b"\n")[1:-1]
    return ["".join(text for _, text in json.loads(line)["chunks"]) for line in lines]


# What stands in it


def test_it_is_a_header_and_a_line_for_every_call_that_a_person_can_read(path):
    with Cassette(path) as cassette:
        ask(cassette, Reply(["grü", "ezi"], usage=Usage(3, 2)), "Zürich\u2028?", temperature=0.5)
    text = path.read_text(encoding="utf-8")
    header, line, end = text.split("\n")
    assert (header, end) == (HEADER.strip(), "")
    assert "Zürich\u2028?" in line
    record = json.loads(line)
    assert list(record) == [
        *("call", "kind", "request", "chunks", "usage", "finish_reason", "model", "provider"),
        *("source", "recorded_at", "first_token_s", "duration_s", "key"),
    ]
    assert record["request"] == {
        "model": "scripted",
        "messages": [{"role": "user", "content": "Zürich\u2028?"}],
        "max_output_tokens": 1024,
        "temperature": 0.5,
    }
    assert [piece for _, piece in record["chunks"]] == ["grü", "ezi"]
    assert record["first_token_s"] == record["chunks"][0][0] <= record["duration_s"]
    assert record["usage"] == {"input_tokens": 3, "output_tokens": 2}
    assert (record["provider"], record["source"]) == ("scripted", "mock")


def test_equal_requests_have_equal_keys_and_others_have_others(path):
    record(path, "x", "x", "y")
    keys = [json.loads(line)["key"] for line in path.read_text().splitlines()[1:]]
    assert keys[0] == keys[1] != keys[2]


# Texts of any kind; surrogates too, which a provider's broken escapes may leave behind.
TEXT = st.text(st.characters(codec=None, categories=None), max_size=30)
MESSAGES = st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), TEXT), min_size=1)
COUNTS = st.integers(0, 2**60)
USAGE = st.none() | st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.booleans())


class Saying:
    """A backend that gives certain deltas."""

    def __init__(self, deltas):
        self.deltas = deltas

    async def stream(self, request):
        for delta in self.deltas:
            yield delta


@given(MESSAGES, st.lists(TEXT, max_size=6), USAGE, st.none() | st.text(max_size=8))
@settings(max_examples=150, deadline=None)
def test_any_conversation_and_any_answer_come_back_as_they_were(
    tmp_path_factory, messages, pieces, usage, reason
):
    path = tmp_path_factory.mktemp("any") / "calls.jsonl"
    request = ModelRequest("m", tuple(messages))
    deltas = [*map(ModelDelta, pieces), ModelDelta(usage=usage, finish_reason=reason)]

    async def heard(deltas):
        with Cassette(path, allow=lambda _: True) as cassette:
            backend = cassette.over(Saying(deltas), "m", request)
            return [delta async for delta in backend.stream(request)]

    asyncio.run(heard(deltas))
    path.read_bytes().decode()  # plain UTF-8, whatever the texts
    again = asyncio.run(heard([]))
    assert [delta.text for delta in again if delta.text] == [text for text in pieces if text]
    assert (again[-1].usage, again[-1].finish_reason) == (usage, reason or None)


def test_two_halves_of_a_pair_stay_two(path):
    halves = ["\ud83d", "\ude00", "\ud83d\ude00"]
    with Cassette(path) as cassette:
        ask(cassette, halves, "odd \ud83d\ude00 prompt")
    with Cassette(path) as cassette:
        assert ask(cassette, [], "odd \ud83d\ude00 prompt") == "".join(halves)


def test_megabytes_go_in_and_come_out(path):
    prompt, answer = "p" * 5_000_000, ["a" * 1_000_000] * 5
    with Cassette(path) as cassette:
        # With its usage stated: estimating it takes seconds.
        ask(cassette, Reply(answer, usage=Usage(1, 1)), prompt)
    with Cassette(path) as cassette:
        assert ask(cassette, [], prompt) == "".join(answer)


# Damage


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello\n", "line 1: the cassette is damaged"),
        ('{"format": "other"}\n', "line 1: .*does not begin as cassettes do"),
        ("[]\n", "line 1: .*does not begin as cassettes do"),
        ('{"format": "tta-cassette", "version": 2}\n', "line 1: .*version 2.*reads 1"),
        (HEADER + "\n[1]\n", "line 3: .*TypeError"),
        (HEADER + "{\n{}\n", "line 2: .*JSONDecodeError"),
        (HEADER + '{"kind": "chat"}\n', "line 2: .*'request' is missing|'call' is missing"),
        (HEADER + '{"kind": "sing"}\n', "line 2: .*its kind is 'sing'"),
        (HEADER + b"\xff\xfe\n".decode("latin-1") + "{}\n", "line 2: "),
    ],
)
def test_what_is_no_cassette_is_refused_with_the_line(path, text, said):
    path.write_text(text, encoding="latin-1")
    with pytest.raises(StorageError, match=said) as caught, Cassette(path):
        pass
    assert caught.value.path == str(path)
    assert path.read_text(encoding="latin-1") == text


def test_a_new_recording_that_cannot_take_its_place_is_kept_beside_it(path):
    path.mkdir()
    cassette = Cassette(path, "all")
    ask(cassette, "new")
    with pytest.raises(StorageError, match="cannot take this file's place"):
        cassette.close()
    path.rmdir()
    cassette.close()
    assert texts(path) == ["new"]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("chunks", [[1]], "ValueError"),
        ("chunks", [[0.1, 5]], "5 is no text"),
        ("usage", {"tokens": 1}, "TypeError"),
        ("recorded_at", "yesterday", "ValueError"),
        ("request", [], "no mapping"),
        ("call", None, "TypeError"),
        ("error", {}, "'type' is missing"),
        ("kind", "embed", "'vectors' is missing"),
    ],
)
def test_a_record_that_was_spoiled_by_hand_is_refused_with_its_line(path, field, value, said):
    record(path, "x")
    header, line = path.read_text(encoding="utf-8").splitlines()
    spoiled = {**json.loads(line), field: value}
    path.write_text(f"{header}\n{line}\n{json.dumps(spoiled)}\n", encoding="utf-8")
    with pytest.raises(StorageError, match=rf"line 3: .*{said}"), Cassette(path):
        pass


def test_a_torn_last_line_is_left_out_and_said_and_taken_away_by_the_next_call(path):
    record(path, "x", "y")
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:-20])
    cassette = Cassette(path, on_stale="record")
    with pytest.warns(RuntimeWarning, match="line 4: the last recording is torn"):
        assert ask(cassette, "", "x") == "to x"
    ask(cassette, "to z", "z")
    assert texts(path) == ["to x", "to y", "to z"]


def test_a_last_line_without_its_end_is_whole(path):
    record(path, "x")
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    record(path, "x", "y", on_stale="record")
    assert texts(path) == ["to x", "to y"]


def test_ends_of_lines_as_windows_has_them_are_read(path):
    record(path, "x")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    with Cassette(path, "none") as cassette:
        answer = ask(cassette, "never asked")
    assert (answer, answer.source) == ("to x", "replay")


def test_a_folder_is_no_cassette(tmp_path):
    with pytest.raises(StorageError, match="cannot be read"), Cassette(tmp_path):
        pass


def test_a_file_that_cannot_be_written_costs_no_answer_and_can_be_mended(tmp_path):
    in_the_way = tmp_path / "folder"
    with Cassette(in_the_way / "calls.jsonl") as cassette:
        in_the_way.touch()
        assert ask(cassette, "paid") == "paid"
        with pytest.raises(StorageError, match="1 recorded calls cannot be written"):
            cassette.close()
        in_the_way.unlink()
    assert texts(cassette.path) == ["paid"]


def test_a_write_that_fails_half_way_leaves_the_file_as_it_was(path, monkeypatch):
    record(path, "x")
    before = path.read_bytes()

    def half(file, data):
        file.write(data[:5])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(cassette_file, "_write", half)
        with pytest.raises(OSError, match="No space"):
            cassette_file.append(path, [b"{}"])
    assert path.read_bytes() == before


# Processes

RECORDER = """
    import sys
    from tta_notebook import WorkflowContext
    from tta_notebook.llm import LLMPrimitive, ScriptedModel
    from tta_notebook.llm.cassettes.cassette import Cassette

    path, who, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
    cassette = Cassette(path)
    cassette.__enter__()
    print("ready", flush=True)
    sys.stdin.readline()
    llm = LLMPrimitive(ScriptedModel("answer " * 300))
    for number in range(calls):
        context = WorkflowContext().using(backends=cassette.backends)
        llm.run_sync(f"{who} {number}", context)
"""


def started(path, who, calls):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(RECORDER), str(path), who, str(calls)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_processes_record_on_one_file_line_by_line(path):
    processes = [started(path, who, 100) for who in "ab"]
    for process in processes:
        go(process)
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert len(texts(path)) == 200
    with Cassette(path, "none") as cassette:
        for who in "ab":
            for number in range(100):
                ask(cassette, "", f"{who} {number}")


@pytest.mark.filterwarnings("ignore:.*is torn:RuntimeWarning")
def test_a_killed_process_leaves_what_it_has_paid_for(path):
    process = started(path, "a", 1_000_000)
    go(process)
    end = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < 20:
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    process.wait()
    process.stdin.close()
    process.stdout.close()
    with Cassette(path, "none") as cassette:
        for number in range(19):
            assert ask(cassette, "", f"a {number}").source == "replay"
        with pytest.raises(CassetteMissError):
            ask(cassette, "", "a 999999")


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_file_that_goes_while_somebody_waits_for_it_is_not_written_to(
    path, monkeypatch, is_replaced
):
    record(path, "x")
    line = path.read_bytes().splitlines()[1]
    other = path.with_name("other.jsonl")
    record(other, "y")
    lock = cassette_file._lock

    def change_first(file, *, shared):
        lock(file, shared=shared)
        if other.exists():
            other.replace(path)
            if not is_replaced:
                path.unlink()

    monkeypatch.setattr(cassette_file, "_lock", change_first)
    cassette_file.append(path, [line])
    assert texts(path) == (["to y", "to x"] if is_replaced else ["to x"])
