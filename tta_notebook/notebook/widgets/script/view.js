// The live view of one run. The kernel sends batches (widgets/live.py); time runs here between them.

class View {
  constructor(model, el) {
    this.model = model;
    this.streams = new Map();
    this.root = el.appendChild(make("div", "tta-run tta-live"));
    this.root.setAttribute("role", "group");
    // The notebook's own shortcuts would take the arrow keys, Enter and 0.
    this.root.dataset.lmSuppressShortcuts = "true";
    const head = this.root.appendChild(make("div", "tta-head"));
    this.name = head.appendChild(make("span", "tta-name"));
    this.state = head.appendChild(make("span", "tta-state tta-running", "● running"));
    this.facts = head.appendChild(make("span", "tta-soft"));
    this.budgets = head.appendChild(make("span"));
    this.hint = head.appendChild(make("span", "tta-soft tta-push"));
    this.pause = head.appendChild(button("Pause", "", () => this.ask(this.run.paused ? "resume" : "pause")));
    this.cancel = head.appendChild(button("Cancel", "", () => this.stop()));
    this.cancel.classList.add("tta-cancel");
    this.said = this.root.appendChild(make("div", "tta-said"));
    this.said.setAttribute("role", "status");
    this.said.setAttribute("aria-live", "polite");
    this.trouble = this.root.appendChild(make("div", "tta-answer tta-trouble"));
    this.trouble.hidden = true;
    this.text = this.root.appendChild(make("div", "tta-streams"));
    this.steps = new Steps(this.root, (id) => model.send({ type: "details", id }));
  }

  ask(type) {
    const hears = this.run?.cancel !== "interrupt";
    if (hears) this.model.send({ type });
    else this.hint.textContent = "This kernel hears no button now: use Interrupt (■).";
    return hears;
  }

  stop() {
    if (!this.ask("cancel")) return;
    this.cancel.disabled = true;
    this.cancel.textContent = "Cancelling…";
  }

  show({ run, rows, order, streams }) {
    const failed = this.run?.failed;
    this.run = run;
    this.base = performance.now() - run.ms;
    this.name.textContent = run.name;
    this.root.setAttribute("aria-label", `Live view of ${run.name}`);
    this.cancel.title = `Cancel ${run.name}: its steps are stopped and clean up`;
    this.pause.textContent = run.paused ? "Resume" : "Pause";
    this.pause.title = "No step begins while a run is paused";
    this.state.className = `tta-state tta-${run.status}`;
    this.state.textContent = run.paused ? "‖ paused" : `${MARKS[run.status]} ${run.status}`;
    this.budgets.replaceChildren(...run.budgets.map(chip));
    this.trouble.hidden = !run.trouble;
    this.trouble.textContent = run.trouble;
    this.steps.show(rows, order);
    if (run.failed && run.failed !== failed) this.steps.reveal(run.failed);
    this.pour(streams);
    this.announce();
    this.tick();
  }

  details({ id, text }) {
    const { open } = this.steps;
    if (open?.data.id === id) open.explain(text);
  }

  // The run is over, and this page was not there when its cell began: it shows the record here.
  end(html) {
    this.run = null;
    this.root.outerHTML = html;
  }

  pour(streams) {
    const kept = new Set(streams.map((stream) => stream.id));
    for (const [id, node] of this.streams) if (!kept.has(id)) (node.remove(), this.streams.delete(id));
    for (const { id, name, at, add } of streams) {
      if (!this.streams.has(id)) {
        const node = this.text.appendChild(make("div", "tta-answer"));
        node.append(make("span", "tta-soft tta-label", name), make("span"));
        this.streams.set(id, node);
      }
      const node = this.streams.get(id);
      const text = node.lastChild;
      text.textContent = at === 0 ? add : text.textContent + add;
      node.firstChild.hidden = streams.length < 2;
      node.scrollTop = node.scrollHeight;
    }
  }

  // At most every two seconds: a screen reader that is told ten times a second says nothing.
  announce() {
    const now = performance.now();
    if (now < this.quiet) return;
    const busy = this.steps.walk.filter(({ data }) => data.status === "running" && !data.group);
    const names = busy.slice(0, 3).map((row) => row.data.name);
    const said = this.run.trouble || (names.length ? `running: ${names.join(", ")}` : this.run.status);
    if (this.said.textContent === said) return;
    this.said.textContent = said;
    this.quiet = now + 2000;
  }

  tick() {
    if (!this.run) return;
    const now = performance.now() - this.base;
    this.facts.textContent = [duration(now), ...this.run.facts].join(" · ");
    this.steps.draw(now);
  }
}
