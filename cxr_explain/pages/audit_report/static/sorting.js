"use strict";
/* Tables of the overview: the head of a column sorts by it, one way, the other way, and back. */

(() => {
  const key = (row, at) => {
    const cell = row.cells[at];
    const value = cell.dataset.value;
    return value === undefined ? CXR.text.clean(cell.textContent).toLowerCase() : value === "" ? NaN : +value;
  };

  /** Rows without a value come last whichever way the others go. */
  const compare = (x, y) => {
    if (typeof x === "string" || typeof y === "string") return String(x) < String(y) ? -1 : String(x) > String(y) ? 1 : 0;
    return x - y;
  };

  function sortBy(table, at, order) {
    const rows = table.rowsAsMade.map((row, place) => ({ row, place, key: order ? key(row, at) : 0 }));
    const missing = (each) => Number.isNaN(each.key);
    const sign = order === "descending" ? -1 : 1;
    if (order) rows.sort((a, b) => missing(a) - missing(b) || (missing(a) ? 0 : sign * compare(a.key, b.key)) || a.place - b.place);
    table.tBodies[0].replaceChildren(...rows.map(({ row }) => row));
    for (const [place, head] of [...table.tHead.rows[0].cells].entries()) {
      if (head.querySelector("button")) head.setAttribute("aria-sort", place === at && order ? order : "none");
    }
  }

  function prepare(table) {
    table.rowsAsMade = [...table.tBodies[0].rows];
    for (const [at, head] of [...table.tHead.rows[0].cells].entries()) {
      if (head.classList.contains("plotted")) continue;
      const first = table.rowsAsMade[0]?.cells[at]?.dataset.value === undefined ? "ascending" : "descending";
      const button = CXR.element("button", { type: "button", class: "sorts" }, ...head.childNodes);
      head.replaceChildren(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const other = first === "ascending" ? "descending" : "ascending";
        sortBy(table, at, now === "none" ? first : now === first ? other : null);
      });
    }
  }

  for (const table of document.querySelectorAll("table.sortable")) prepare(table);
})();
