// The live view of one run. The kernel sends batches (widgets/live.py); time runs here between them.
// Nothing is kept in the model: a front end that (re)connects says "ready" and gets a snapshot.

const MARKS = { ok: "✓", error: "✗", cancelled: "■", running: "●" };
const SVG = "http://www.w3.org/2000/svg";

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

const draw = (tag, attributes) => {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
};

// The same units as in the static picture (rows.py).
const duration = (ms) => {
  if (ms < 0.9995) return `${(ms * 1000).toFixed(0)} µs`;
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${ms.toFixed(0)} ms`;
  if (ms < 59995) return `${(ms / 1000).toFixed(2)} s`;
  const s = Math.round(ms / 1000);
  return `${Math.floor(s / 60)} m ${s % 60} s`;
};

class Row {
  constructor() {
    this.node = make("tr");
    const step = this.node.appendChild(make("td"));
    this.guides = step.appendChild(make("span", "tta-guides"));
    this.dot = step.appendChild(make("span", "tta-dot"));
    this.dot.setAttribute("role", "img");
    this.name = step.appendChild(make("span"));
    this.chips = step.appendChild(make("span"));
    const svg = this.node.appendChild(make("td")).appendChild(draw("svg", { role: "img" }));
    this.title = svg.appendChild(draw("title", {}));
    this.bar = svg.appendChild(draw("rect", { rx: 2, fill: "currentColor" }));
    this.time = this.node.appendChild(make("td"));
    this.tokens = this.node.appendChild(make("td"));
    this.cost = this.node.appendChild(make("td"));
  }

  update(data) {
    this.data = data;
    this.guides.textContent = data.guides;
    this.name.textContent = data.name;
    this.name.className = data.status ? (data.group ? "tta-group" : "") : "tta-soft";
    this.dot.hidden = !data.status;
    this.dot.className = `tta-dot tta-${data.status}`;
    this.dot.textContent = MARKS[data.status] || "";
    this.dot.setAttribute("aria-label", data.status);
    this.chips.replaceChildren(...data.notes.map((note) => make("span", "tta-chip", note)));
    this.tokens.textContent = data.tokens;
    this.cost.textContent = data.cost;
    this.bar.style.display = data.status ? "" : "none";
    const paint = ["error", "cancelled"].includes(data.status) ? data.status : data.kind;
    this.bar.setAttribute("class", `tta-${paint}${data.status === "running" ? " tta-busy" : ""}`);
    this.bar.setAttribute("y", data.group ? 6 : 3);
    this.bar.setAttribute("height", data.group ? 4 : 10);
    this.bar.setAttribute("fill-opacity", data.group ? 0.28 : 0.45);
  }

  tick(now, total) {
    if (!this.data.status) return;
    const ms = this.data.ms ?? Math.max(now - this.data.start, 0);
    const left = Math.min((this.data.start / total) * 100, 99.6);
    this.bar.setAttribute("x", `${left}%`);
    this.bar.setAttribute("width", `${Math.min(Math.max((ms / total) * 100, 0.4), 100 - left)}%`);
    this.time.textContent = duration(ms);
    this.title.textContent = `${this.data.name}: ${this.data.status}, ${this.time.textContent}`;
  }
}

class View {
  constructor(model, el) {
    this.model = model;
    this.rows = new Map();
    this.streams = new Map();
    this.root = el.appendChild(make("div", "tta-run tta-live"));
    this.root.setAttribute("role", "group");
    const head = this.root.appendChild(make("div", "tta-head"));
    this.name = head.appendChild(make("span", "tta-name"));
    this.state = head.appendChild(make("span", "tta-state tta-running", "● running"));
    this.facts = head.appendChild(make("span", "tta-soft"));
    this.hint = head.appendChild(make("span", "tta-soft tta-push"));
    this.cancel = head.appendChild(make("button", "tta-cancel", "Cancel"));
    this.cancel.type = "button";
    this.cancel.onclick = () => this.stop();
    this.said = this.root.appendChild(make("div", "tta-said"));
    this.said.setAttribute("role", "status");
    this.said.setAttribute("aria-live", "polite");
    this.text = this.root.appendChild(make("div", "tta-streams"));
    const table = this.root.appendChild(make("table"));
    table.innerHTML =
      '<thead><tr><th scope="col">step</th><th scope="col" aria-label="time line"><div class="tta-axis"><span>0</span><span></span></div></th>' +
      '<th scope="col">time</th><th scope="col">tokens in → out</th><th scope="col"></th></tr></thead><tbody></tbody>';
    this.end = table.querySelector(".tta-axis span:last-child");
    this.costs = table.querySelector("th:last-child");
    this.body = table.querySelector("tbody");
  }

  stop() {
    if (this.run?.cancel === "interrupt") {
      this.hint.textContent = "This kernel cannot hear Cancel now: use Interrupt (■).";
      return;
    }
    this.cancel.disabled = true;
    this.cancel.textContent = "Cancelling…";
    this.model.send({ type: "cancel" });
  }

  show(message) {
    this.run = message.run;
    this.base = performance.now() - message.run.ms;
    this.name.textContent = message.run.name;
    this.root.setAttribute("aria-label", `Live view of ${message.run.name}`);
    this.cancel.title = `Cancel ${message.run.name}: its steps are stopped and clean up`;
    this.state.className = `tta-state tta-${message.run.status}`;
    this.state.textContent = `${MARKS[message.run.status]} ${message.run.status}`;
    for (const data of message.rows) {
      if (!this.rows.has(data.id)) this.rows.set(data.id, new Row());
      this.rows.get(data.id).update(data);
    }
    if (message.rows.some((row) => row.cost)) this.costs.textContent = "cost";
    if (message.order) this.arrange(message.order);
    this.pour(message.streams);
    this.announce();
    this.tick();
  }

  arrange(order) {
    order.forEach((id, place) => {
      const node = this.rows.get(id).node;
      if (this.body.children[place] !== node) this.body.insertBefore(node, this.body.children[place] ?? null);
    });
    while (this.body.children.length > order.length) this.body.lastChild.remove();
    const kept = new Set(order);
    for (const id of this.rows.keys()) if (!kept.has(id)) this.rows.delete(id);
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

  announce() {
    const busy = [...this.rows.values()].filter((row) => row.data.status === "running" && !row.data.group);
    const said = busy.length ? `running: ${busy.slice(0, 3).map((row) => row.data.name).join(", ")}` : this.run.status;
    if (this.said.textContent !== said) this.said.textContent = said;
  }

  tick() {
    if (!this.run) return;
    const now = performance.now() - this.base;
    const facts = [duration(now), this.run.steps];
    if (this.run.tokens) facts.push(`${this.run.tokens} tokens`);
    if (this.run.cost) facts.push(this.run.cost);
    this.facts.textContent = facts.join(" · ");
    this.end.textContent = duration(now);
    for (const row of this.rows.values()) row.tick(now, Math.max(now, 1));
  }
}

export default {
  // Runs when the model arrives, before anything is shown: the kernel learns that someone is there.
  // Said more than once: JupyterLab may open the way to a busy kernel (a subshell) only by and by.
  initialize({ model }) {
    const hello = () => model.send({ type: "hello" });
    hello();
    const timers = [300, 1000, 3000].map((ms) => setTimeout(hello, ms));
    const enough = () => timers.forEach(clearTimeout);
    model.on("msg:custom", enough);
    return enough;
  },
  render({ model, el }) {
    const view = new View(model, el);
    const hear = (message) => message.type === "state" && view.show(message);
    model.on("msg:custom", hear);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const timer = setInterval(() => view.tick(), calm ? 1000 : 100);
    model.send({ type: "ready" });
    return () => {
      clearInterval(timer);
      model.off("msg:custom", hear);
      el.replaceChildren();
    };
  },
};
