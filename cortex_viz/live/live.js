// Keeps the page of a training up to date: each event holds the entries of the board that changed.
// All text, and all HTML, is made by Python; here it is only put where it belongs.
"use strict";

(() => {
  const bar = document.querySelector(".live");
  const [state, answer, share] = ["p", "output", "progress"].map((name) => bar.querySelector(name));
  const buttons = [...bar.querySelectorAll("button")];
  const sections = document.querySelector(".sections");
  const base = location.pathname.replace(/\/?$/, "/");
  const events = new EventSource(`${base}events?since=${bar.dataset.version}`);
  let said = state.textContent;
  let over = false;

  events.onmessage = (event) => {
    const changed = JSON.parse(event.data);
    if (changed.bar) show(changed.bar);
    put(Object.entries(changed).filter(([key]) => key.startsWith("section ")));
    if (changed.order) arrange(changed.order);
  };

  events.onopen = () => connected(true);

  events.onerror = () => {
    if (!over) connected(false);
  };

  function connected(there) {
    bar.classList.toggle("lost", !there);
    state.textContent = there ? said : `The connection to the training is lost. Its last word: ${said}`;
    for (const button of buttons) button.disabled = !there;
  }

  function show(now) {
    said = state.textContent = now.text;
    share.value = now.share;
    if (now.over) {
      over = true;
      events.close();
      for (const button of buttons) button.disabled = true;
    }
  }

  // First all HTML, then the charts: one section may hold the pictures that another one shows.
  function put(changed) {
    const holders = changed.map(([key, html]) => {
      const holder = holderOf(key.slice("section ".length));
      const open = holder.querySelector("[aria-expanded=true], [aria-pressed=true]");
      holder.innerHTML = html;
      return [holder, open && open.getAttribute("data-cell")];
    });
    for (const [holder, cell] of holders) {
      cortex.draw(holder);
      if (cell) holder.querySelector(`[data-cell="${CSS.escape(cell)}"]`)?.click();
    }
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
        answer.textContent = await reply.text();
      } catch {
        answer.textContent = "The training does not answer.";
      }
      button.disabled = over || (button.dataset.wish === "stop" && !bar.classList.contains("lost"));
    };
  }
})();
