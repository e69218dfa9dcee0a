// A confusion matrix; a cell opens the pictures behind it.
"use strict";
(() => {
  const { fit, html, measure, number, thumb } = cortex;

  const matrix = (chart, data, width) => {
    const count = data.names.length;
    const head = Math.min(width * 0.3, 140, Math.max(48, 8 + Math.max(...data.names.map(measure))));
    const size = Math.min(44, (width - head - 2) / count);
    const every = Math.ceil(16 / size); // names of all rows where there is room, else of every so many
    const turned = data.names.some((name) => measure(name) > every * size - 4);
    const numbered = size >= 16 && Math.max(...data.cells.map(([, , n]) => measure(number(n)))) <= size - 6;
    const grid = html("div", { class: size < 10 ? "matrix fine" : "matrix", role: "group",
      "aria-label": `confusion matrix of ${count} classes; the arrow keys go from cell to cell, Enter opens one`,
      keydown: (event) => wander(grid, count, event) });
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
      const cell = html("button", { type: "button", class: share > 0.8 ? "cell dark" : "cell", "data-cell": `${i},${j}`,
        title: told, "aria-label": told, "aria-expanded": "false", tabindex: -1,
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

  // From a cell to the next one that there is in the direction of an arrow key.
  const wander = (grid, count, event) => {
    const ways = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
    if (!ways[event.key]) return;
    const [down, right] = ways[event.key];
    event.preventDefault();
    let [i, j] = event.target.dataset.cell.split(",").map(Number);
    for (i += down, j += right; i >= 0 && j >= 0 && i < count && j < count; i += down, j += right) {
      const cell = grid.querySelector(`[data-cell="${i},${j}"]`);
      if (!cell) continue;
      event.target.tabIndex = -1;
      cell.tabIndex = 0;
      cell.focus();
      return;
    }
  };

  cortex.kinds.matrix = matrix;
})();
