// Draws the charts of a page: each .chart holds its data as JSON, and is drawn again when its width changes.
// Text goes in as text, never as HTML.  A script after this one adds a kind of chart:
// cortex.kinds.NAME = (chart, data, width) => { chart.append(...); };
"use strict";
const cortex = (() => {
  const COLOURS = 10;
  const FONT = "12px system-ui, sans-serif";
  const LETTER = 12; // the height of a line of letters

  // Elements

  const fill = (node, attributes, children) => {
    for (const [key, value] of Object.entries(attributes)) {
      if (typeof value === "function") node.addEventListener(key, value);
      else if (value !== null && value !== undefined) node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  };
  const html = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  const label = (x, y, words, attributes = {}) => svg("text", { x, y, ...attributes }, words);
  const colour = (index) => `var(--c${index % COLOURS})`;

  const ruler = document.createElement("canvas").getContext("2d");
  ruler.font = FONT;
  const measure = (words) => ruler.measureText(words).width;
  const fit = (words, width) => {
    if (measure(words) <= width) return words;
    let count = words.length;
    while (count > 0 && measure(words.slice(0, count) + "…") > width) count -= 1;
    return words.slice(0, count) + "…";
  };

  // Numbers

  const digits = (value) => Math.floor(Math.log10(Math.abs(value)) + 1e-9);
  const number = (value, step = 0) => {
    if (value === 0) return "0";
    const whole = !step && Number.isInteger(value) && Math.abs(value) < 1e9;
    if (whole) return value.toLocaleString("en-US").replace("-", "−");
    const finest = step ? digits(step) : digits(value) - 4;
    const large = digits(value) >= 6 || digits(value) < -4;
    const words = large
      ? value.toExponential(Math.max(0, Math.min(20, digits(value) - finest)))
      : value.toLocaleString("en-US", {
          minimumFractionDigits: step ? Math.max(0, -finest) : 0,
          maximumFractionDigits: Math.max(0, -finest),
        });
    return words.replace("e+", "e").replaceAll("-", "−");
  };

  // Multiples of 1, 2 or 5 times a power of ten; the step may be no smaller than 1 where all numbers are whole.
  const evenly = (low, high, most, whole) => {
    const rough = (high - low) / most;
    const power = 10 ** Math.floor(Math.log10(rough));
    let step = [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999999) * power;
    if (whole) step = Math.max(1, step);
    const ticks = [];
    for (let i = Math.ceil(low / step - 1e-6); i <= high / step + 1e-6; i += 1) {
      ticks.push([i * step, number(i * step, step)]);
    }
    return ticks;
  };
  const byDecades = (low, high, most) => {
    const first = Math.ceil(Math.log10(low) - 1e-9);
    const last = Math.floor(Math.log10(high) + 1e-9);
    if (last - first < 1) return evenly(low, high, most, false).filter(([at]) => at > 0);
    const every = Math.ceil((last - first + 1) / most);
    const ticks = [];
    for (let i = first; i <= last; i += every) ticks.push([10 ** i, number(10 ** i, 10 ** i)]);
    return ticks;
  };

  const range = (values) => {
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    const room = high - low > 1e-9 * Math.max(Math.abs(low), Math.abs(high)) ? 0 : Math.abs(low) * 0.1 || 1;
    return [low - room, high + room];
  };
  const widened = ([low, high], log) => {
    const part = log && 10 ** (0.04 * (Math.log10(high) - Math.log10(low)));
    if (log) return [Math.max(low / part, Number.MIN_VALUE), Math.min(high * part, Number.MAX_VALUE)];
    return [low - 0.04 * (high - low), high + 0.04 * (high - low)];
  };
  const scale = ([low, high], from, to, log) => {
    const bend = log ? Math.log10 : (value) => value;
    const step = (to - from) / (bend(high) - bend(low));
    return (value) => from + (bend(value) - bend(low)) * step;
  };

  // Axes: the space inside of them, and where a number lies in it.

  const axes = (width, height, facts) => {
    const { xs, ys, xName = "", yName = "", log = false, whole = false, above = 0, ticks = true } = facts;
    const top = 8 + above + (yName ? 18 : 0);
    const bottom = height - (ticks ? 22 : 4) - (xName ? 18 : 0);
    const most = Math.max(2, Math.floor((bottom - top) / 28));
    const rows = ticks ? (log ? byDecades(...ys, most) : evenly(...ys, most, false)) : [];
    const left = 8 + Math.max(0, ...rows.map(([, words]) => measure(words)));
    let columns = [];
    for (let n = Math.max(1, Math.floor((width - left) / 40)); ticks && n > 0; n -= 1) {
      columns = evenly(...xs, n, whole);
      const widest = Math.max(0, ...columns.map(([, words]) => measure(words)));
      if (columns.length * (widest + 14) <= width - left) break;
    }
    const right = width - 8 - Math.max(0, ...columns.map(([, words]) => measure(words) / 2));
    const x = scale(xs, left, right);
    const y = scale(ys, bottom, top, log);
    const node = svg("svg", { width, height });
    for (const [at, words] of rows) {
      node.append(svg("line", { class: "rule", x1: left, x2: right, y1: y(at), y2: y(at) }));
      node.append(label(left - 6, y(at) + 4, words, { class: "tick", "text-anchor": "end" }));
    }
    const middle = { "text-anchor": "middle" };
    for (const [at, words] of columns) node.append(label(x(at), bottom + 17, words, { class: "tick", ...middle }));
    if (ticks) node.append(svg("line", { class: "rule", x1: left, x2: right, y1: bottom, y2: bottom }));
    if (yName) node.append(label(0, LETTER, fit(yName, width)));
    if (xName) node.append(label((left + right) / 2, height - 4, fit(xName, right - left), middle));
    return { node, x, y, left, right, top, bottom };
  };

  // What the pointer shows, beside it and inside of the chart.

  const tip = (chart) => {
    const box = html("div", { class: "tip", role: "status", hidden: "" });
    chart.append(box);
    return {
      hide: () => { box.hidden = true; },
      show: (x, y, ...children) => {
        box.replaceChildren(...children);
        box.hidden = false;
        const beside = x + 14 + box.offsetWidth <= chart.clientWidth ? x + 14 : x - 14 - box.offsetWidth;
        box.style.left = `${Math.max(0, Math.min(beside, chart.clientWidth - box.offsetWidth))}px`;
        const below = y + box.offsetHeight <= chart.clientHeight;
        box.style.top = `${below ? y : Math.max(0, y - 24 - box.offsetHeight)}px`;
      },
    };
  };

  const swatch = (content) =>
    svg("svg", { width: 18, height: 12, viewBox: "-9 -6 18 12", "aria-hidden": "true" }, content);

  const thumb = (sprite, index, caption, longest) => {
    const many = Math.max(1, Math.round(longest / Math.max(sprite.width, sprite.height)));
    const [width, height] = [sprite.width * many, sprite.height * many];
    const [row, column] = [Math.floor(index / sprite.columns), index % sprite.columns];
    const node = html("span", { class: `thumb ${sprite.name}`, role: "img", "aria-label": caption });
    node.style.cssText = `width:${width}px;height:${height}px;` +
      `background-size:${sprite.columns * width}px ${sprite.rows * height}px;` +
      `background-position:${-column * width}px ${-row * height}px`;
    return node;
  };

  // The page

  const kinds = {};

  const draw = (chart, again = false) => {
    const width = Math.floor(chart.clientWidth);
    if (!width || !kinds[chart.dataset.kind] || (chart.drawn === width && !again)) return;
    chart.drawn = width;
    const source = chart.querySelector("script");
    chart.facts ??= JSON.parse(source.textContent);
    chart.replaceChildren(source);
    kinds[chart.dataset.kind](chart, chart.facts, width);
  };

  // A table that is wider than its place shows its rows as cards.
  const lay = (table) => {
    const width = table.clientWidth;
    if (!width || table.laid === width) return;
    table.laid = width;
    table.classList.add("laid");
    table.classList.remove("cards");
    table.classList.toggle("cards", table.scrollWidth > width);
  };

  const watch = new ResizeObserver((entries) => {
    for (const { target } of entries) target.matches(".chart") ? draw(target) : lay(target);
  });

  // Draws the charts of a page or of what was put into it.
  const start = (root = document) => {
    for (const chart of root.querySelectorAll(".chart")) { draw(chart); watch.observe(chart); }
    for (const table of root.querySelectorAll(".wide")) { lay(table); watch.observe(table); }
  };
  const repaint = () => document.querySelectorAll(".chart").forEach((chart) => draw(chart, true));

  document.addEventListener("DOMContentLoaded", () => start());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  return {
    draw: start, redraw: (chart) => draw(chart, true), kinds, fill, html, svg, label, swatch, colour, COLOURS, LETTER,
    measure, fit, number, range, widened, scale, axes, tip, thumb,
  };
})();
