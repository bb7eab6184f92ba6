"""A real JupyterLab in a headless Chromium, driven like a person would and watched closer."""

import time
from contextlib import ExitStack
from pathlib import Path

import nbformat
from playwright.sync_api import sync_playwright

from tta_notebook.notebook.lab import running_lab

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
PATIENCE_MS = 120_000

CELLS = """() => window.jupyterapp.shell.currentWidget.content.widgets
  .filter(cell => cell.model.type === 'code')
  .map(cell => ({
    count: cell.model.executionCount,
    busy: (cell.node.querySelector('.jp-InputPrompt')?.textContent ?? '').includes('*'),
    outputs: cell.model.outputs.toJSON(),
    text: cell.outputArea.node.innerText,
  }))"""


class LabSession:
    """JupyterLab on a folder, one page open in the browser.

    `console_errors` and `outside` collect what a test asserts to be empty: errors on the console
    and requests that would have left the machine.
    """

    def __init__(self, folder, *, chromium, pictures, width=1280, height=900):
        self.folder = Path(folder)
        self.console_errors = []
        self.outside = []
        self._chromium = chromium
        self._pictures = Path(pictures)
        self._size = {"width": width, "height": height}
        self._stack = ExitStack()

    def __enter__(self):
        with ExitStack() as stack:
            options = ["--LabApp.expose_app_in_browser=True"]
            self.server = stack.enter_context(
                running_lab(self.folder, is_private=True, options=options)
            )
            playwright = stack.enter_context(sync_playwright())
            browser = playwright.chromium.launch(executable_path=self._chromium, args=FLAGS)
            stack.callback(browser.close)
            self.page = browser.new_page(viewport=self._size)
            self.page.on("request", self._watch_request)
            self.page.on("console", self._watch_console)
            self.page.on("pageerror", lambda error: self.console_errors.append(str(error)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _watch_request(self, request):
        ours = (self.server.base_url, self.server.base_url.replace("http", "ws", 1))
        if not request.url.startswith((*ours, "data:", "blob:")):
            self.outside.append(request.url)

    def _watch_console(self, message):
        if message.type == "error":
            self.console_errors.append(message.text)

    def write(self, name, *sources):
        """Write a notebook of code cells."""
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        for number, cell in enumerate(cells):
            cell["id"] = f"cell-{number}"
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(notebook, self.folder / name)
        return name

    def open(self, name):
        """Open a notebook and wait until its kernel is idle."""
        self.page.goto(f"{self.server.url(name)}&reset", wait_until="domcontentloaded")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=PATIENCE_MS)
        self.page.evaluate(
            """async () => {
                await window.jupyterapp.restored;
                await window.jupyterapp.shell.currentWidget.sessionContext.ready;
            }"""
        )
        self.page.wait_for_selector(
            ".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=PATIENCE_MS
        )

    def command(self, command, **arguments):
        """Execute a command of JupyterLab's without waiting for its end."""
        self.page.evaluate(
            "([id, args]) => { window.jupyterapp.commands.execute(id, args); }",
            [command, arguments],
        )

    def run_all(self, *, wait=True, timeout_s=120.0):
        """Run every cell; by default wait until none is busy."""
        self.command("notebook:run-all-cells")
        self.until(lambda: any(cell["busy"] or cell["count"] for cell in self.cells()))
        if wait:
            self.until_idle(timeout_s)

    def until_idle(self, timeout_s=120.0):
        """Wait until no cell is busy."""
        self.until(lambda: not any(cell["busy"] for cell in self.cells()), timeout_s)

    def until(self, holds, timeout_s=120.0):
        """Wait until `holds()` is true; return the seconds it took."""
        begun = time.monotonic()
        while not holds():
            assert time.monotonic() - begun < timeout_s, f"not within {timeout_s:g} s"
            self.page.wait_for_timeout(25)
        return time.monotonic() - begun

    def cells(self):
        """Return the code cells: count, busy, outputs (as they would be saved), text."""
        return self.page.evaluate(CELLS)

    def theme(self, name):
        """Switch to "JupyterLab Light" or "JupyterLab Dark"."""
        self.command("apputils:change-theme", theme=name)
        is_light = "false" if name.endswith("Dark") else "true"
        body = f"body[data-jp-theme-light={is_light}]"
        self.page.wait_for_selector(body, state="attached")
        self.page.wait_for_timeout(300)

    def interrupt(self):
        """Interrupt the kernel, as the stop button does."""
        self.command("notebook:interrupt-kernel")

    def save(self):
        """Save the notebook and return it as it lies on the disk."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        return nbformat.read(next(self.folder.glob("*.ipynb")), 4)

    def screenshot(self, name, selector=None):
        """Take a picture of the page, or of the first element that `selector` finds."""
        path = self._pictures / f"{name}.png"
        (self.page.locator(selector).first if selector else self.page).screenshot(path=path)
        return path

    def screenshot_whole(self, name):
        """Take a picture of the whole notebook, as tall as it is."""
        height = self.page.evaluate(
            "() => [...document.querySelectorAll('.jp-Notebook .jp-Cell')]"
            ".reduce((sum, cell) => sum + cell.getBoundingClientRect().height + 10, 200)"
        )
        self.page.set_viewport_size({**self._size, "height": min(int(height), 15_000)})
        self.page.evaluate(
            "() => document.querySelectorAll('.jp-WindowedPanel-outer')"
            ".forEach(panel => { panel.scrollTop = 0; })"
        )
        self.page.wait_for_timeout(400)
        path = self.screenshot(name)
        self.page.set_viewport_size(self._size)
        return path
