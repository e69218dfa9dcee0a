// Draws the charts of a page: each .chart holds its data as JSON, and is drawn again when its width changes.
// Text goes in as text, never as HTML.  Other scripts may add a kind: cortex.kinds.NAME = (chart, data, width) => ...
"use strict";
const cortex = (() => {
  const COLOURS = 7;
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
    const finest = step ? digits(step) : digits(value) - 4;
    const large = digits(value) >= 6 || digits(value) < -4;
    let words = large
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
    for (let i = Math.ceil(low / step - 1e-6); i <= high / step + 1e-6; i += 1) ticks.push([i * step, number(i * step, step)]);
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
    const room = low === high ? Math.abs(low) * 0.1 || 1 : 0;
    return [low - room, high + room];
  };
  const widened = ([low, high], log) => {
    if (log) return [low / (high / low) ** 0.04, high * (high / low) ** 0.04];
    return [low - 0.04 * (high - low), high + 0.04 * (high - low)];
  };
  const scale = ([low, high], from, to, log) => {
    const bend = log ? Math.log10 : (value) => value;
    const step = (to - from) / (bend(high) - bend(low));
    return (value) => from + (bend(value) - bend(low)) * step;
  };

  // Axes: the space inside of them, and where a number lies in it.

  const axes = (width, height, { xs, ys, xName = "", yName = "", log = false, whole = false, above = 0, ticks = true }) => {
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
    for (const [at, words] of columns) node.append(label(x(at), bottom + 17, words, { class: "tick", "text-anchor": "middle" }));
    if (ticks) node.append(svg("line", { class: "rule", x1: left, x2: right, y1: bottom, y2: bottom }));
    if (yName) node.append(label(0, LETTER, fit(yName, width)));
    if (xName) node.append(label((left + right) / 2, height - 4, fit(xName, right - left), { "text-anchor": "middle" }));
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
        box.style.top = `${y}px`;
      },
    };
  };

  const SHAPES = [ // of a point at (0, 0) with radius 1
    "M-1 0A1 1 0 1 1 1 0A1 1 0 1 1 -1 0Z",
    "M-.9 -.9H.9V.9H-.9Z",
    "M0 -1.2L1.15 .8H-1.15Z",
    "M0 -1.3L1.3 0L0 1.3L-1.3 0Z",
  ];
  const shape = (index) => SHAPES[Math.floor(index / COLOURS) % SHAPES.length];
  const swatch = (content) => svg("svg", { width: 18, height: 12, viewBox: "-9 -6 18 12", "aria-hidden": "true" }, content);
  const stroke = (series) => ({ stroke: colour(series.colour), "stroke-dasharray": series.dashed ? "6 4" : null });

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

  // Lines

  const known = (series, log) => series.x.flatMap((x, i) => {
    const y = series.y[i];
    return x === null || y === null || (log && y <= 0) ? [] : [[x, y]];
  });

  // A gap ends a line; a point between gaps is drawn as a point, for its line has no length.
  const trace = (series, { x, y }, log) => {
    let [path, open] = ["", false];
    const alone = [];
    const there = series.x.map((at, i) => at !== null && series.y[i] !== null && !(log && series.y[i] <= 0));
    series.x.forEach((at, i) => {
      if (there[i]) path += `${open ? "L" : "M"}${x(at).toFixed(2)} ${y(series.y[i]).toFixed(2)}`;
      if (there[i] && (series.points || (!there[i - 1] && !there[i + 1]))) alone.push([x(at), y(series.y[i])]);
      open = there[i];
    });
    return svg("g", { "data-name": series.name },
      svg("path", { class: "series", d: path, ...stroke(series) }),
      ...alone.map(([cx, cy]) => svg("circle", { cx, cy, r: 3, fill: colour(series.colour) })));
  };

  // Names of places on the x axis, in rows so that none lies on another; those without room are left out.
  const placed = (marks, x, left, right) => {
    const ends = [-Infinity, -Infinity, -Infinity];
    return marks.map(([at, words]) => {
      const wide = measure(words);
      const start = Math.max(left, Math.min(x(at) + 4, right - wide));
      const row = wide > right - left ? -1 : ends.findIndex((end) => end + 8 <= start);
      if (row >= 0) ends[row] = start + wide;
      return { at, words, start, row };
    });
  };

  const lines = (chart, data, width) => {
    const all = data.series.flatMap((series) => known(series, false));
    const positive = all.every(([, y]) => y > 0);
    const log = (chart.log ?? data.log) && all.some(([, y]) => y > 0);
    const drawn = data.series.flatMap((series) => known(series, log));
    const xs = range([...drawn.map(([x]) => x), ...data.marks.map(([at]) => at)]);
    const ys = widened(range(drawn.map(([, y]) => y)), log);
    const height = Math.round(Math.min(320, Math.max(220, width / 2)));
    const marks = data.marks.slice().sort(([a], [b]) => a - b);
    const above = 16 * (1 + Math.max(-1, ...placed(marks, scale(xs, 60, width - 20), 60, width - 20).map(({ row }) => row)));
    const whole = drawn.every(([x]) => Number.isInteger(x));
    const frame = axes(width, height, { xs, ys, xName: data.x, yName: data.y, log, whole, above });
    const { node, x, y, left, right, top, bottom } = frame;
    for (const { at, words, start, row } of placed(marks, x, left, right)) {
      const high = row < 0 ? top : top - above + 16 * row;
      node.append(svg("line", { class: "mark", x1: x(at), x2: x(at), y1: high, y2: bottom }));
      if (row >= 0) node.append(label(start, high + LETTER - 1, words, { class: "tick" }));
    }
    node.append(...data.series.map((series) => trace(series, frame, log)));

    const legend = html("ul", { class: "legend" });
    if (data.series.length > 1) {
      legend.append(...data.series.map((series) =>
        html("li", {}, swatch(svg("path", { class: "series", d: "M-9 0H9", ...stroke(series) })), series.name)));
    }
    const [lowest, highest] = range(all.map(([, value]) => value));
    if (data.log || (positive && highest > 3 * lowest)) {
      const change = () => { chart.log = !log; draw(chart, true); chart.querySelector(".switch").focus(); };
      legend.append(html("li", { class: "switch" },
        html("button", { type: "button", "aria-pressed": String(log), click: change }, "log scale")));
    }
    chart.append(...(legend.children.length ? [legend] : []), node);
    const names = data.series.map((series) => series.name).join(", ");
    node.setAttribute("role", "img");
    node.setAttribute("aria-label", `${data.y || names} by ${data.x || "step"}; the arrow keys show the values`);
    reading(chart, data, frame, log);
  };

  // The values at the x that is nearest to the pointer, or the next one by the arrow keys.
  const reading = (chart, data, { node, x, top, bottom }, log) => {
    const tables = data.series.map((series) => new Map(known(series, log).reverse()));
    const places = [...new Set(tables.flatMap((table) => [...table.keys()]))].sort((a, b) => a - b);
    const hair = svg("line", { class: "mark", y1: top, y2: bottom, visibility: "hidden" });
    node.append(hair);
    const box = tip(chart);
    let current = -1;
    const show = (index) => {
      current = Math.max(0, Math.min(index, places.length - 1));
      const at = places[current];
      fill(hair, { x1: x(at), x2: x(at), visibility: "visible" }, []);
      const rows = data.series.flatMap((series, i) => tables[i].has(at)
        ? [html("div", {}, swatch(svg("path", { class: "series", d: "M-9 0H9", ...stroke(series) })),
            `${series.name} ${number(tables[i].get(at))}`)]
        : []);
      box.show(x(at), node.offsetTop ?? top, html("div", {}, `${data.x} ${number(at)}`), ...rows);
    };
    const hide = () => { box.hide(); hair.setAttribute("visibility", "hidden"); current = -1; };
    const point = (event) => {
      const place = event.clientX - node.getBoundingClientRect().left;
      let best = 0;
      places.forEach((at, i) => { if (Math.abs(x(at) - place) < Math.abs(x(places[best]) - place)) best = i; });
      show(best);
    };
    const keys = { ArrowRight: () => show(current + 1), ArrowLeft: () => show(current < 0 ? places.length - 1 : current - 1),
      Home: () => show(0), End: () => show(places.length - 1), Escape: hide };
    const key = (event) => { if (keys[event.key]) { keys[event.key](); event.preventDefault(); } };
    fill(node, { tabindex: 0, pointermove: point, pointerdown: point, pointerleave: hide, blur: hide, keydown: key }, []);
  };

  // Points

  const scatter = (chart, data, width) => {
    const there = data.points.flatMap(([x, y], i) => (x === null || y === null ? [] : [i]));
    const named = Boolean(data.x || data.y);
    const height = Math.round(Math.min(600, Math.max(320, width * 0.75)));
    let xs = widened(range(there.map((i) => data.points[i][0])));
    let ys = widened(range(there.map((i) => data.points[i][1])));
    if (!named) { // an embedding: distances are alike in both directions
      const unit = Math.max((xs[1] - xs[0]) / (width - 16), (ys[1] - ys[0]) / (height - 12));
      const around = ([low, high], pixels) => [(low + high - unit * pixels) / 2, (low + high + unit * pixels) / 2];
      [xs, ys] = [around(xs, width - 16), around(ys, height - 12)];
    }
    const { node, x, y } = axes(width, height, { xs, ys, xName: data.x, yName: data.y, ticks: named });
    const hidden = (chart.hiddenGroups ??= new Set());
    const group = (i) => (data.groups ? data.groups[i] : 0);
    const canvas = html("canvas", { tabindex: 0, role: "img",
      "aria-label": `${there.length} points; the arrow keys go from one to the next` });
    const radius = there.length > 5000 ? 1.8 : there.length > 1000 ? 2.6 : 3.6;
    const xy = data.points.map(([a, b]) => [x(a), y(b)]);
    const paint = () => {
      const dots = window.devicePixelRatio || 1;
      [canvas.width, canvas.height] = [width * dots, height * dots];
      const style = getComputedStyle(chart);
      const pen = canvas.getContext("2d");
      pen.globalAlpha = 0.75;
      for (const i of there.filter((index) => !hidden.has(group(index)))) {
        pen.setTransform(dots * radius, 0, 0, dots * radius, dots * xy[i][0], dots * xy[i][1]);
        pen.fillStyle = style.getPropertyValue(`--c${group(i) % COLOURS}`);
        pen.fill(new Path2D(shape(group(i))));
      }
    };
    const toggle = (index) => (event) => {
      hidden[hidden.has(index) ? "delete" : "add"](index);
      event.currentTarget.setAttribute("aria-pressed", String(!hidden.has(index)));
      paint();
    };
    const used = new Set(there.map(group));
    const legend = html("div", { class: "legend" }, ...data.names.flatMap((name, i) => used.has(i)
      ? [html("button", { type: "button", "aria-pressed": String(!hidden.has(i)), click: toggle(i) },
          swatch(svg("path", { d: shape(i), transform: "scale(4.5)", fill: colour(i) })), name)]
      : []));
    canvas.style.cssText = `left:0;top:0;width:${width}px;height:${height}px`;
    const plot = html("div", {}, node, canvas);
    plot.style.position = "relative";
    chart.append(...(legend.children.length ? [legend] : []), plot);
    paint();
    choosing(plot, canvas, data, xy, () => there.filter((index) => !hidden.has(group(index))));
  };

  // The point nearest to the pointer, or the nearest one in the direction of an arrow key.
  const choosing = (plot, canvas, data, xy, shown) => {
    const ring = html("div", { class: "ring", hidden: "" });
    plot.append(ring);
    const box = tip(plot);
    let current = null;
    const hide = () => { box.hide(); ring.hidden = true; current = null; };
    const show = (index) => {
      current = index;
      const [left, top] = xy[index];
      ring.hidden = false;
      ring.style.left = `${left}px`;
      ring.style.top = `${top}px`;
      const name = data.groups && data.names[data.groups[index]];
      const words = [data.captions[index], name].filter(Boolean);
      if (!words.length) words.push(`${number(data.points[index][0])}, ${number(data.points[index][1])}`);
      const picture = data.sprite ? [thumb(data.sprite, index, words[0], 84)] : [];
      box.show(left, top + 12, ...picture, ...words.map((word) => html("div", {}, word)));
    };
    const nearest = (place, accept) => {
      let [best, least] = [null, Infinity];
      for (const i of shown()) {
        const [dx, dy] = [xy[i][0] - place[0], xy[i][1] - place[1]];
        if (dx * dx + dy * dy < least && accept(dx, dy)) [best, least] = [i, dx * dx + dy * dy];
      }
      return best;
    };
    const point = (event) => {
      const { left, top } = canvas.getBoundingClientRect();
      const found = nearest([event.clientX - left, event.clientY - top], (dx, dy) => dx * dx + dy * dy < 20 * 20);
      if (found === null) hide(); else if (found !== current) show(found);
    };
    const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
    const key = (event) => {
      if (event.key === "Escape") return hide();
      if (!ways[event.key]) return;
      event.preventDefault();
      const [wx, wy] = ways[event.key];
      const found = current === null
        ? nearest([canvas.clientWidth / 2, canvas.clientHeight / 2], () => true)
        : nearest(xy[current], (dx, dy) => dx * wx + dy * wy > Math.abs(dx * wy + dy * wx));
      if (found !== null) show(found);
    };
    fill(canvas, { pointermove: point, pointerdown: point, pointerleave: hide, blur: hide, keydown: key }, []);
  };

  // The confusion matrix

  const matrix = (chart, data, width) => {
    const count = data.names.length;
    const head = Math.min(width * 0.3, 140, Math.max(48, 8 + Math.max(...data.names.map(measure))));
    const size = Math.min(44, (width - head - 2) / count);
    const every = Math.ceil(16 / size); // names of all rows where there is room, else of every so many
    const turned = data.names.some((name) => measure(name) > every * size - 4);
    const numbered = size >= 16 && Math.max(...data.cells.map(([, , n]) => measure(number(n)))) <= size - 3;
    const grid = html("div", { class: "matrix", role: "group", keydown: (event) => wander(grid, event),
      "aria-label": `confusion matrix of ${count} classes; the arrow keys go from cell to cell, Enter opens one` });
    grid.style.gridTemplate = `auto auto repeat(${count}, ${size}px) / ${head}px repeat(${count}, ${size}px)`;
    const put = (node, row, column, many = 1, wide = 1) => {
      node.style.gridArea = `${row} / ${column} / span ${many} / span ${wide}`;
      grid.append(node);
      return node;
    };
    put(html("span", { class: "axis" }, fit("true ↓", head)), 1, 1);
    put(html("span", { class: "axis" }, fit("predicted →", width - head)), 1, 2, 1, count);
    put(html("span", { class: "ground" }), 3, 2, count, count);
    data.names.forEach((name, i) => {
      if (i % every || (i && i + every > count)) return;
      const many = Math.min(every, count - i);
      const kind = turned ? "column turned" : "column";
      put(html("bdi", { class: kind, title: name }, fit(name, turned ? 110 : every * size)), 2, i + 2, 1, many);
      put(html("bdi", { class: "row", title: name }, fit(name, head - 6)), i + 3, 1, many);
    });
    const panel = html("div", { class: "opened", "aria-live": "polite" });
    for (const [i, j, n] of data.cells) {
      const told = `true ${data.names[i]}, predicted ${data.names[j]}: ${n.toLocaleString("en-US")}`;
      const share = Math.sqrt(n / Math.max(1, data.totals[i]));
      const cell = html("button", { type: "button", class: `cell${share > 0.8 ? " dark" : ""}`, title: told, "aria-label": told,
        "aria-expanded": "false", "data-cell": `${i},${j}`, tabindex: -1,
        click: () => open(chart, data, cell, panel, told) }, numbered ? number(n) : "");
      cell.style.background = `rgba(var(--${i === j ? "plus" : "minus"}), ${Math.max(0.08, share).toFixed(3)})`;
      put(cell, i + 3, j + 2);
    }
    grid.querySelector("button").tabIndex = 0;
    chart.append(grid, panel);
    const cell = chart.opened && grid.querySelector(`[data-cell="${chart.opened}"]`);
    if (cell) cell.click();
  };

  // Opens what a cell stands for below the matrix; a second time closes it.
  const open = (chart, data, cell, panel, told) => {
    const before = chart.querySelector(".cell[aria-expanded=true]");
    if (before) before.setAttribute("aria-expanded", "false");
    panel.replaceChildren();
    chart.opened = null;
    if (before === cell) return;
    chart.opened = cell.dataset.cell;
    cell.setAttribute("aria-expanded", "true");
    const found = data.pictures[cell.dataset.cell] || [];
    const items = found.map((index) => html("li", {},
      ...(data.sprite ? [thumb(data.sprite, index, data.captions[index] || told, 56)] : []),
      html("bdi", {}, data.captions[index] || "")));
    panel.append(html("p", {}, told + (found.length ? "" : "; none of them is kept in this page")),
      html("ul", { class: "gallery" }, ...items));
  };

  const wander = (grid, event) => {
    const [down, right] = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key] || [];
    if (down === undefined) return;
    event.preventDefault();
    let [i, j] = event.target.dataset.cell.split(",").map(Number);
    const count = grid.style.gridTemplateRows ? Math.max(...[...grid.querySelectorAll(".cell")].flatMap((c) => c.dataset.cell.split(",").map(Number))) : 0;
    for (i += down, j += right; i >= 0 && j >= 0 && i <= count && j <= count; i += down, j += right) {
      const cell = grid.querySelector(`[data-cell="${i},${j}"]`);
      if (cell) { event.target.tabIndex = -1; cell.tabIndex = 0; cell.focus(); return; }
    }
  };

  // The page

  const kinds = { lines, scatter, matrix };

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
  return { draw: start, kinds, html, svg, label, axes, scale, evenly, number, measure, fit, tip, thumb, colour };
})();
