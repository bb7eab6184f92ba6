// One step, or many executions of one: its line, its badges and, when asked for, its details.

class Row {
  constructor(open) {
    this.node = make("tbody");
    this.line = this.node.appendChild(make("tr", "tta-line"));
    this.line.tabIndex = -1;
    const step = this.line.appendChild(make("td"));
    this.guides = step.appendChild(make("span", "tta-guides"));
    this.dot = step.appendChild(make("span", "tta-dot"));
    this.dot.setAttribute("role", "img");
    this.lane = step.appendChild(make("span", "tta-lane"));
    this.name = step.appendChild(make("span"));
    this.chips = step.appendChild(make("span"));
    const svg = this.line.appendChild(make("td", "tta-time")).appendChild(draw("svg", { role: "img" }));
    this.title = svg.appendChild(draw("title", {}));
    this.bar = svg.appendChild(draw("rect", { rx: 2, fill: "currentColor" }));
    this.time = this.line.appendChild(make("td"));
    this.tokens = this.line.appendChild(make("td"));
    this.cost = this.line.appendChild(make("td"));
    this.line.onclick = () => open(this);
  }

  update(data) {
    this.data = data;
    this.guides.textContent = data.guides;
    this.name.textContent = data.name;
    this.name.className = data.status ? (data.group ? "tta-group" : "") : "tta-soft";
    this.lane.textContent = data.lane[0];
    this.lane.title = data.lane[1];
    this.dot.hidden = !data.status;
    this.dot.className = `tta-dot tta-${data.status}`;
    this.dot.textContent = MARKS[data.status] || "";
    this.dot.setAttribute("aria-label", data.status);
    this.chips.replaceChildren(...(data.below ? [] : data.notes.map(chip)));
    this.more?.remove();
    if (data.below) {
      this.more = make("tr", "tta-more");
      const cell = this.more.appendChild(make("td"));
      cell.colSpan = 5;
      cell.append(make("span", "tta-guides", data.stem), make("div"));
      cell.lastChild.append(...data.notes.map(chip));
      this.line.after(this.more);
    }
    this.tokens.textContent = data.tokens;
    this.cost.textContent = data.cost;
    this.bar.style.display = data.status ? "" : "none";
    this.bar.setAttribute("class", `tta-${data.paint}${data.status === "running" ? " tta-busy" : ""}`);
    this.bar.setAttribute("y", data.group ? 6 : 3);
    this.bar.setAttribute("height", data.group ? 4 : 10);
    this.bar.setAttribute("fill-opacity", data.group ? 0.28 : 0.45);
  }

  // Draws the bar where the axis shows the time it took.
  tick(now, axis) {
    if (!this.data.status) return;
    const ms = this.data.ms ?? Math.max(now - this.data.start, 0);
    const least = 0.4;
    const left = Math.min(axis.at(this.data.start), 100 - least);
    const width = Math.max(axis.at(this.data.start + ms) - left, least);
    this.bar.setAttribute("x", `${left}%`);
    this.bar.setAttribute("width", `${width}%`);
    const time = duration(ms);
    if (time === this.time.textContent) return;
    this.time.textContent = time;
    this.title.textContent = `${this.data.name}: ${this.data.status}, ${time}`;
  }

  explain(text) {
    this.details?.remove();
    this.details = text === null ? null : make("tr", "tta-details");
    this.line.setAttribute("aria-expanded", text !== null);
    if (text === null) return;
    const cell = this.details.appendChild(make("td"));
    cell.colSpan = 5;
    cell.append(make("pre", "", text));
    this.node.append(this.details);
  }
}
