"""A map over two workers in JupyterLab: its items are seen live, and Cancel reaches the workers."""

import pytest

pytest.importorskip("distributed", reason="the extra dask is not installed")
pytestmark = pytest.mark.browser

# Each item leaves a sign in the journal when it begins.
WORK = """\
%load_ext tta_notebook
import asyncio, os
from tta_notebook import LambdaPrimitive

async def fetch(n):
    with open("journal", "a") as file:
        file.write("+")
    await asyncio.sleep(0.4)
    return {"page": n}

def count(page):
    return page["page"] + 1

work = LambdaPrimitive(fetch) >> count
"""
LIVE = ".tta-live"
RECORD = ".tta-run:not(.tta-live)"
WORKER = "on 127.0.0.1:"


def begun(lab):
    file = lab.folder / "journal"
    return file.stat().st_size if file.exists() else 0


def outputs(lab, number):
    return lab.save().cells[number]["outputs"]


def in_both_themes(lab, name, *, is_whole=False):
    for theme in ("Light", "Dark"):
        lab.theme(f"JupyterLab {theme}")
        take = lab.screenshot_whole if is_whole else lab.screenshot
        take(f"{name}-{theme.lower()}")


def test_items_are_seen_live_and_the_record_says_where_they_ran(lab):
    sources = [
        "%tta_cluster start 2",
        "%tta_cluster map work range(10) --concurrency 2 --chunk 1",
        "%tta_cluster",
        "%tta_cluster stop",
    ]
    lab.open(lab.write("cluster.ipynb", WORK, *sources))
    lab.run_all(wait=False)
    live = lab.page.locator(LIVE)
    lab.until(lambda: live.count() == 1 and live.inner_text().count(WORKER) >= 2)
    assert "● running" in live.inner_text()
    in_both_themes(lab, "cluster-live")
    lab.until_idle()
    lab.until(lambda: live.count() == 0)
    record = lab.page.locator(RECORD).inner_text()
    assert record.count(WORKER) == 10
    in_both_themes(lab, "cluster-record", is_whole=True)
    table = lab.page.locator("table.tta-workers")
    assert table.locator("tbody tr").count() == 2
    *_, run = outputs(lab, 2)
    assert set(run["data"]) == {"text/plain", "text/html"}
    assert "→ [1, 2, 3, 4, 5, 6, 7, 8, ...]" in run["data"]["text/plain"]
    assert [output["text"] for output in outputs(lab, 4)] == ["Cluster: none is open.\n"]
    assert lab.console_errors == []
    assert lab.outside == []


def test_many_items_are_one_line_and_cancel_stops_them_on_the_workers(lab):
    sources = [
        "%tta_cluster start 2",
        "%tta_cluster map work range(5000) --concurrency 40 --chunk 20",
        "print('after')",
    ]
    lab.open(lab.write("cluster.ipynb", WORK, *sources))
    lab.run_all(wait=False)
    live = lab.page.locator(LIVE)
    many = " \N{MULTIPLICATION SIGN} work"
    lab.until(lambda: live.count() == 1 and many in live.inner_text() and begun(lab) > 60)
    in_both_themes(lab, "cluster-many")
    assert live.locator(".tta-line").count() < 10
    live.locator(".tta-cancel").click()
    lab.until_idle(30)
    stopped_at = begun(lab)
    assert stopped_at < 5000
    lab.page.wait_for_timeout(1_500)
    assert begun(lab) == stopped_at
    text = lab.cells()[2]["text"]
    assert "map work: cancelled after" in text
    assert "Traceback" not in text
    assert lab.cells()[3]["count"] is None  # what waits behind a cancelled run does not run
    in_both_themes(lab, "cluster-cancelled")
    assert lab.console_errors == []
    assert lab.outside == []
