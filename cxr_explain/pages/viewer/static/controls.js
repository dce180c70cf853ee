"use strict";
/* The controls below the image: sliders, K, zoom, which map, layers and marks. */

CXR.Controls = class {
  constructor(viewer) {
    this.viewer = viewer;
    this.listen();
  }

  /** What can be chosen of the case that the viewer shows. */
  draw() {
    const { viewer } = this;
    const { data } = viewer;
    const K = data.ranked.length;
    CXR.find("map-kind").replaceChildren(...this.viewer.kinds.map(([key, text]) => CXR.element("option", { value: key }, CXR.text.cut(text, 60))));
    Object.assign(CXR.find("top-k"), { min: Math.min(1, K), max: K, defaultValue: K, value: K });
    CXR.find("top-k").closest(".slider").hidden = K < 2;
    const sides = data.sides || ["", ""];
    CXR.find("side-left").textContent = sides[0];
    CXR.find("side-right").textContent = sides[1];
    viewer.setPlain(CXR.find("show-plain").checked);
    this.read();
  }

  get layers() {
    return [...document.querySelectorAll("input.layer")];
  }

  /** The sliders as they stand. */
  read() {
    const value = (id) => +CXR.find(id).value;
    const { viewer } = this;
    viewer.setOpacity(value("opacity") / 100);
    viewer.setWindow(value("window"), value("level"));
    if (viewer.topK !== value("top-k")) viewer.setTopK(value("top-k"));
    for (const [rank, box] of this.layers.entries()) box.disabled = rank >= viewer.topK;
    CXR.find("opacity-value").textContent = value("opacity") + " %";
    for (const id of ["window", "level", "top-k"]) CXR.find(id + "-value").textContent = value(id);
    CXR.find("look-note").textContent = this.note();
  }

  note() {
    const { data, withoutEvidence } = this.viewer;
    const none = withoutEvidence.map(CXR.text.pathology).join(", ");
    const boxes = data.boxes.length || data.outlines?.length ? "" : " No reference boxes or outlines for this image.";
    const side = data.sides ? "" : " Orientation unknown: the header does not say.";
    return `Colours are relative within this image.${none ? ` Ranked, but the strongest nowhere: ${none}.` : ""}${boxes}${side}`;
  }

  /** All layers on or off. */
  setLayers(shown) {
    for (const [rank, box] of this.layers.entries()) {
      if (box.disabled || box.checked === shown) continue;
      box.checked = shown;
      this.viewer.toggle(rank, shown);
    }
  }

  reset() {
    for (const id of ["opacity", "window", "level", "top-k"]) CXR.find(id).value = CXR.find(id).defaultValue;
    CXR.find("map-kind").value = "fused";
    this.viewer.setKind("fused");
    this.read();
    this.viewer.home();
    this.setLayers(true);
  }

  listen() {
    const { viewer } = this;
    const on = (id, event, act) => CXR.find(id).addEventListener(event, act);
    for (const id of ["opacity", "window", "level", "top-k"]) on(id, "input", () => this.read());
    on("zoom-in", "click", () => viewer.zoomTo(viewer.zoom * 1.25));
    on("zoom-out", "click", () => viewer.zoomTo(viewer.zoom / 1.25));
    on("fit", "click", () => viewer.home());
    on("reset", "click", () => this.reset());
    for (const what of ["boxes", "peaks", "unseen"]) on("show-" + what, "change", () => viewer.drawMarks());
    on("show-plain", "change", (event) => viewer.setPlain(event.target.checked));
    on("map-kind", "change", (event) => viewer.setKind(event.target.value));
    on("predictions", "change", ({ target }) => {
      if (target.matches("input.layer")) viewer.toggle(this.layers.indexOf(target), target.checked);
    });
    document.addEventListener("keydown", (event) => this.key(event));
  }

  /** Whether a key is meant for the page rather than for what is typed or chosen in. */
  static isFree(event) {
    if (!CXR.find("use-keys").checked || event.ctrlKey || event.metaKey || event.altKey) return false;
    const within = event.target.closest("input, select, textarea, [contenteditable]");
    return !within || (event.target.type === "checkbox" && !event.key.startsWith("Arrow"));
  }

  key(event) {
    if (!this.viewer.stage.getClientRects().length || !CXR.Controls.isFree(event)) return;
    if (/^[1-9]$/.test(event.key)) this.layers[event.key - 1]?.click();
    else if (event.key === "0") this.setLayers(!this.layers.some((box) => box.checked && !box.disabled));
    else return;
    event.preventDefault();
  }
};
