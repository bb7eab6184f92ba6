// Which part of the time the waterfall shows: all of it, or a window that is zoomed and dragged.

class Axis {
  constructor(region, redraw) {
    this.now = 1;
    this.from = 0;
    this.to = null; // null: until now
    this.redraw = redraw;
    region.addEventListener("wheel", (event) => this.wheel(event, region), { passive: false });
    region.addEventListener("pointerdown", (event) => this.drag(event));
    region.addEventListener("dblclick", (event) => event.target.closest(".tta-time") && this.all());
  }

  get end() {
    return this.to ?? this.now;
  }

  at(ms) {
    return ((ms - this.from) / (this.end - this.from)) * 100;
  }

  all() {
    this.from = 0;
    this.to = null;
    this.redraw();
  }

  zoom(factor, around = 0.5) {
    const length = this.end - this.from;
    const next = length * factor;
    if (next >= this.now) return this.all();
    if (next < 0.01) return;
    this.place(this.from + (length - next) * around, next);
  }

  shift(share) {
    if (this.to !== null) this.place(this.from + share * (this.end - this.from), this.end - this.from);
  }

  place(from, length) {
    this.from = Math.min(Math.max(from, 0), Math.max(this.now - length, 0));
    this.to = this.from + length;
    this.redraw();
  }

  // A wheel over the page scrolls it: it zooms with Ctrl, or where someone works with the keys.
  wheel(event, region) {
    const cell = event.target.closest(".tta-time");
    if (!cell || !(event.ctrlKey || region.contains(document.activeElement))) return;
    event.preventDefault();
    const box = cell.getBoundingClientRect();
    this.zoom(event.deltaY > 0 ? 1.25 : 0.8, (event.clientX - box.left) / box.width);
  }

  drag(event) {
    const cell = event.target.closest(".tta-time");
    if (!cell || this.to === null) return;
    const { from, end } = this;
    const pull = (move) =>
      this.place(from - ((move.clientX - event.clientX) / cell.clientWidth) * (end - from), end - from);
    addEventListener("pointermove", pull);
    addEventListener("pointerup", () => removeEventListener("pointermove", pull), { once: true });
  }
}
