"""A real JupyterLab in a headless Chromium, driven like a person would and watched closer."""

import time

import nbformat

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
    """A page of the shared JupyterLab, on a folder of its own.

    `console_errors` and `outside` collect what a test asserts to be empty: errors on the console
    and requests that would have left the machine.
    """

    def __init__(self, bench, name, *, pictures, width=1280, height=900):
        self.folder = bench.server.new_folder(name)
        self.console_errors = []
        self.outside = []
        self._bench = bench
        self._pictures = pictures
        self._size = {"width": width, "height": height}

    def __enter__(self):
        self.page = self._bench.new_page()
        self.page.set_viewport_size(self._size)
        self.page.on("request", self._watch_request)
        self.page.on("console", self._watch_console)
        self.page.on("pageerror", lambda error: self.console_errors.append(str(error)))
        return self

    def __exit__(self, *_):
        self.page.close()
        self._bench.server.end_kernels()

    def _watch_request(self, request):
        base = self._bench.server.lab.base_url
        ours = (base, base.replace("http", "ws", 1))
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
        address = self._bench.server.lab.url(f"{self.folder.name}/{name}")
        self.page.goto(f"{address}&reset", wait_until="domcontentloaded")
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
        if self.page.locator("body[data-jp-theme-light=false]").count():
            self.theme("JupyterLab Light")  # a test before this one has left it dark

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
        if self._pictures is not None:
            shown = self.page.locator(selector).first if selector else self.page
            shown.screenshot(path=self._pictures / f"{name}.png")

    def screenshot_whole(self, name):
        """Take a picture of the whole notebook, as tall as it is."""
        if self._pictures is None:
            return
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
        self.screenshot(name)
        self.page.set_viewport_size(self._size)
