"""What all browser tests share: one JupyterLab, one Chromium."""

import json
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import sync_playwright

from tta_notebook.core.home import home
from tta_notebook.notebook.lab import Lab, running_lab

# No sandbox and no /dev/shm: containers have neither. Every name but the loopback address is
# unknown, so that a request that would leave the machine fails at once, and shows in `outside`.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]


@contextmanager
def running_browser(chromium):
    """Run a headless Chromium that reaches nothing but this machine."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def running_server(folder):
    """Run JupyterLab on a folder, with nobody's settings and nobody's history."""
    root, private = folder / "root", folder / "tta"
    root.mkdir()
    private.mkdir()
    # The local model's weights are not copied: 98 MB.
    (private / "models").symlink_to(home() / "models")
    with running_lab(
        root,
        is_private=True,
        options=["--LabApp.expose_app_in_browser=True"],
        environment={"TTA_HOME": str(private)},
    ) as lab:
        yield Server(lab, root)


@dataclass(frozen=True)
class Server:
    """A JupyterLab and the folder it is on."""

    lab: Lab
    root: Path

    def new_folder(self, name):
        """Make a folder for one test."""
        folder = self.root / name
        folder.mkdir()
        return folder

    def end_kernels(self):
        """Let every kernel end: the next test has the machine for itself."""
        for session in json.loads(self._ask("GET", "sessions")):
            self._ask("DELETE", f"sessions/{session['id']}")

    def _ask(self, method, what):
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.lab.base_url}/api/{what}",
            method=method,
            headers={"Authorization": f"token {self.lab.token}"},
        )
        # The machine's own address never goes through a proxy.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=60) as answer:
            return answer.read()


class Workbench:
    """The server, and a browser in which pages come and go.

    A page that finds JupyterLab's scripts in the browser's cache opens faster. Kernels, pages and
    folders are each test's own.
    """

    def __init__(self, server, browser):
        self.server = server
        self._pages = browser.new_context()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._pages.close()

    def new_page(self):
        """Open an empty page."""
        return self._pages.new_page()
