// How the live view makes nodes, and the figures it counts on by itself.

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

const button = (text, label, act) => {
  const node = make("button", "tta-button", text);
  node.type = "button";
  if (label) (node.title = label), node.setAttribute("aria-label", label);
  node.onclick = act;
  return node;
};

// The same units as in the static picture (figures.py).
const duration = (ms) => {
  if (ms < 0.9995) return `${(ms * 1000).toFixed(0)} µs`;
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${ms.toFixed(0)} ms`;
  if (ms < 59995) return `${(ms / 1000).toFixed(2)} s`;
  const s = Math.round(ms / 1000);
  return `${Math.floor(s / 60)} m ${s % 60} s`;
};

// A badge: its words, and a meter where it is about a share of something.
const chip = ({ text, tone, share }) => {
  const node = make("span", `tta-chip tta-${tone}`);
  if (share !== null) {
    const meter = node.appendChild(make("meter"));
    Object.assign(meter, { min: 0, max: 1, low: 0.8, high: 0.99, optimum: 0, value: share });
    meter.setAttribute("aria-hidden", "true");
  }
  node.append(text);
  return node;
};
