"""Charts as PNG pictures, drawn by a real browser where one is installed."""

import asyncio
import io
import os
import shutil
import struct
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest

from tta_notebook import ConfigurationError, WorkflowError
from tta_notebook.report import png, png_child
from tta_notebook.report.chart import Chart, Series
from tta_notebook.report.png import write_png

DAYS = ["2026-11-01", "2026-11-02"]
COST = Chart(
    "Cost per day: größer / kleiner",
    [Series("one", DAYS, [1.0, None]), Series("two", DAYS, [2.5, 3])],
    y_title="USD",
    caution="One call has no price.",
)
RATE = Chart("Hit rate", [Series("rate", ["a", "b"], [0.5, 0.9])], y_format=".1%")
LINE = Chart("Hit rate", [Series("rate", [1, 2, 3], [0.5, 0.9, 0.1])], kind="line")


@pytest.fixture
def browser(monkeypatch):
    """The installed browser; CHROMIUM says which, as for the other tests in browsers."""
    named = os.environ.get("CHROMIUM")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = named or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        said = "no Chromium was found: install one, or point CHROMIUM at it"
        (pytest.fail if os.environ.get("TTA_REQUIRE_SERVICES") == "1" else pytest.skip)(said)
    monkeypatch.setenv("BROWSER_PATH", found)
    monkeypatch.setattr(png, "_SCALE", 1)  # a fourth of the pixels to look at


def picture(path):
    """Return a PNG's width, height and the colours in it that are neither grey nor near it."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    assert depth == 8
    step = {2: 3, 6: 4}[kind]
    packed, at = b"", 8
    while at < len(data):
        (size,), name = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        packed += data[at + 8 : at + 8 + size] if name == b"IDAT" else b""
        at += 12 + size
    colours = set()
    above = bytearray(width * step)
    raw, line = zlib.decompress(packed), width * step
    for row in range(height):
        start = row * (line + 1)
        above = unfiltered(raw[start], bytearray(raw[start + 1 : start + 1 + line]), above, step)
        pixels = zip(above[::step], above[1::step], above[2::step], strict=True)
        colours.update(rgb for rgb in pixels if max(rgb) - min(rgb) > 60)
    return width, height, colours


def unfiltered(kind, row, above, step):
    """Undo the filter of a row, as the PNG specification has it (section 9.2)."""
    for i in range(len(row)):
        left, up = (row[i - step] if i >= step else 0), above[i]
        corner = above[i - step] if i >= step else 0
        guess = left + up - corner
        paeth = min((left, up, corner), key=lambda each: abs(guess - each))
        row[i] = (row[i] + (0, left, up, (left + up) // 2, paeth)[kind]) & 255
    return row


@pytest.mark.browser
def test_a_folder_gets_one_picture_of_each_chart(browser, tmp_path):
    written = write_png([COST, RATE, LINE], tmp_path / "new" / "folder")
    assert [path.name for path in written] == [
        "cost_per_day_größer_kleiner.png",
        "hit_rate.png",
        "hit_rate_2.png",
    ]
    width, height, colours = picture(written[0])
    assert (width, height) == (900, 320)
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours
    assert (0xD5, 0x5E, 0x00) not in picture(written[1])[2]


@pytest.mark.browser
def test_a_file_gets_one_picture_of_all_also_while_a_loop_runs(browser, tmp_path):
    async def in_a_cell():
        return write_png([COST, RATE], tmp_path / "new" / "all.PNG")

    [path] = asyncio.run(in_a_cell())
    width, height, colours = picture(path)
    assert (width, height) == (900, 640)
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours


def test_the_browser_is_told_to_fetch_nothing(monkeypatch, capsys):
    kaleido = pytest.importorskip("kaleido")
    asked = {}
    monkeypatch.setattr(
        kaleido, "write_fig_from_object_sync", lambda figs, kopts: asked.update(kopts)
    )
    monkeypatch.setattr(sys, "stdin", io.StringIO("[]"))
    monkeypatch.setattr(os, "_exit", lambda code: asked.update(code=code))
    png_child.main()
    assert asked.pop("code") == 0
    assert capsys.readouterr().out == "\nnull\n"
    page = kaleido.PageGenerator(**asked).generate_index()
    assert "<script" in page
    assert "http" not in page


def test_without_charts_nothing_is_written(tmp_path):
    assert write_png([], tmp_path / "none") == []
    assert write_png([], tmp_path / "none.png") == []
    assert list(tmp_path.iterdir()) == []


def test_without_kaleido_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(png, "find_spec", lambda name: None if name == "kaleido" else True)
    with pytest.raises(ConfigurationError, match=r"pip install 'tta-notebook\[png\]'"):
        write_png([RATE], tmp_path)


def test_without_a_browser_it_says_what_to_install(tmp_path, monkeypatch):
    pytest.importorskip("kaleido")
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "nothing"))
    with pytest.raises(ConfigurationError, match=r"none was found.*BROWSER_PATH") as caught:
        write_png([RATE], tmp_path / "all.png")
    assert str(caught.value).startswith("all.png was to be drawn")


@pytest.mark.skipif(os.name == "nt", reason="a script is no program on Windows")
def test_a_browser_that_does_not_start_is_one_line(tmp_path, monkeypatch):
    pytest.importorskip("kaleido")
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(broken))
    with pytest.raises(WorkflowError, match="which failed") as caught:
        write_png([RATE], tmp_path / "all.png")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="a script is no program on Windows")
def test_a_browser_that_never_answers_is_ended(tmp_path, monkeypatch):
    pytest.importorskip("kaleido")
    idle = tmp_path / "chromium"
    # As Chromium does, it ends with the pipe through which it is spoken to.
    idle.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\ncat <&3 >/dev/null\n")
    idle.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(idle))
    monkeypatch.setattr(png, "_START_S", 8)
    monkeypatch.setattr(png, "_EACH_S", 0)
    threads = threading.active_count()
    with pytest.raises(WorkflowError, match="which failed"):
        write_png([RATE], tmp_path / "all.png")
    assert threading.active_count() == threads
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if is_gone(pid):
            break
        time.sleep(0.05)
    assert is_gone(pid)


def is_gone(pid):
    """Tell whether a process has ended; one that nobody has asked for yet has."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except ProcessLookupError:
        return True
