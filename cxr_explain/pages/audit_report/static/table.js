"use strict";
/* The table of images. Only the rows in sight are elements, so that 100,000 scroll as 100 do. */

CXR.Table = class {
  static ROW = 32;
  static TALL_ROW = 64; // with thumbnails
  static SORTED = new Set(["row", "id", "subject", "probability", "distance", "state", "outside_thorax", "value"]);

  /** open: called with a place in the list. */
  constructor({ listing, verdicts, open, onSort }) {
    Object.assign(this, { listing, verdicts, open, onSort });
    this.thumbnails = new CXR.Thumbnails({ listing, arrived: () => this.soon() });
    this.grid = CXR.find("grid");
    this.body = CXR.find("grid-body");
    this.head = CXR.find("grid-head");
    this.images = new Int32Array(0);
    this.subjects = new Int16Array(0);
    this.active = 0;
    this.row = CXR.Table.ROW;
    this.grid.addEventListener("scroll", () => this.soon(), { passive: true });
    this.grid.addEventListener("keydown", (event) => this.key(event));
    this.body.addEventListener("click", (event) => this.click(event));
    new ResizeObserver(() => this.soon()).observe(this.grid);
  }

  /** Show a list from its top. */
  show({ images, subjects, values }, ask, tall) {
    Object.assign(this, { images, subjects, values, ask });
    this.row = tall ? CXR.Table.TALL_ROW : CXR.Table.ROW;
    this.grid.classList.toggle("tall", tall);
    this.active = 0;
    this.grid.scrollTop = 0;
    this.body.style.height = images.length * this.row + "px";
    this.grid.setAttribute("aria-rowcount", images.length + 1);
    this.drawHead();
    this.draw();
  }

  get columns() {
    return [
      { key: "row", text: "Row", numeric: true },
      { key: "id", text: "Image id" },
      { key: "subject", text: "Pathology" },
      { key: "probability", text: "Probability, 0 to 1", numeric: true },
      { key: "distance", text: "Log odds from op. point", numeric: true, title: "Log odds from the operating point: positive is above it" },
      { key: "state", text: "Reference label" },
      { key: "agreement", text: "Agreement", fixed: true },
      { key: "positives", text: "Reference positive", fixed: true, wide: true },
      { key: "outside_thorax", text: "Outside thorax, %", numeric: true, title: "Share of the fused saliency outside the thorax", wide: true },
      // Where no other column has what the queue is sorted by.
      ...(this.ask.queue === "edges" ? [{ key: "value", text: "Border or markers, %", numeric: true, title: this.listing.queues.get("edges").measure, wide: true }] : []),
      { key: "verdict", text: "Verdict", fixed: true },
    ];
  }

  drawHead() {
    this.head.replaceChildren(...this.columns.map((column) => this.headCell(column)));
    this.grid.classList.toggle("has-value", this.columns.some((column) => column.key === "value"));
  }

  headCell({ key, text, numeric, fixed, title, wide }) {
    const sorted = this.ask.sort === key ? (this.ask.descending ? "descending" : "ascending") : fixed ? null : "none";
    const mark = sorted === "descending" ? " ↓" : sorted === "ascending" ? " ↑" : "";
    const cell = CXR.element("span", { role: "columnheader", class: (numeric ? "number " : "") + (wide ? "wide" : ""), "aria-sort": sorted, title });
    if (fixed) cell.append(text);
    else {
      const button = CXR.element("button", { type: "button", id: "sort-" + key }, text + mark);
      button.addEventListener("click", () => this.onSort(key));
      cell.append(button);
    }
    return cell;
  }

  soon() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      this.draw();
    });
  }

  draw() {
    const { row } = this;
    const head = this.head.parentElement.offsetHeight;
    const first = Math.max(0, Math.floor(this.grid.scrollTop / row) - 4);
    const last = Math.min(this.images.length, Math.ceil((this.grid.scrollTop + this.grid.clientHeight - head) / row) + 4);
    const made = [];
    for (let at = first; at < last; at++) made.push(this.rowAt(at));
    if (!this.images.length) made.push(CXR.element("p", { class: "empty" }, "No image fits these filters."));
    this.body.replaceChildren(...made);
    const shown = this.active >= first && this.active < last && this.images.length;
    if (shown) this.grid.setAttribute("aria-activedescendant", "row-" + this.active);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  rowAt(at) {
    const image = this.images[at];
    const chosen = at === this.active;
    const made = CXR.element("div", {
      role: "row", id: "row-" + at, "aria-rowindex": at + 2, "aria-selected": String(chosen),
      class: chosen ? "active" : null, "data-at": at,
    }, ...this.cells(image));
    made.style.transform = `translateY(${at * this.row}px)`;
    return made;
  }

  cells(image) {
    const { listing } = this;
    const id = this.cell("id", this.thumbnail(image), CXR.text.isolated(listing.ids[image]));
    id.title = CXR.text.cut(CXR.text.clean(listing.ids[image]), 400);
    if (listing.hasPixels(image)) id.append(CXR.element("span", { class: "pixels", title: "With pixels and maps here" }, "▣"));
    const row = this.cell("number", CXR.text.count(listing.rows[image]));
    const verdict = this.cell("", this.verdicts.of(image)?.verdict || (this.verdicts.of(image) ? "note" : ""));
    const rest = listing.explained[image] ? this.explainedCells(image) : this.failedCells(image);
    return [row, id, ...rest, verdict];
  }

  /** The picture, or the room that it will take. */
  thumbnail(image) {
    if (this.row !== CXR.Table.TALL_ROW) return null;
    const url = this.thumbnails.of(image);
    return url ? CXR.element("img", { class: "thumbnail", src: url, alt: "" }) : CXR.element("span", { class: "thumbnail" });
  }

  failedCells(image) {
    const { code, message } = this.listing.failures.get(image);
    const said = CXR.element("span", { class: "code" }, "failed");
    return [this.cell("failed", said, " ", CXR.text.isolated(code + ": " + message, 300))];
  }

  explainedCells(image) {
    const { listing } = this;
    const output = this.subjects[image];
    const value = this.columns.some((column) => column.key === "value");
    const late = [this.cell("number wide", CXR.text.percent(listing.shares.outside_thorax[image]))];
    if (value) late.push(this.cell("number wide", CXR.text.percent(this.values.get(image) ?? NaN)));
    const positives = this.cell("wide", CXR.text.isolated(listing.positives(image).map(CXR.text.pathology).join(", ") || "–"));
    if (output < 0) {
      return [this.cell("quiet", "none ranked"), ...["number", "number", "", ""].map((kind) => this.cell(kind, "–")), positives, ...late];
    }
    const at = listing.at(image, output);
    const agreement = listing.agreement(image, output);
    return [
      this.cell("", CXR.text.isolated(CXR.text.pathology(listing.pathologies[output]))),
      this.cell("number", CXR.text.probability(listing.probability(image, output))),
      this.cell("number", this.distanceText(image, output)),
      this.cell(listing.outputStates[at] < -1 ? "quiet" : "", listing.labelText(at)),
      this.cell(agreement, { agrees: "✓ agrees", disagrees: "✗ disagrees" }[agreement] || "–"),
      positives,
      ...late,
    ];
  }

  distanceText(image, output) {
    const distance = this.listing.distance(image, output);
    if (Number.isNaN(distance)) return "–";
    return (this.listing.above[this.listing.at(image, output)] === 1 ? "above +" : "below −") + Math.abs(distance).toFixed(Math.abs(distance) < 10 ? 2 : 1);
  }

  cell(kind, ...children) {
    return CXR.element("span", { role: "gridcell", class: kind || null }, ...children);
  }

  click(event) {
    const row = event.target.closest("[data-at]");
    if (!row) return;
    this.active = +row.dataset.at;
    this.open(this.active);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.grid.clientHeight / this.row) - 3);
    const moves = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.target !== this.grid || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" && this.images.length) {
      event.preventDefault();
      this.open(this.active);
    } else if (event.key in moves) {
      event.preventDefault();
      this.move(this.active + moves[event.key]);
    }
  }

  /** Make a place in the list the active one, and bring it into sight. */
  move(to) {
    const { row } = this;
    const room = this.grid.clientHeight - this.head.parentElement.offsetHeight;
    this.active = Math.max(0, Math.min(this.images.length - 1, to));
    const top = this.active * row;
    if (top < this.grid.scrollTop) this.grid.scrollTop = top;
    else if (top + row > this.grid.scrollTop + room) this.grid.scrollTop = top + row - room;
    this.draw();
  }
};
