// Everything here is a comfort: each page works without it.
"use strict";
document.documentElement.classList.add("js");

const zoned = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const TRY_AGAIN_MS = 5000;

// Instants in the viewer's zone; the exact one stays in the title.
function localize(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.textContent = zoned.format(new Date(time.dateTime));
  }
}

// Rows that are kept up to date: the server sends them anew whenever they change. While nobody looks
// there is no stream: a browser has six connections to a host.
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
  let again = 0;

  function open() {
    source = new EventSource(body.dataset.stream);
    source.addEventListener("open", () => state.replaceChildren());
    source.addEventListener("rows", (event) => {
      update(body, event.data);
      list.querySelector(".when-empty").hidden = body.rows.length > 0;
      body.closest(".scroll").hidden = body.rows.length === 0;
    });
    source.addEventListener("error", () => {
      // Else the browser tries again by itself.
      if (source.readyState !== EventSource.CLOSED) return;
      if (!state.hasChildNodes()) state.append("Not up to date: ", reload);
      again = setTimeout(open, TRY_AGAIN_MS);
    });
  }

  function look() {
    clearTimeout(again);
    source?.close();
    if (!document.hidden) open();
  }
  document.addEventListener("visibilitychange", look);
  look();
}

// Makes the rows those that were sent, and leaves alone what is as it was: a person may be reading
// it, or have it selected.
function update(body, html) {
  const sent = document.createElement("tbody");
  sent.innerHTML = html;
  localize(sent);
  const focused = document.activeElement;
  const at = focused.closest("tr");
  const rows = Array.from(sent.rows);
  const ids = new Set(rows.map((row) => row.id));
  const known = new Map(Array.from(body.rows, (row) => [row.id, row]));
  for (const [id, row] of known) {
    if (!ids.has(id)) row.remove();
  }
  let place = body.rows[0] ?? null;
  for (const row of rows) {
    const old = known.get(row.id);
    if (old) replaceCells(old, row);
    else row.classList.add("fresh");
    if (old && old === place) place = place.nextElementSibling;
    else body.insertBefore(old ?? row, place);
  }
  // What is moved or replaced loses the focus.
  const kept = focused.isConnected ? focused : at?.querySelector("a");
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

// Browsers have navigator.clipboard over https and on this machine alone.
async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}

function enableButtons(form, are) {
  for (const button of form.elements) {
    if (button.type === "submit") button.disabled = !are;
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) {
    const label = button.dataset.label ??= button.textContent;
    const is = await copy(document.getElementById(button.dataset.copy));
    button.textContent = is ? "Copied" : "Not copied, but selected";
    if (is) setTimeout(() => { button.textContent = label; }, 2000);
  }
  const all = event.target.closest("[data-all]");
  if (all) {
    for (const box of document.querySelectorAll(`input[name="${all.dataset.all}"]`)) box.checked = all.checked;
  }
});

// A form is sent once. Not before the browser has read it: a button that is disabled sends no value.
document.addEventListener("submit", (event) => {
  setTimeout(() => enableButtons(event.target, false));
});

// Back on a page as it was left.
addEventListener("pageshow", () => {
  for (const form of document.forms) enableButtons(form, true);
});

document.addEventListener("DOMContentLoaded", () => {
  localize(document);
  for (const body of document.querySelectorAll("tbody[data-stream]")) follow(body);
});
