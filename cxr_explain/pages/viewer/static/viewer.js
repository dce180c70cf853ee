"use strict";
/* The radiograph with its layers: window and level, opacity, K, zoom and pan, boxes, outlines and peaks; and the
   radiograph by itself beside it, which moves along.
   What it shows is a case: see pages/viewer/case.py. */

CXR.Viewer = class {
  static MOST_ZOOM = 16;

  static SIGNS = ["M0 0L10 10M0 5L5 10M5 0L10 5", "M0 10L10 0M0 5L5 0M5 10L10 5", "M0 0L10 10M0 10L10 0"];

  /** How a table shows a pathology's colour and second sign. */
  static swatch({ colour, ink, sign }) {
    const field = CXR.drawing("rect", { width: 10, height: 10, rx: 2, fill: colour });
    const lines = sign ? CXR.drawing("path", { d: this.SIGNS[(sign - 1) % 3], stroke: ink, "stroke-opacity": 0.5 }) : null;
    return CXR.drawing("svg", { class: "swatch", viewBox: "0 0 10 10", "aria-hidden": "true" }, field, lines);
  }

  constructor() {
    this.stage = CXR.find("stage");
    this.plainStage = CXR.find("stage-plain");
    this.sheet = CXR.find("sheet");
    this.sheets = [this.sheet, CXR.find("sheet-plain")];
    this.grey = CXR.find("radiograph");
    this.plain = CXR.find("radiograph-plain");
    this.overlay = CXR.find("overlay");
    this.marks = CXR.find("marks");
    this.hidden = new Set();
    this.kind = "fused";
    this.pointers = new Map();
    this.listen();
    this.home();
  }

  /** Load the pixels of a case; resolves when it is drawn. */
  async show(data) {
    this.data = data;
    this.fused = null; // until its pixels are there
    this.kind = "fused";
    this.hidden.clear();
    const pixels = data.image.grey ?? (await this.greyValues(data.image));
    if (this.data !== data) return; // another case was opened meanwhile
    const { width, height } = data.image;
    for (const canvas of [this.grey, this.plain, this.overlay]) Object.assign(canvas, { width, height });
    for (const box of [this.stage, this.plainStage, ...this.sheets]) box.style.aspectRatio = `${width} / ${height}`;
    this.pixels = pixels;
    this.stored = CXR.decode(data.maps);
    this.classMaps = CXR.decode(data.classMaps);
    this.referenceMaps = data.referenceMaps && CXR.decode(data.referenceMaps.classMaps);
    this.setTopK(data.ranked.length);
    this.home();
    this.drawGrey();
  }

  async greyValues({ url, width, height }) {
    const image = new Image();
    image.src = url;
    await image.decode();
    const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0, width, height);
    const rgba = context.getImageData(0, 0, width, height).data;
    const grey = new Uint8Array(width * height);
    for (let at = 0; at < grey.length; at++) grey[at] = rgba[4 * at];
    return grey;
  }

  /** The kinds of map that this case has: [key, text]. */
  get kinds() {
    const name = CXR.text.pathology;
    const { ranked, referenceMaps } = this.data;
    return [
      ["fused", "fused map"],
      ...ranked.map((pathology, k) => ["class-" + k, "class map: " + name(pathology)]),
      ...(referenceMaps?.pathologies || []).map((pathology, k) => ["reference-" + k, "class map: " + name(pathology) + " (reference)"]),
    ];
  }

  /** Fuse the class maps of the first K pathologies; all of them were fused before, by Python. */
  setTopK(topK) {
    this.topK = topK;
    this.fused = topK === this.data.ranked.length ? this.stored : CXR.fusion.fuse(this.classMaps, this.data.cells, topK, this.data.fusion);
    this.redraw();
  }

  /** The pathologies of the first K that the fused map shows nowhere, though the layer is tied to their scores. */
  get withoutEvidence() {
    const { ranked, cells, withoutGradient } = this.data;
    const size = cells[1] * cells[2];
    const shown = (k) => this.fused.subarray(k * size, (k + 1) * size).some((value) => value > 0);
    return ranked.slice(0, this.topK).filter((name, k) => !shown(k) && !withoutGradient.includes(name));
  }

  /** Interpolate the maps of the chosen kind once; what is shown of them is mixed at each change. */
  prepareMaps() {
    const { width, height } = this.data.image;
    const [, I, J] = this.data.cells;
    const over = (values, k) => CXR.maps.upsample(values, k * I * J, [I, J], this.data, width, height);
    const [kind, at] = this.kind.split("-");
    this.styles = kind === "reference" ? [this.data.referenceMaps.styles[+at]] : this.data.styles;
    if (kind === "fused") this.layers = this.data.ranked.slice(0, this.topK).map((_, k) => over(this.fused, k));
    else if (kind === "class") this.layers = this.data.ranked.map((_, k) => (k === +at ? over(this.classMaps, k) : null));
    else this.layers = [over(this.referenceMaps, +at)];
    this.peak = CXR.maps.peakOf(this.layers.filter(Boolean), width * height);
  }

  setKind(kind) {
    this.kind = kind;
    this.redraw();
  }

  redraw() {
    this.prepareMaps();
    this.drawOverlay();
    this.drawMarks();
  }

  toggle(k, shown) {
    if (shown) this.hidden.delete(k);
    else this.hidden.add(k);
    this.drawOverlay();
    this.drawMarks();
  }

  drawOverlay() {
    if (!this.layers) return;
    const context = this.overlay.getContext("2d");
    const picture = context.createImageData(this.overlay.width, this.overlay.height);
    const fused = this.kind === "fused";
    const shown = this.layers.map((map, k) => (fused && this.hidden.has(k) ? null : map));
    CXR.maps.mix(shown, this.styles, this.peak, picture);
    context.putImageData(picture, 0, 0);
  }

  drawGrey() {
    if (!this.pixels) return;
    const context = this.grey.getContext("2d");
    const picture = context.createImageData(this.grey.width, this.grey.height);
    CXR.maps.windowed(this.pixels, this.window, this.level, picture.data);
    context.putImageData(picture, 0, 0);
    this.plain.getContext("2d").putImageData(picture, 0, 0);
  }

  /** The radiograph by itself beside the one with maps, or not. */
  setPlain(shown) {
    this.plainStage.hidden = !shown;
    CXR.find("case").classList.toggle("paired", shown);
    this.place();
    this.drawMarks();
  }

  setWindow(width, level) {
    this.window = width;
    this.level = level;
    this.drawGrey();
  }

  /** The fused map's opacity is the overlay's: a times its strength is the formula of the printed figure. */
  setOpacity(share) {
    this.overlay.style.opacity = share;
  }

  drawMarks() {
    if (!this.fused) return;
    const [H, W] = this.data.shape;
    this.marks.setAttribute("viewBox", `0 0 ${W} ${H}`);
    const unit = W / Math.max(1, this.sheet.clientWidth); // radiograph pixels in a pixel of the screen
    this.marks.replaceChildren(
      ...(this.shows("unseen") ? this.unseenMarks(W, H) : []),
      ...(this.shows("boxes") ? [...this.outlineMarks(unit), ...this.boxMarks(unit)] : []),
      ...(this.shows("peaks") && this.kind === "fused" ? this.peakMarks(unit) : []),
    );
  }

  shows(what) {
    return CXR.find("show-" + what).checked;
  }

  unseenMarks(W, H) {
    const [left, top, right, bottom] = this.data.seen;
    if (left === 0 && top === 0 && right === W && bottom === H) return [];
    const outer = `M0 0H${W}V${H}H0Z`, inner = `M${left} ${top}V${bottom}H${right}V${top}Z`;
    return [CXR.drawing("path", { class: "unseen", d: outer + inner }), CXR.drawing("path", { class: "seen-edge", d: inner })];
  }

  boxMarks(unit) {
    return this.data.boxes.flatMap(([pathology, x, y, width, height, colour]) => {
      const size = 12 * unit;
      const name = CXR.text.cut(CXR.text.pathology(pathology), 40);
      return [
        CXR.drawing("rect", { class: "box-rim", x, y, width, height }),
        CXR.drawing("rect", { class: "box", x, y, width, height, stroke: colour }),
        letters({ class: "box-name", x, y: y > 1.4 * size ? y - 0.35 * size : y + height + 1.1 * size }, size, name, colour),
      ];
    });
  }

  /** The edges of reference masks: lines through [x, y, x, y, ...] of the radiograph. */
  outlineMarks(unit) {
    return (this.data.outlines || []).flatMap(([pathology, lines, colour]) => {
      const d = lines.map((line) => `M${line.join(" ")}Z`).join("");
      const [x, y] = highest(lines);
      return [
        CXR.drawing("path", { class: "box-rim", d }),
        CXR.drawing("path", { class: "outline", d, stroke: colour }),
        letters({ class: "box-name", x, y: Math.max(y - 4 * unit, 12 * unit) }, 12 * unit, CXR.text.cut(CXR.text.pathology(pathology), 40), colour),
      ];
    });
  }

  peakMarks(unit) {
    const { cells, styles } = this.data;
    return styles.slice(0, this.topK).flatMap(({ colour, ink }, k) => {
      const peak = CXR.fusion.peakOf(this.fused, k, cells, this.data);
      if (!peak || this.hidden.has(k)) return [];
      const [x, y] = peak;
      return [
        CXR.drawing("circle", { class: "peak", cx: x, cy: y, r: 8 * unit, fill: colour }),
        letters({ class: "peak-name", x, y: y + 4 * unit }, 11.5 * unit, String(k + 1), ink),
      ];
    });
  }

  /** As large as fits, in the middle. */
  home() {
    this.zoom = 1;
    this.x = this.y = 0;
    this.place();
  }

  get fit() {
    const image = this.data?.image;
    if (!image?.width) return { width: 1, height: 1 };
    const scale = Math.min(this.stage.clientWidth / image.width, this.stage.clientHeight / image.height);
    return { width: image.width * scale, height: image.height * scale };
  }

  /** Zoom about a point of the stage; its middle without one. */
  zoomTo(zoom, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const before = this.zoom;
    this.zoom = Math.min(Math.max(zoom, 1), CXR.Viewer.MOST_ZOOM);
    const [cx, cy] = [x - this.stage.clientWidth / 2, y - this.stage.clientHeight / 2];
    this.x = cx - ((cx - this.x) * this.zoom) / before;
    this.y = cy - ((cy - this.y) * this.zoom) / before;
    this.place();
    this.drawMarks();
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.place();
  }

  place() {
    const { width, height } = this.fit;
    const [w, h] = [width * this.zoom, height * this.zoom];
    const [roomX, roomY] = [Math.max(0, (w - this.stage.clientWidth) / 2), Math.max(0, (h - this.stage.clientHeight) / 2)];
    this.x = Math.min(Math.max(this.x, -roomX), roomX);
    this.y = Math.min(Math.max(this.y, -roomY), roomY);
    for (const { style } of this.sheets) {
      Object.assign(style, {
        width: w + "px", height: h + "px",
        left: (this.stage.clientWidth - w) / 2 + this.x + "px", top: (this.stage.clientHeight - h) / 2 + this.y + "px",
      });
    }
    CXR.find("zoom").textContent = Math.round(this.zoom * 100) + " %";
  }

  listen() {
    const { stage } = this;
    for (const each of [stage, this.plainStage]) {
      each.addEventListener("pointerdown", (event) => this.down(event));
      each.addEventListener("pointermove", (event) => this.moved(event));
      for (const name of ["pointerup", "pointercancel"]) each.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
      each.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      each.addEventListener("dblclick", () => this.home());
    }
    stage.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => {
      this.place();
      this.drawMarks();
    }).observe(stage);
  }

  down(event) {
    if (event.button > 0) return;
    this.stage.focus({ preventScroll: true });
    event.currentTarget.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
  }

  /** One pointer pans; two, as fingers, zoom. */
  moved(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    if (!other) return void this.pan(now[0] - before[0], now[1] - before[1]);
    const distance = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]);
    const edge = event.currentTarget.getBoundingClientRect();
    const middle = [(now[0] + other[0]) / 2 - edge.left, (now[1] + other[1]) / 2 - edge.top];
    if (distance(before) > 0) this.zoomTo((this.zoom * distance(now)) / distance(before), ...middle);
  }

  /** The wheel zooms once the image was clicked, or with Ctrl; otherwise the page scrolls. */
  wheel(event) {
    if (!event.ctrlKey && document.activeElement !== this.stage) return;
    event.preventDefault();
    const edge = event.currentTarget.getBoundingClientRect();
    this.zoomTo(this.zoom * Math.exp(-event.deltaY / 400), event.clientX - edge.left, event.clientY - edge.top);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = 48;
    const pans = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (event.key in pans && this.zoom > 1) this.pan(...pans[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoomTo(this.zoom * 1.25);
    else if (event.key === "-" || event.key === "−") this.zoomTo(this.zoom / 1.25);
    else if (event.key === "f") this.home();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
};

/** The highest point of lines through [x, y, x, y, ...]. */
function highest(lines) {
  let found = [0, Infinity];
  for (const line of lines) for (let at = 0; at < line.length; at += 2) if (line[at + 1] < found[1]) found = [line[at], line[at + 1]];
  return found;
}

/** SVG text of a size in the radiograph's pixels. */
function letters(attributes, size, text, colour) {
  const made = CXR.drawing("text", attributes, text);
  Object.assign(made.style, { fontSize: size + "px", fill: colour });
  return made;
}
