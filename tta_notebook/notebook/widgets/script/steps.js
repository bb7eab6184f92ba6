// The table of steps: in order, walked with the keys, the failing one in sight.

class Steps {
  constructor(root, ask) {
    this.rows = new Map();
    this.ask = ask;
    this.box = root.appendChild(make("div", "tta-steps"));
    this.table = this.box.appendChild(make("table"));
    this.table.setAttribute("aria-label", "Steps: arrow keys walk, Enter opens, Escape closes, + − 0 zoom the time line");
    this.table.innerHTML =
      '<thead><tr><th scope="col">step</th><th scope="col" aria-label="time line" class="tta-time"><div class="tta-axis"><span></span><span class="tta-zoom"></span><span></span></div></th>' +
      '<th scope="col">time</th><th scope="col"></th><th scope="col"></th></tr></thead>';
    const [begin, zoom, end] = this.table.querySelectorAll(".tta-axis span");
    Object.assign(this, { begin, end });
    [, , , this.tokens, this.costs] = this.table.querySelectorAll("th");
    this.axis = new Axis(this.box, () => this.draw());
    zoom.append(
      button("−", "Zoom out", () => this.axis.zoom(2)),
      button("+", "Zoom in", () => this.axis.zoom(0.5)),
      button("0", "Show the whole time", () => this.axis.all()),
    );
    this.box.addEventListener("keydown", (event) => this.key(event));
  }

  show(rows, order) {
    const toggle = (row) => this.toggle(row);
    for (const data of rows) {
      if (!this.rows.has(data.id)) this.rows.set(data.id, new Row(toggle));
      this.rows.get(data.id).update(data);
      if (data.tokens) this.tokens.textContent = "tokens in → out";
      if (data.cost) this.costs.textContent = "cost";
    }
    if (order) this.arrange(order);
  }

  arrange(order) {
    const kept = new Set(order);
    for (const [id, row] of this.rows) if (!kept.has(id)) (row.node.remove(), this.rows.delete(id));
    let last = this.table.tHead;
    for (const { node } of (this.walk = order.map((id) => this.rows.get(id)))) {
      if (last.nextSibling !== node) last.after(node);
      last = node;
    }
    if (!this.walk.some((row) => row.line.tabIndex === 0) && this.walk[0]) this.walk[0].line.tabIndex = 0;
  }

  draw(now = this.axis.now) {
    this.axis.now = Math.max(now, 1);
    this.begin.textContent = this.axis.from ? duration(this.axis.from) : "0";
    this.end.textContent = duration(this.axis.end);
    for (const row of this.rows.values()) row.tick(now, this.axis);
  }

  // Scrolls the table alone: the page stays where its reader is.
  reveal(id) {
    const row = this.rows.get(id);
    if (row) this.box.scrollTop = row.line.offsetTop - this.box.clientHeight / 2;
  }

  toggle(row) {
    const isOpen = this.open === row;
    this.close();
    if (isOpen || !row.data.status) return;
    this.open = row;
    row.explain("…");
    this.ask(row.data.id);
  }

  close() {
    this.open?.explain(null);
    this.open = null;
  }

  key(event) {
    const here = this.walk?.findIndex((row) => row.line === event.target) ?? -1;
    const go = (place) => () => this.focus(Math.min(Math.max(place, 0), this.walk.length - 1));
    const keys = {
      "+": () => this.axis.zoom(0.5),
      "=": () => this.axis.zoom(0.5),
      "-": () => this.axis.zoom(2),
      0: () => this.axis.all(),
      ArrowLeft: () => this.axis.shift(-0.25),
      ArrowRight: () => this.axis.shift(0.25),
      Escape: () => this.close(),
    };
    if (here >= 0)
      Object.assign(keys, {
        ArrowDown: go(here + 1),
        ArrowUp: go(here - 1),
        Home: go(0),
        End: go(Infinity),
        Enter: () => this.toggle(this.walk[here]),
      });
    if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  }

  focus(place) {
    for (const row of this.walk) row.line.tabIndex = -1;
    const { line } = this.walk[place];
    line.tabIndex = 0;
    line.focus();
  }
}
