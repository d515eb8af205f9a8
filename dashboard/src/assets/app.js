// Everything here is a comfort: each page works without it.
"use strict";
document.documentElement.classList.add("js");

const zoned = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

// Instants in the viewer's zone; the exact one stays in the title.
function localize(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.textContent = zoned.format(new Date(time.dateTime));
  }
}

// Rows that are kept up to date: the server sends them anew whenever they change.
function follow(body) {
  const source = new EventSource(body.dataset.stream);
  source.addEventListener("rows", (event) => {
    const known = new Set(Array.from(body.rows, (row) => row.id));
    const fresh = document.createElement("tbody");
    fresh.innerHTML = event.data;
    localize(fresh);
    for (const row of fresh.rows) {
      if (!known.has(row.id)) row.classList.add("fresh");
    }
    body.replaceChildren(...fresh.childNodes);
    body.closest("[data-list]").querySelector(".when-empty").hidden = body.rows.length > 0;
    body.closest(".scroll").hidden = body.rows.length === 0;
    const sent = document.querySelector("[data-sent]");
    if (sent && document.getElementById("a-" + sent.dataset.sent)) {
      sent.textContent = "The test activity is stored: see it below.";
    }
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

document.addEventListener("change", (event) => {
  if (event.target.closest("[data-submit]")) event.target.form.requestSubmit();
});

document.addEventListener("DOMContentLoaded", () => {
  localize(document);
  for (const body of document.querySelectorAll("tbody[data-stream]")) follow(body);
});
