"use strict";
// Sorting, filtering and the lineage dialog. Everything from the statement goes into the page as text, never as HTML.
(function () {
  const data = JSON.parse(document.getElementById("solvent-statement").textContent);
  const FIGURES = new Map(Object.entries(data.figures));
  const TABLES = new Map(Object.entries(data.tables));
  const MORE = 100;
  const product = data.product || {};

  // What report/hostile.py shows escaped: controls, format characters, surrogates, private use, separators.
  const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
  function visible(text) {
    return String(text).replace(HIDDEN, (c) => {
      const code = c.codePointAt(0);
      const hex = code.toString(16);
      return code < 0x100 ? "\\x" + hex.padStart(2, "0") : code < 0x10000 ? "\\u" + hex.padStart(4, "0") : "\\U" + hex.padStart(8, "0");
    });
  }

  // The rules of report/numerals.py, on decimal text: digits are moved and rounded half-even as integers.
  const DECIMAL = /^(-?)(\d{1,400})(?:\.(\d{1,400}))?(?:[eE]([+-]?\d{1,3}))?$/;
  function decimal(value) {
    const m = value === null || value === undefined || typeof value === "boolean" ? null : DECIMAL.exec(String(value));
    if (!m) return null;
    const digits = BigInt(m[2] + (m[3] || ""));
    return { negative: m[1] === "-", digits, exponent: Number(m[4] || 0) - (m[3] || "").length };
  }
  const adjusted = (n) => n.digits.toString().length - 1 + n.exponent;
  const isZero = (n) => n.digits === 0n;
  const atLeast = (n, exponent) => !isZero(n) && adjusted(n) >= exponent;
  function fixed(n, places) {
    // The absolute value with exactly `places` places.
    const shift = n.exponent + places;
    let scaled;
    if (shift >= 0) scaled = n.digits * 10n ** BigInt(shift);
    else {
      const unit = 10n ** BigInt(-shift);
      const twice = (n.digits % unit) * 2n;
      scaled = n.digits / unit;
      if (twice > unit || (twice === unit && scaled % 2n === 1n)) scaled += 1n;
    }
    const text = scaled.toString().padStart(places + 1, "0");
    return places ? text.slice(0, -places) + "." + text.slice(-places) : text;
  }
  function grouped(n, places) {
    const [head, tail] = fixed(n, places).split(".");
    const body = head.replace(/\B(?=(\d{3})+$)/g, ",") + (tail ? "." + tail : "");
    return (n.negative ? "−" : "") + body;
  }
  function scientific(n) {
    const shown = fixed({ digits: n.digits, exponent: n.exponent - adjusted(n) }, 1);
    return shown.startsWith("10") ? "1.0e" + (adjusted(n) + 1) : shown + "e" + adjusted(n);
  }
  const isWhole = (n) => n.exponent >= 0 || n.digits % 10n ** BigInt(-n.exponent) === 0n;
  function money(n) {
    if (isZero(n)) return "$0";
    const sign = n.negative ? "−" : "";
    const size = { ...n, negative: false };
    if (!atLeast(n, -9)) return sign + "$" + scientific(n);
    if (atLeast(n, 6)) return sign + "$" + grouped(size, 0);
    if (atLeast(n, 0)) return sign + "$" + grouped(size, 2);
    const [head, tail] = fixed(n, Math.max(2, 2 - adjusted(n))).split(".");
    return sign + "$" + head + "." + tail.slice(0, 2) + tail.slice(2).replace(/0+$/, "");
  }
  function percent(n) {
    const p = { ...n, exponent: n.exponent + 2 };
    const hundred = isWhole(p) && fixed(p, 0) === "100";
    if (isZero(p) || hundred) return grouped(p, 0) + "%";
    if (!atLeast(p, -6)) return (n.negative ? "−" : "") + scientific(p) + "%";
    return grouped(p, atLeast(p, -1) ? 1 : 1 - adjusted(p)) + "%";
  }
  function compact(n) {
    for (const [limit, shift, letter] of [[13, 12, "T"], [10, 9, "B"], [7, 6, "M"]])
      if (atLeast(n, limit)) return grouped({ ...n, exponent: n.exponent - shift }, 1) + letter;
    return grouped(n, isWhole(n) ? 0 : 1);
  }
  function significant(n, digits) {
    if (isZero(n)) return "0";
    if (!atLeast(n, -9)) return (n.negative ? "−" : "") + scientific(n);
    const text = grouped(n, Math.max(0, digits - 1 - adjusted(n)));
    return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  }
  function human(value, unit) {
    if (value === null || value === undefined) return "unknown";
    const n = decimal(value);
    if (!n) return visible(value);
    if (["usd", "usd/output", "usd/request", "usd/usd", "usd/month", "usd/day", "usd/h"].includes(unit)) return money(n);
    if (unit === "share") return percent(n);
    if (unit === "tok" || unit === "tok/output") return compact(n);
    if (unit === "µs") return grouped({ ...n, exponent: n.exponent - 6 }, 1) + " s";
    if (unit === "count" || unit === "outputs/month") return grouped(n, isWhole(n) ? 0 : 2);
    return significant(n, 3);
  }
  function unitWords(unit) {
    const output = product.output || "output";
    const words = {
      "usd/output": "per " + output, "tok/output": "tokens per " + output, "usd/request": "per request", "usd/usd": "per $1",
      "usd/month": "per month", "usd/day": "per day", "usd/h": "per hour", "outputs/month": (product.output_plural || output + "s") + " per month", tok: "tokens", days: "days",
    };
    return Object.hasOwn(words, unit) ? words[unit] : "";
  }

  const SVG = "http://www.w3.org/2000/svg";
  function el(name, attributes, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) if (value !== null && value !== undefined) node.setAttribute(key, value);
    for (const child of children.flat(Infinity)) if (child !== null && child !== undefined) node.append(typeof child === "string" ? visible(child) : child);
    return node;
  }
  function bar(value) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", "inbar");
    svg.setAttribute("viewBox", "0 0 64 8");
    svg.setAttribute("aria-hidden", "true");
    for (const [kind, width] of [["f-rule", 64], ["f-bar", Math.max(0, Math.min(1, Number(value))) * 64]]) {
      const rect = document.createElementNS(SVG, "rect");
      rect.setAttribute("class", kind);
      rect.setAttribute("width", width);
      rect.setAttribute("height", 8);
      svg.append(rect);
    }
    return svg;
  }

  // Tables -----------------------------------------------------------------------------------------------------
  const isText = (column) => column.unit === "text";
  const isNegative = (value) => { const n = decimal(value); return n !== null && n.negative && !isZero(n); };
  function cell(value, column, bars) {
    if (isText(column)) return el("td", { class: "text" }, el("bdi", null, value === null || value === undefined ? "" : String(value)));
    const td = el("td");
    if (value === null || value === undefined) td.append(el("span", { class: "unknown", title: "unknown, which isn't zero" }, "–"));
    else {
      if (bars && column.key === "cost_share" && decimal(value)) td.append(bar(value));
      const kind = isNegative(value) ? "num negative" : "num";
      td.append(el("button", { type: "button", class: kind, "data-key": column.key, tabindex: "-1", title: visible(value) }, human(value, column.unit)));
    }
    return td;
  }

  function grid(node) {
    const name = node.dataset.table;
    const table = TABLES.get(name);
    const state = { key: null, down: false, text: "", which: "", n: node.tBodies[0].rows.length };
    const indexOf = new Map(table.columns.map((column, i) => [column.key, i]));
    const shown = [...node.tHead.querySelectorAll("button[data-key]")].map((button) => indexOf.get(button.dataset.key));
    const bars = "bars" in node.dataset;
    const sorted = node.querySelector("th[aria-sort]");
    if (sorted) state.key = sorted.querySelector("button").dataset.key;
    const count = find("[data-count]", name);
    const more = find("[data-more]", name);
    const said = find("[data-shown]", name);
    // What a whole row says, in lower case, for the search; made at the first search.
    let haystack = null;

    function chosen() {
      const margin = indexOf.get("margin_usd");
      if (state.text && !haystack) {
        const texts = table.columns.map((column, i) => (isText(column) ? i : -1)).filter((i) => i >= 0);
        haystack = table.rows.map((row) => texts.map((i) => String(row[i] === null ? "" : row[i])).join("\u0001").toLowerCase());
      }
      let rows = table.rows.map((_, i) => i);
      if (state.text) rows = rows.filter((i) => haystack[i].includes(state.text));
      if (state.which) rows = rows.filter((i) => table.rows[i][margin] !== null && isNegative(table.rows[i][margin]) === (state.which === "losing"));
      return sortRows(rows);
    }
    function sortRows(rows) {
      if (state.key === null) return rows;
      const at = indexOf.get(state.key);
      const text = isText(table.columns[at]);
      const order = new Map(rows.map((i) => [i, rank(table.rows[i][at], text)]));
      const sign = state.down ? -1 : 1;
      return rows.sort((a, b) => {
        const x = order.get(a), y = order.get(b);
        if (x === null || y === null) return (x === null) - (y === null) || a - b;
        return (text ? sign * x.localeCompare(y, undefined, { numeric: true }) : sign * (x - y)) || a - b;
      });
    }
    function draw() {
      const rows = chosen();
      const body = el("tbody");
      for (const i of rows.slice(0, state.n)) body.append(el("tr", { "data-row": i }, shown.map((k) => cell(table.rows[i][k], table.columns[k], bars))));
      node.tBodies[0].replaceWith(body);
      enter(node);
      tell(rows.length);
      for (const th of node.tHead.querySelectorAll("th")) {
        if (th.querySelector("button").dataset.key === state.key) th.setAttribute("aria-sort", state.down ? "descending" : "ascending");
        else th.removeAttribute("aria-sort");
      }
    }
    function tell(n) {
      if (count) count.textContent = n.toLocaleString("en-US") + " of " + table.rows.length.toLocaleString("en-US");
      if (more) more.hidden = state.n >= n;
      if (said) said.textContent = Math.min(state.n, n).toLocaleString("en-US") + " of " + n.toLocaleString("en-US") + " shown";
    }
    node.tHead.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-key]");
      if (!button) return;
      const key = button.dataset.key;
      state.down = state.key === key ? !state.down : !isText(table.columns[indexOf.get(key)]);
      state.key = key;
      draw();
    });
    const search = find("[data-search]", name);
    if (search) search.addEventListener("input", () => { state.text = search.value.trim().toLowerCase(); draw(); });
    const which = find("select[data-filter]", name);
    if (which) which.addEventListener("change", () => { state.which = which.value; draw(); });
    if (more) more.addEventListener("click", () => { state.n += MORE; draw(); });
    tell(table.rows.length);
    enter(node);
  }
  function find(selector, name) {
    const key = /data-([a-z]+)/.exec(selector)[1];
    return [...document.querySelectorAll(selector)].find((node) => node.dataset[key] === name) || null;
  }
  function rank(value, text) {
    if (value === null || value === undefined) return null;
    return text ? String(value) : decimal(value) ? Number(value) : null;
  }

  // One stop for the Tab key in each table; the arrows move between its numbers.
  function enter(node) {
    const first = node.tBodies[0].querySelector("button.num");
    if (first) first.tabIndex = 0;
  }
  function move(event) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const here = event.target.closest && event.target.closest("td button.num");
    if (!step || !here) return;
    const td = here.closest("td");
    const row = td.parentElement;
    let target = null;
    if (step[0]) {
      const next = step[0] < 0 ? row.previousElementSibling : row.nextElementSibling;
      target = next && next.cells[td.cellIndex].querySelector("button.num");
    } else {
      for (let k = td.cellIndex + step[1]; k >= 0 && k < row.cells.length && !target; k += step[1]) target = row.cells[k].querySelector("button.num");
    }
    if (!target) return;
    event.preventDefault();
    here.tabIndex = -1;
    target.tabIndex = 0;
    target.focus();
  }

  // Lineage ----------------------------------------------------------------------------------------------------
  const dialog = document.getElementById("lineage");
  const sheet = dialog.querySelector(".sheet");
  const badge = (method) => el("span", { class: "badge " + (/^[a-z]+$/.test(method) ? method : "") }, method);
  function readable(formula, labels) {
    return formula.replace(/[A-Za-z_][A-Za-z0-9_]*/g, (word) => (labels.has(word) ? labels.get(word) : word));
  }
  function figureItem(id) {
    const figure = FIGURES.get(id);
    if (!figure) return { label: id, value: null, unit: "", note: "isn't in this report", inputs: [], id };
    const labels = new Map((figure.inputs || []).filter((name) => FIGURES.has(name)).map((name) => [name, FIGURES.get(name).label]));
    return { ...figure, id, said: figure.formula ? readable(figure.formula, labels) : "", children: (figure.inputs || []).map((name) => () => figureItem(name)) };
  }
  function rowName(table, index) {
    // Of rows that share a name, the second is name#2.
    let n = 0;
    for (let i = 0; i <= index; i++) if (table.rows[i][0] === table.rows[index][0]) n += 1;
    return table.rows[index][0] + (n > 1 ? "#" + n : "");
  }
  function cellItem(name, index, key, seen) {
    const table = TABLES.get(name);
    const row = table.rows[index];
    const at = table.columns.findIndex((column) => column.key === key);
    const column = table.columns[at];
    const passed = [...(seen || []), key];
    const others = table.columns.filter((c, i) => i > 0 && !passed.includes(c.key) && row[i] !== null && new RegExp("\\b" + c.key.replace(/\W/g, "\\$&") + "\\b").test(column.formula || ""));
    const labels = new Map(table.columns.map((c) => [c.key, c.label]));
    const hasCost = table.columns.some((c) => c.key === "cost_usd");
    // A row's plain lines say how its cost came about; others name their column.
    const held = { revenue_usd: table.revenue_lineage, margin_usd: table.margin_lineage };
    const list = Object.hasOwn(held, key) ? held[key] : key === "cost_usd" || !hasCost ? table.lineage : null;
    const lines = (list || [])[index] || [];
    return {
      ...column, label: column.label + " of " + row[0], value: row[at], id: name + "/" + rowName(table, index) + "/" + key, lines,
      said: column.formula ? readable(column.formula, labels) : "", children: others.map((c) => () => cellItem(name, index, c.key, passed)),
    };
  }
  function described(item) {
    const pairs = [
      ["Exact", item.value === null || item.value === undefined ? "unknown, which isn't zero" : String(item.value) + (item.unit === "text" ? "" : " " + item.unit)],
      ["Formula", item.said],
      [item.level ? Math.round(item.level * 100) + "% interval" : "Interval", item.low && item.high ? human(item.low, item.unit) + " to " + human(item.high, item.unit) : ""],
      ["Source", item.source], ["Date", item.date], ["Note", item.note], ["Address", item.id],
    ];
    return el("dl", null, pairs.filter(([, value]) => value).map(([name, value]) => [el("dt", null, name), el("dd", { class: name === "Address" || name === "Exact" ? "formula" : null }, value)]));
  }
  function linesOf(item) {
    return item.lines && item.lines.length ? el("ul", { class: "lines" }, item.lines.map((line) => el("li", null, line))) : null;
  }
  function branch(make, depth) {
    const item = make();
    const words = item.value === null || item.value === undefined ? "" : unitWords(item.unit);
    const head = el("summary", null, el("b", null, human(item.value, item.unit)), words ? " " + words : null, el("span", { class: "of" }, item.label + " "), item.method ? badge(item.method) : null);
    const node = el("details", null, head);
    // Unfolded when opened, so that a circle in an edited report costs nothing.
    node.addEventListener("toggle", () => {
      if (!node.open || node.childElementCount > 1) return;
      const inner = depth < 40 ? (item.children || []).map((child) => branch(child, depth + 1)) : [];
      node.append(el("div", { class: "in" }, described(item), linesOf(item), inner));
    });
    return node;
  }
  function open(item) {
    const words = item.value === null || item.value === undefined ? "" : unitWords(item.unit);
    const close = el("button", { type: "button", class: "close" }, "Close");
    close.addEventListener("click", () => dialog.close());
    sheet.replaceChildren(
      close,
      el("h2", { id: "lineage-title" }, item.label + " ", item.method ? badge(item.method) : null),
      el("p", { class: "big" }, human(item.value, item.unit), words ? el("span", { class: "words" }, " " + words) : null),
      described(item),
      ...(linesOf(item) ? [el("h3", null, "How it came about"), linesOf(item)] : []),
      ...(item.children && item.children.length ? [el("h3", null, "Made of"), el("div", { class: "tree" }, item.children.map((child) => branch(child, 1)))] : []),
    );
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  document.addEventListener("click", (event) => {
    if (event.target === dialog) return dialog.close();
    const link = event.target.closest("a[data-figure]");
    if (link && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      return open(figureItem(link.dataset.figure));
    }
    const button = event.target.closest("td button.num");
    if (button) open(cellItem(button.closest("table").dataset.table, Number(button.closest("tr").dataset.row), button.dataset.key));
  });
  document.addEventListener("keydown", move);
  window.addEventListener("beforeprint", () => { for (const node of document.querySelectorAll(".appendix details")) node.open = true; });
  document.querySelectorAll("table[data-table]").forEach(grid);
  document.documentElement.classList.add("live");
})();
