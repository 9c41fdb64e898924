
"use strict";

// Without this script, the page shows everything, unsorted.

const SPELLED = { inf: Infinity, "-inf": -Infinity };

function valueOf(cell) {
  const text = cell.dataset.value;
  return text in SPELLED ? SPELLED[text] : Number(text ?? NaN);
}

function compare(a, b) {
  const [x, y] = [valueOf(a), valueOf(b)];
  if (x < y) return -1;
  if (x > y) return 1;
  return x === y ? 0 : a.textContent.localeCompare(b.textContent, "en", { numeric: true });
}

function sort(table, head) {
  const at = (row) => row.cells[head.cellIndex];
  const rows = [...table.tBodies[0].rows];
  const sign = head.ariaSort === "ascending" ? -1 : 1;
  const numeric = rows.some((row) => "value" in at(row).dataset);
  const last = (row) => numeric && Number.isNaN(valueOf(at(row))); // in both directions
  rows.sort((a, b) => last(a) - last(b) || sign * compare(at(a), at(b)));
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  table.tBodies[0].append(...rows);
}

function show(button) {
  const shown = button.getAttribute("aria-pressed") === "false";
  button.setAttribute("aria-pressed", shown);
  for (const part of document.querySelectorAll(`[data-mixer="${button.dataset.switch}"]`)) {
    part.classList.toggle("off", !shown);
  }
}

for (const table of document.querySelectorAll(".sortable")) {
  for (const head of table.tHead.rows[0].cells) {
    head.firstChild.addEventListener("click", () => sort(table, head));
  }
}
for (const button of document.querySelectorAll("[data-switch]")) {
  button.addEventListener("click", () => show(button));
}
