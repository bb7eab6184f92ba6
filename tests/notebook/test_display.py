import asyncio
import json
import re
from html.parser import HTMLParser

import pytest
from ended_run import run_of

from tta_notebook import LambdaPrimitive, Usage, WorkflowPrimitive, last_run
from tta_notebook.core.stream import stream
from tta_notebook.notebook.display import run_json, run_table, run_text
from tta_notebook.notebook.picture import run_html, stylesheet
from tta_notebook.notebook.rows import MAX_ROWS, duration, rows_of, tokens


class Model(WorkflowPrimitive):
    kind = "llm"

    async def execute(self, input_data, context):
        context.note("model", served="tiny")
        context.chunk("Hel")
        context.chunk("lo")
        return {"text": "Hello", "usage": {"input_tokens": 1200, "output_tokens": 64}}


@pytest.fixture
def answered():
    return run_of((LambdaPrimitive(str.strip) >> Model(name="model")).named("ask"), " hi ")


@pytest.fixture
def failed():
    def parse(value):
        raise ValueError("<b>no</b> " + value)

    return run_of((LambdaPrimitive(str.strip) >> parse).named("bad"), "x")


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def all(self, name):
        return [attrs for tag, attrs in self.found if tag == name]


def test_the_tree_shows_state_time_tokens_notes_and_the_answer(answered):
    text = re.sub(r"\d+(\.\d+)? (µs|ms)", "T", run_text(answered))
    assert [" ".join(line.split()) for line in text.splitlines()] == [
        "ask ok T 3 steps 1,200 → 64 tokens",
        "ask ok T",
        "├─ strip ok T",
        "└─ model ok T 1,200 → 64 model tiny",
        "→ {'text': 'Hello', 'usage': {'input_tokens': 1200, 'output_tokens': 64}}",
    ]


def test_a_failure_shows_where_and_what(failed):
    assert run_text(failed).splitlines()[-1] == "✗ bad > parse: ValueError: <b>no</b> x"


def test_json_has_every_span_and_says_what_is_missing(answered):
    whole = json.loads(run_json(answered))
    assert [span["name"] for span in whole["spans"]] == ["ask", "strip", "model"]
    assert whole["spans"][2]["parent"] == whole["spans"][0]["id"]
    assert whole["spans"][2]["tokens"] == {"input": 1200, "output": 64}
    assert whole["spans_dropped"] == 0


def test_the_table_lines_up(answered):
    head, *lines = run_table(answered).splitlines()
    assert head.split()[:3] == ["step", "kind", "state"]
    assert [line.index("ok") for line in lines] == [head.index("state")] * 3


def test_html_has_no_script_and_a_word_for_every_colour(answered):
    tags = Tags(run_html(answered))
    assert tags.all("script") == []
    assert all(attrs["aria-label"] for attrs in tags.all("div") if attrs.get("role"))
    assert {attrs["aria-label"] for attrs in tags.all("span") if attrs.get("role")} == {"ok"}
    assert len(tags.all("title")) >= len(tags.all("svg")) == 3
    assert "http" not in run_html(answered)


def test_everything_a_user_gave_is_escaped():
    evil = "<img src=x onerror=alert(1)>'\""
    stream.enable(previews=True)
    try:
        run = run_of(LambdaPrimitive(lambda x: {x: x}, name=evil).named(evil), evil)
    finally:
        stream.disable()
    assert Tags(run_html(run)).all("img") == []
    assert Tags(run_html(run_of(LambdaPrimitive(str, name=evil), evil))).all("img") == []


def test_an_errors_text_is_escaped(failed):
    assert Tags(run_html(failed)).all("b") == []
    assert "&lt;b&gt;no&lt;/b&gt;" in run_html(failed)


def test_ten_thousand_steps_make_a_bounded_picture_with_the_failing_one():
    def check(value):
        if value == 8_765:
            raise ValueError(value)
        return value

    def boom(value):
        return check(value)

    async def main():
        step = (LambdaPrimitive(boom) >> str).named("each")
        try:
            await step.map(range(9_000), max_concurrency=1)
        except ValueError:
            return last_run()

    stream.enable()
    try:
        run = asyncio.run(main())
    finally:
        stream.disable()
    rows = rows_of(run)
    assert len(rows) <= MAX_ROWS + 10
    assert len(run_html(run)) < 45_000
    assert len(run_text(run)) < 20_000
    assert "more" in run_text(run)
    if run.failed_span in run.spans:
        assert any(row.span is run.failed_span for row in rows)


def test_a_long_chain_of_steps_needs_no_recursion():
    step = LambdaPrimitive(str.strip)
    for number in range(300):
        step = (step >> str.strip).named(f"level {number}")
    assert "more" in run_text(run_of(step, "x"))


def test_a_result_that_cannot_be_shown_does_not_hide_the_run():
    class Broken:
        def __repr__(self):
            raise RuntimeError("no")

    run = run_of(LambdaPrimitive(lambda _: Broken(), name="odd"), 1)
    assert "Broken" in run_text(run)
    assert "Broken" in run_html(run)


def test_a_running_run_can_be_shown():
    async def main():
        run = LambdaPrimitive(asyncio.sleep, name="nap").start(60)
        await asyncio.sleep(0)
        shown = run_html(run), run_text(run)
        run.cancel()
        await asyncio.wait([run._task])
        return shown

    html, text = asyncio.run(main())
    assert "● running" in html
    assert "nap  running" in text


def test_figures_are_short():
    assert [duration(s) for s in (0, 0.00999, 0.9999, 59.999)] == [
        "0 µs",
        "10 ms",
        "1.00 s",
        "1 m 0 s",
    ]
    assert tokens(Usage(input_tokens=5, estimated=True)) == "~5 → 0"


def test_the_style_is_small_and_follows_the_theme():
    assert len(stylesheet()) < 4_500
    assert "@import" not in stylesheet()
    assert "url(" not in stylesheet()
    for colour in re.findall(r"--tta-\w+:(.*?);", stylesheet())[:5]:
        assert colour.startswith("var(--jp-")
