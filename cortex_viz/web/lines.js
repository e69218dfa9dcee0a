// Lines over common axes, with the values at an x where the pointer is.
"use strict";
(() => {
  const { LETTER, axes, colour, fill, html, label, measure, number, range, redraw, scale, svg, swatch, tip, widened } =
    cortex;

  const stroke = (series) => ({ stroke: colour(series.colour), "stroke-dasharray": series.dashed ? "6 4" : null });
  const sample = (series) => swatch(svg("path", { class: "series", d: "M-9 0H9", ...stroke(series) }));

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
  const placed = (marks, x, left, right, rows = 3) => {
    const ends = Array(rows).fill(-Infinity);
    return marks.map(([at, words]) => {
      const wide = measure(words);
      const start = x(at) + 4 + wide <= right ? x(at) + 4 : Math.max(left, x(at) - 4 - wide);
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
    const guessed = placed(marks, scale(xs, 60, width - 20), 60, width - 20); // before the axes are there
    const rows = 1 + Math.max(-1, ...guessed.map(({ row }) => row));
    const above = 16 * rows;
    const whole = drawn.every(([x]) => Number.isInteger(x));
    const frame = axes(width, height, { xs, ys, xName: data.x, yName: data.y, log, whole, above });
    const { node, x, y, left, right, top, bottom } = frame;
    for (const { at, words, start, row } of placed(marks, x, left, right, rows)) {
      const high = row < 0 ? top : top - above + 16 * row;
      node.append(svg("line", { class: "mark", x1: x(at), x2: x(at), y1: high, y2: bottom }));
      if (row >= 0) node.append(label(start, high + LETTER - 1, words, { class: "tick" }));
    }
    node.append(...data.series.map((series) => trace(series, frame, log)));

    const legend = html("ul", { class: "legend" });
    if (data.series.length > 1) {
      legend.append(...data.series.map((series) =>
        html("li", {}, sample(series), html("bdi", {}, series.name))));
    }
    const [lowest, highest] = range(all.map(([, value]) => value));
    if (data.log || (positive && highest > 3 * lowest)) {
      const change = () => { chart.log = !log; redraw(chart); chart.querySelector(".switch").focus(); };
      const words = { type: "button", class: "switch", "aria-pressed": String(log), click: change };
      legend.append(html("li", { class: "end" }, html("button", words, "log scale")));
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
    const last = places.length - 1;
    const hair = svg("line", { class: "mark", y1: top, y2: bottom, visibility: "hidden" });
    node.append(hair);
    const box = tip(chart);
    let current = -1;
    const show = (index) => {
      current = Math.max(0, Math.min(index, last));
      const at = places[current];
      fill(hair, { x1: x(at), x2: x(at), visibility: "visible" }, []);
      const rows = data.series.flatMap((series, i) => tables[i].has(at)
        ? [html("div", {}, sample(series), html("bdi", {}, series.name), number(tables[i].get(at)))]
        : []);
      const above = node.getBoundingClientRect().top - chart.getBoundingClientRect().top;
      box.show(x(at), above + top, html("div", {}, `${data.x} ${number(at)}`), ...rows);
    };
    const hide = (event) => {
      if (event?.pointerType === "touch") return; // a finger leaves at once; what it asked for stays
      box.hide();
      hair.setAttribute("visibility", "hidden");
      current = -1;
    };
    const point = (event) => {
      const place = event.clientX - node.getBoundingClientRect().left;
      let best = 0;
      places.forEach((at, i) => { if (Math.abs(x(at) - place) < Math.abs(x(places[best]) - place)) best = i; });
      show(best);
    };
    const keys = { ArrowRight: () => show(current + 1), ArrowLeft: () => show(current < 0 ? last : current - 1),
      Home: () => show(0), End: () => show(last), Escape: () => hide() };
    const key = (event) => { if (keys[event.key]) { keys[event.key](); event.preventDefault(); } };
    const heard = { pointermove: point, pointerdown: point, pointerleave: hide, blur: hide, keydown: key };
    fill(node, { tabindex: 0, ...heard }, []);
  };

  cortex.kinds.lines = lines;
})();
