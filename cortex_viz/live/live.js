// Keeps the page of a training up to date: each event holds the entries of the board that changed.
// All text, and all HTML, is made by Python; here it is only put where it belongs.
"use strict";

(() => {
  const bar = document.querySelector(".live");
  const [state, answer, share] = ["p", "output", "progress"].map((name) => bar.querySelector(name));
  const buttons = [...bar.querySelectorAll("button")];
  const sections = document.querySelector(".sections");
  const base = location.pathname.replace(/\/?$/, "/");
  let said = state.textContent;
  let over = buttons[0].disabled;
  const events = over ? null : listen();

  function listen() {
    const source = new EventSource(`${base}events?since=${bar.dataset.version}`);
    source.onmessage = (event) => {
      const changed = JSON.parse(event.data);
      if (changed.bar) show(changed.bar);
      put(Object.entries(changed).filter(([key]) => key.startsWith("section ")));
      if (changed.order) arrange(changed.order);
    };
    source.onopen = () => connected(true);
    source.onerror = () => connected(over); // after the last word nobody is missed
    return source;
  }

  function connected(there) {
    bar.classList.toggle("lost", !there);
    state.textContent = there ? said : `The connection to the training is lost. Its last word: ${said}`;
    for (const button of buttons) button.disabled = over || !there;
  }

  function show(now) {
    said = state.textContent = now.text;
    share.value = now.share;
    if (now.over) {
      over = true;
      events.close();
      answer.textContent = ""; // of before: the bar has the last word
      for (const button of buttons) button.disabled = true;
    }
  }

  // A section keeps its height while it is replaced, so that nothing jumps below the reader's eyes.
  function put(changed) {
    for (const [key, html] of changed) {
      const holder = holderOf(key.slice("section ".length));
      const before = stateOf(holder);
      holder.style.minHeight = `${holder.offsetHeight}px`;
      holder.innerHTML = html;
      before.restore();
      holder.style.minHeight = "";
    }
  }

  // What the reader did to a section: cells and parts that are open, switches of charts, the focus.
  function stateOf(holder) {
    const charts = (root) => [...root.querySelectorAll(".chart")];
    const parts = (root) => [...root.querySelectorAll("details")];
    const kept = charts(holder).map(({ log, opened, hiddenGroups }) => ({ log, opened, hiddenGroups }));
    const open = parts(holder).map((part) => part.open);
    const focused = holder.contains(document.activeElement) ? document.activeElement.dataset.cell : undefined;
    return {
      restore() {
        parts(holder).forEach((part, i) => { part.open = open[i] ?? part.open; });
        charts(holder).forEach((chart, i) => Object.assign(chart, kept[i]));
        cortex.draw(holder);
        if (focused) holder.querySelector(`[data-cell="${focused}"]`)?.focus({ preventScroll: true });
      },
    };
  }

  function holderOf(id) {
    const found = [...sections.children].find((holder) => holder.id === id);
    if (found) return found;
    const made = document.createElement("section");
    made.id = id;
    sections.append(made);
    return made;
  }

  function arrange(order) {
    const here = [...sections.children];
    for (const holder of here) if (!order.includes(holder.id)) holder.remove();
    if (order.some((id, i) => sections.children[i] !== holderOf(id))) {
      for (const id of order) sections.append(holderOf(id));
    }
  }

  for (const button of buttons) {
    button.onclick = async () => {
      button.disabled = true;
      answer.textContent = button.dataset.waiting;
      try {
        const reply = await fetch(base + button.dataset.wish, { method: "POST", headers: { "X-Cortex": "live" } });
        const told = await reply.text();
        answer.textContent = over ? "" : told;
      } catch {
        answer.textContent = over ? "" : "The training does not answer.";
      }
      button.disabled = over || bar.classList.contains("lost") || button.dataset.wish === "stop";
    };
  }
})();
