
"use strict";
(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const get = (id) => document.getElementById(id);

  // --- filter ---
  const search = get("search");
  const which = get("which");
  const tiles = new Map(all(".thumbs a").map((tile) => [tile.dataset.of, tile]));
  const layers = all("table.layers > tbody > tr").map((row) => {
    const ident = row.dataset.of || row.id;
    const name = row.cells[0].textContent;
    const panel = row.dataset.of ? get(ident) : null;
    return { row, panel, text: name.toLowerCase(), flags: (row.dataset.f || "").split(" "), tile: tiles.get(ident) };
  });

  // The rows of a training run are the same layers: they follow the name that is typed.
  const series = all("table.series > tbody > tr");

  function show() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const layer of layers) {
      const hit = words.every((word) => layer.text.includes(word)) && (!which.value || layer.flags.includes(which.value));
      count += hit;
      for (const part of [layer.row, layer.panel, layer.tile]) if (part) part.hidden = !hit;
    }
    for (const row of series) row.hidden = !words.every((word) => row.cells[0].textContent.toLowerCase().includes(word));
    get("count").textContent = `${count} of ${layers.length} layers`;
  }
  search.addEventListener("input", show);
  which.addEventListener("change", show);

  // --- sort ---
  const NUMBER = /[-+−]?(\d[\d,]*)?\.?\d+/;
  const collator = new Intl.Collator("en", { numeric: true });
  function value(cell) {
    if (!cell) return null;
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    const text = cell.textContent.trim();
    if (text === "" || text === "–") return null;
    if (!cell.classList.contains("n")) return text;
    const found = text.match(NUMBER);
    return found ? Number(found[0].replace(/,/g, "").replace("−", "-")) : null;
  }
  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return collator.compare(String(a), String(b));
  }
  function sort(table, header) {
    const column = header.cellIndex;
    const body = table.tBodies[0];
    const numeric = header.classList.contains("n");
    const was = header.getAttribute("aria-sort");
    // Numbers begin with the largest; a third click brings the file's own order back.
    const steps = numeric ? ["descending", "ascending", null] : ["ascending", "descending", null];
    const now = steps[(steps.indexOf(was) + 1) % 3];
    for (const other of all("th[aria-sort]", table)) other.removeAttribute("aria-sort");
    if (now) header.setAttribute("aria-sort", now);
    const rows = Array.from(body.rows);
    rows.forEach((row, place) => { if (row.dataset.place === undefined) row.dataset.place = place; });
    const sign = now === "descending" ? -1 : 1;
    const keyed = rows.map((row) => ({
      row, place: Number(row.dataset.place), key: row.classList.contains("skipped") ? null : value(row.cells[column]),
    }));
    keyed.sort((a, b) => {
      if (!now) return a.place - b.place;
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.place - b.place;
      return sign * compare(a.key, b.key) || a.place - b.place;
    });
    body.append(...keyed.map((one) => one.row));
  }
  for (const table of all("table.sortable")) {
    for (const header of all("th", table)) {
      const button = header.querySelector("button");
      if (button) button.addEventListener("click", () => sort(table, header));
    }
  }

  // --- panels ---
  const meanings = new Map(all("#glossary dt").map((term) => [`#${term.id}`, term.nextElementSibling.textContent]));
  for (const panel of all("details.layer")) {
    panel.addEventListener("toggle", () => {
      for (const link of all(".blocks a", panel)) link.title = meanings.get(link.getAttribute("href")) || "";
    }, { once: true });
  }
  function reveal() {
    const target = location.hash.length > 1 && get(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const closed = target.closest("details");
    if (closed) closed.open = true;
    const line = closed && closed.querySelector("summary");
    if (line && target.classList.contains("body")) {
      line.focus({ preventScroll: true });
      closed.scrollIntoView();
    } else {
      target.scrollIntoView();
    }
  }
  window.addEventListener("hashchange", reveal);
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[href^='#']");
    if (link && link.getAttribute("href") === location.hash) reveal();
  });
  const openAll = (open) => { for (const layer of layers) if (layer.panel && !layer.panel.hidden) layer.panel.open = open; };
  get("open").addEventListener("click", () => openAll(true));
  get("close").addEventListener("click", () => openAll(false));

  // --- theme: the system's, or one that was chosen ---
  const themes = ["auto", "light", "dark"];
  const root = document.documentElement;
  const button = get("theme");
  function remembered(theme) {
    try { // a file opened from disk may have no storage
      if (theme === undefined) return localStorage.getItem("gcx-theme");
      localStorage.setItem("gcx-theme", theme);
    } catch { /* then it is forgotten */ }
    return null;
  }
  function paint(theme) {
    if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
    button.textContent = `theme: ${theme}`;
  }
  let theme = root.dataset.theme || remembered() || "auto";
  if (!themes.includes(theme)) theme = "auto";
  paint(theme);
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % 3];
    paint(theme);
    remembered(theme);
  });

  // --- keyboard ---
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape" && event.target === search && search.value) {
      search.value = "";
      show();
    }
  });

  get("bar").hidden = layers.length === 0;
  show();
  reveal();
})();
