// Paths of optimisers over the contour of a function; one slider moves them all, step by step.
// Stands after charts.js, to which it adds the kind `contour`.
"use strict";
(() => {
  const { html, svg, axes, number, tip, colour } = cortex;
  const NEAR = 24; // pixels from the pointer to the state that is told
  const SECONDS = 8; // of a whole replay
  const GAP = 65535; // where the function is not finite; heights are 0 to 65534

  const shown = (value) => (value === null ? "not finite" : number(value));
  const told = (path, k) =>
    `f ${shown(path.value[k])}, ${path.norm[k] === null ? "" : `gradient ${shown(path.norm[k])}, `}` +
    `x (${path.x[k].map(shown).join(", ")}${path.cut ? ", …" : ""})`;

  // The place in a path that its optimiser has reached at a step.
  const reached = (path, step) => {
    let k = 0;
    while (k + 1 < path.steps.length && path.steps[k + 1] <= step) k += 1;
    return k;
  };

  // The surface: bands between lines of equal value

  const rgb = (name) => {
    const pen = document.createElement("canvas").getContext("2d");
    pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    return [1, 3, 5].map((i) => parseInt(pen.fillStyle.slice(i, i + 2), 16));
  };

  // Which band each pixel lies in, by heights that are linear between those of the grid; -1 where there is none.
  const bandsOf = (grid, width, height) => {
    const bytes = new DataView(Uint8Array.from(atob(grid.heights), (letter) => letter.charCodeAt(0)).buffer);
    const heights = Uint16Array.from({ length: bytes.byteLength / 2 }, (_, at) => bytes.getUint16(2 * at, true));
    const bands = new Int16Array(width * height);
    for (let row = 0, at = 0; row < height; row += 1) {
      const y = (1 - (row + 0.5) / height) * (grid.height - 1);
      const j = Math.floor(y);
      for (let column = 0; column < width; column += 1, at += 1) {
        const x = ((column + 0.5) / width) * (grid.width - 1);
        const i = Math.floor(x);
        const corner = j * grid.width + i;
        const [a, b, c, d] = [0, 1, grid.width, grid.width + 1].map((more) => heights[corner + more]);
        const low = a + (b - a) * (x - i);
        const tall = low + (c + (d - c) * (x - i) - low) * (y - j);
        const band = Math.floor((tall - grid.first) / grid.spacing) + 1;
        bands[at] = Math.max(a, b, c, d) === GAP ? -1 : Math.max(0, Math.min(band, grid.lines));
      }
    }
    return bands;
  };

  const paint = (canvas, grid) => {
    const { width, height } = canvas;
    const bands = bandsOf(grid, width, height);
    const [page, ink] = [rgb("--page"), rgb("--soft")];
    const image = new ImageData(width, height);
    bands.forEach((band, at) => {
      if (band < 0) return;
      const line = at >= width && (band !== bands[at - 1] || band !== bands[at - width]);
      const share = 0.06 + 0.5 * (band / grid.lines) + (line ? 0.25 : 0);
      for (let c = 0; c < 3; c += 1) image.data[4 * at + c] = page[c] + share * (ink[c] - page[c]);
      image.data[4 * at + 3] = 255;
    });
    canvas.getContext("2d").putImageData(image, 0, 0);
  };

  // The paths, each as a whole in pale, and up to the step of the slider

  const strokeOf = (path) => ({ fill: "none", "stroke-width": 2, "stroke-linejoin": "round", stroke: colour(path.colour),
    "stroke-dasharray": path.dashed ? "6 4" : null });

  const track = (path, place) => {
    const points = path.at.map(place);
    const trail = svg("polyline", strokeOf(path));
    const marker = svg("circle", { class: "marker", "data-name": path.name, r: 6, fill: colour(path.colour), stroke: "var(--page)",
      "stroke-width": 1.5 });
    const whole = svg("polyline", { ...strokeOf(path), points: points.join(" "), opacity: 0.35 });
    const start = svg("circle", { cx: points[0][0], cy: points[0][1], r: 4, fill: "var(--page)", stroke: "currentColor" });
    const move = (step) => {
      const k = reached(path, step);
      trail.setAttribute("points", points.slice(0, k + 1).join(" "));
      for (const [key, value] of [["cx", points[k][0]], ["cy", points[k][1]], ["data-step", path.steps[k]]]) marker.setAttribute(key, value);
    };
    return { path, points, move, lines: [whole, trail, start], marker };
  };

  const contour = (chart, data, width) => {
    const frame = plane(data, Math.min(width, 760));
    const { node, x, y, left, right, top, bottom } = frame;
    const [wide, tall] = [right - left, bottom - top];
    const dots = window.devicePixelRatio || 1;
    const canvas = html("canvas", { width: Math.round(wide * dots), height: Math.round(tall * dots) });
    canvas.style.cssText = `left:${left}px;top:${top}px;width:${wide}px;height:${tall}px`;
    paint(canvas, data.grid);

    const place = ([a, b]) => [x(a) - left, y(b) - top];
    const tracks = data.paths.map((path) => track(path, place));
    const minima = data.minima.map((at) => {
      const [mx, my] = place(at);
      return svg("path", { class: "minimum", d: `M${mx - 8} ${my - 8}l16 16m0 -16l-16 16`, stroke: "currentColor", "stroke-width": 2 });
    });
    // An svg inside of the svg: what runs out of the picture is cut off at its edge.
    node.append(svg("svg", { x: left, y: top, width: wide, height: tall, style: "overflow:hidden" },
      ...tracks.flatMap(({ lines }) => lines), ...minima, ...tracks.map(({ marker }) => marker)));
    fill(node, { role: "img", "aria-label": `${data.title}: ${data.paths.map(({ name }) => name).join(", ")}` });
    node.style.cssText = "position:relative;touch-action:pan-y";

    const stage = html("div", {}, canvas, node);
    stage.style.position = "relative";
    const { side, show } = controls(chart, data, (step) => tracks.forEach(({ move }) => move(step)));
    chart.append(html("div", { class: "replay" }, stage, side));
    show(chart.at ?? data.steps.length - 1);
    pointing(stage, node, tracks, left, top);
  };

  const fill = (node, attributes) => Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));

  // Axes without rules, as high as units of equal length make it, within reason.
  const plane = (data, width) => {
    const [xs, ys] = [0, 1].map((i) => [data.low[i], data.high[i]]);
    const named = { xs, ys, xName: data.names[0], yName: data.names[1] };
    const { left, right, top } = axes(width, width, named);
    const ratio = Math.min(1, Math.max(0.6, (ys[1] - ys[0]) / (xs[1] - xs[0])));
    const frame = axes(width, Math.round((right - left) * ratio) + top + 40, named);
    frame.node.querySelectorAll(".rule").forEach((rule) => rule.remove());
    return frame;
  };

  // The slider, the button that moves it, and what each optimiser has reached.
  const controls = (chart, data, move) => {
    const play = html("button", { type: "button" }, "Play");
    const slider = html("input", { type: "range", min: 0, max: data.steps.length - 1, "aria-label": "step" });
    const output = html("output");
    const words = data.paths.map(() => html("span"));
    const states = html("ul", { class: "states" }, ...data.paths.map((path, i) => {
      const line = svg("path", { d: "M-9 0H9", ...strokeOf(path) });
      return html("li", {}, svg("svg", { width: 18, height: 12, viewBox: "-9 -6 18 12", "aria-hidden": "true" }, line),
        html("b", {}, path.name), words[i]);
    }));
    const end = data.steps.length - 1;
    const show = (at) => {
      const step = data.steps[at];
      chart.at = at;
      slider.value = at;
      output.textContent = `step ${number(step)} of ${number(data.steps[end])}`;
      slider.setAttribute("aria-valuetext", output.textContent);
      data.paths.forEach((path, i) => {
        const last = path.steps.at(-1);
        words[i].textContent = (step > last ? `ended at step ${number(last)}: ` : "") + told(path, reached(path, step));
      });
      move(step);
    };
    const rest = () => {
      chart.timer = clearInterval(chart.timer);
      play.textContent = "Play";
    };
    rest(); // what played on the chart as it was before
    slider.addEventListener("input", () => { rest(); show(Number(slider.value)); });
    play.addEventListener("click", () => {
      if (chart.timer) return rest();
      if (chart.at >= end) show(0);
      play.textContent = "Pause";
      const stride = Math.ceil(end / (25 * SECONDS));
      chart.timer = setInterval(() => {
        show(Math.min(end, chart.at + stride));
        if (chart.at >= end) rest();
      }, Math.min(400, (1000 * SECONDS * stride) / Math.max(1, end)));
    });
    return { side: html("div", {}, html("div", { class: "steps" }, play, slider, output), states), show };
  };

  // The state under the pointer.
  const pointing = (stage, node, tracks, left, top) => {
    const box = tip(stage);
    const point = (event) => {
      const frame = node.getBoundingClientRect();
      const [px, py] = [event.clientX - frame.left - left, event.clientY - frame.top - top];
      let [best, least] = [null, NEAR];
      for (const { path, points } of tracks) {
        points.forEach(([x, y], k) => {
          const far = Math.hypot(x - px, y - py);
          if (far < least) [best, least] = [[path, k], far];
        });
      }
      if (!best) return box.hide();
      const [path, k] = best;
      box.show(px + left, py + top + 14, html("div", {}, `${path.name}, step ${number(path.steps[k])}`), html("div", {}, told(path, k)));
    };
    for (const kind of ["pointermove", "pointerdown"]) node.addEventListener(kind, point);
    node.addEventListener("pointerleave", box.hide);
  };

  cortex.kinds.contour = contour;
})();
