// Progressive enhancement: every page works without this script.
"use strict";
document.documentElement.classList.add("js");

const zoned = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const RETRY_MS = 5000;

// Shows timestamps in the viewer's time zone. The exact one stays in the title.
function localize(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.textContent = zoned.format(new Date(time.dateTime));
  }
}

// Live rows: the server sends all rows whenever they change. A hidden page has no stream, because a
// browser opens at most six connections to a host.
function follow(body) {
  const list = body.closest("[data-list]");
  const state = document.createElement("p");
  state.className = "soft small";
  state.setAttribute("role", "status");
  list.append(state);
  const reload = document.createElement("a");
  reload.href = "";
  reload.textContent = "reload";
  let source = null;
  let retryTimer = 0;

  function open() {
    source = new EventSource(body.dataset.stream);
    source.addEventListener("open", () => state.replaceChildren());
    source.addEventListener("rows", (event) => {
      update(body, event.data);
      list.querySelector(".when-empty").hidden = body.rows.length > 0;
      body.closest(".scroll").hidden = body.rows.length === 0;
    });
    source.addEventListener("error", () => {
      // In any other state the browser reconnects automatically.
      if (source.readyState !== EventSource.CLOSED) return;
      if (!state.hasChildNodes()) state.append("Not up to date: ", reload);
      retryTimer = setTimeout(open, RETRY_MS);
    });
  }

  function restart() {
    clearTimeout(retryTimer);
    source?.close();
    if (!document.hidden) open();
  }
  document.addEventListener("visibilitychange", restart);
  restart();
}

// Replaces only the rows and cells that changed: a person may be reading the others, or have them
// selected.
function update(body, html) {
  const sent = document.createElement("tbody");
  sent.innerHTML = html;
  localize(sent);
  const focused = document.activeElement;
  const focusedRow = focused.closest("tr");
  const rows = Array.from(sent.rows);
  const ids = new Set(rows.map((row) => row.id));
  const known = new Map(Array.from(body.rows, (row) => [row.id, row]));
  for (const [id, row] of known) {
    if (!ids.has(id)) row.remove();
  }
  let next = body.rows[0] ?? null;
  for (const row of rows) {
    const old = known.get(row.id);
    if (old) replaceCells(old, row);
    else row.classList.add("fresh");
    if (old && old === next) next = next.nextElementSibling;
    else body.insertBefore(old ?? row, next);
  }
  // Moved or replaced elements lose the focus.
  const kept = focused.isConnected ? focused : focusedRow?.querySelector("a");
  if (kept !== document.activeElement) kept?.focus({ preventScroll: true });
  const test = document.querySelector("[data-sent]");
  if (test && ids.has("a-" + test.dataset.sent)) {
    test.textContent = "The test activity is stored: see it below.";
  }
}

function replaceCells(old, row) {
  Array.from(row.cells).forEach((cell, at) => {
    if (old.cells[at].innerHTML !== cell.innerHTML) old.cells[at].replaceWith(cell);
  });
}

// navigator.clipboard exists only over https and on localhost.
async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}

function enableButtons(form, isEnabled) {
  for (const button of form.elements) {
    if (button.type === "submit") button.disabled = !isEnabled;
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) {
    const label = button.dataset.label ??= button.textContent;
    const isCopied = await copy(document.getElementById(button.dataset.copy));
    button.textContent = isCopied ? "Copied" : "Not copied, but selected";
    if (isCopied) setTimeout(() => { button.textContent = label; }, 2000);
  }
  const all = event.target.closest("[data-all]");
  if (all) {
    for (const box of document.querySelectorAll(`input[name="${all.dataset.all}"]`)) box.checked = all.checked;
  }
});

// Prevents sending a form twice. Deferred until the browser has read the form, because a disabled
// button sends no value.
document.addEventListener("submit", (event) => {
  setTimeout(() => enableButtons(event.target, false));
});

// The browser may restore a page with its buttons still disabled.
addEventListener("pageshow", () => {
  for (const form of document.forms) enableButtons(form, true);
});

document.addEventListener("DOMContentLoaded", () => {
  localize(document);
  for (const body of document.querySelectorAll("tbody[data-stream]")) follow(body);
});
