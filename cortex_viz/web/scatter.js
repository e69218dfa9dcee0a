// Points, each with a picture and words where the pointer is.
"use strict";
(() => {
  const { COLOURS, axes, colour, fill, html, number, range, svg, swatch, thumb, tip, widened } = cortex;

  const SHAPES = [ // of a point at (0, 0) with radius 1
    "M-1 0A1 1 0 1 1 1 0A1 1 0 1 1 -1 0Z",
    "M-.9 -.9H.9V.9H-.9Z",
    "M0 -1.2L1.15 .8H-1.15Z",
    "M0 -1.3L1.3 0L0 1.3L-1.3 0Z",
  ];
  const shape = (index) => SHAPES[Math.floor(index / COLOURS) % SHAPES.length];

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
          swatch(svg("path", { d: shape(i), transform: "scale(4.5)", fill: colour(i) })), html("bdi", {}, name))]
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
    const hide = (event) => {
      if (event?.pointerType === "touch") return; // a finger leaves at once; what it asked for stays
      box.hide();
      ring.hidden = true;
      current = null;
    };
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

  cortex.kinds.scatter = scatter;
})();
