"use strict";
/* The page of one image: what the model says beside the reference label, where, and the reviewer's verdict. */

CXR.CasePage = class {
  constructor({ listing, verdicts, walk }) {
    Object.assign(this, { listing, verdicts, walk });
    this.viewer = new CXR.Viewer();
    this.controls = new CXR.Controls(this.viewer);
    this.image = -1;
    this.listen();
  }

  /** Show an image; `place` says where it is in the list. */
  async show(image, place) {
    this.keepNote();
    const before = this.row;
    this.image = image;
    this.row = this.listing.rows[image];
    this.data = null;
    this.drawHead(place);
    this.drawVerdict();
    this.drawTable();
    this.drawFacts();
    if (before !== undefined && before !== this.row) CXR.forget("case-" + before);
    if (!this.listing.hasPixels(image)) return this.drawMissing(this.whyMissing());
    const name = String(this.row).padStart(6, "0");
    this.drawMissing(null, true);
    try {
      const data = await CXR.load("case-" + this.row, `cases/${name}.js`);
      if (this.image === image) await this.drawCase(data);
    } catch (error) {
      if (this.image === image) this.drawMissing(error.message + ".");
    }
  }

  whyMissing() {
    const failure = this.listing.failures.get(this.image);
    if (failure) return `This image gave no explanation: ${CXR.text.clean(failure.code)}. ${CXR.text.clean(failure.message)}`;
    return "The pixels and maps of this image are not in this report. Build it again with more of them: cxr-explain report RUN --cases 0";
  }

  drawHead(place) {
    const { listing, image } = this;
    const id = CXR.text.clean(listing.ids[image]);
    const title = CXR.find("title-case");
    title.replaceChildren(CXR.text.isolated(listing.ids[image], 80));
    if (id.length > 80) {
      title.append(CXR.element("details", {}, CXR.element("summary", {}, "full id"), CXR.element("bdi", {}, id)));
    }
    document.title = CXR.text.cut(id, 80) + " · audit";
    CXR.find("place").textContent = place;
    const told = [["view", listing.view(image)], ["age", listing.age(image)]];
    told.push(...[...listing.facts.keys()].filter((name) => name !== "view").map((name) => [name, listing.fact(name, image)]));
    const said = told.filter(([, text]) => text).flatMap(([name, text]) => [" · ", CXR.text.isolated(name, 40), " ", CXR.text.isolated(text, 40)]);
    CXR.find("case-lead").replaceChildren(`Row ${CXR.text.count(this.row)} of the manifest`, ...said);
    this.drawPatient();
  }

  /** Where the patient's other images are. */
  drawPatient() {
    const { listing, image } = this;
    const count = listing.imagesOfPatient(image);
    const link = CXR.element("a", { href: "#cases?" + new URLSearchParams({ patient: listing.ids[image] }) }, `all ${CXR.text.count(count)} images of this patient`);
    if (count > 1) CXR.find("case-lead").append(" · ", link);
  }

  drawMissing(why, waiting = false) {
    const missing = CXR.find("case-missing");
    missing.hidden = !why;
    missing.textContent = why || "";
    CXR.find("case").classList.toggle("without-pixels", Boolean(why));
    CXR.find("case").setAttribute("aria-busy", String(waiting));
    if (why) this.controls.setLayers(false);
  }

  async drawCase(data) {
    if (data.image.missing) {
      this.data = data;
      this.drawFacts();
      return this.drawMissing("The image could not be read again: " + data.image.missing);
    }
    await this.viewer.show(data);
    this.data = data;
    this.drawMissing(null);
    this.viewer.place();
    this.viewer.drawMarks();
    this.drawTable();
    this.drawFacts();
    this.controls.draw();
    CXR.find("radiograph").setAttribute("aria-label", this.spoken());
  }

  spoken() {
    const said = this.rows().slice(0, this.data.ranked.length).map(
      ({ name, output }) => `${CXR.text.pathology(name)} probability ${CXR.text.probability(this.listing.probability(this.image, output))}`);
    const kind = this.data.phantom ? "Computed chest phantom" : "Chest radiograph";
    return `${kind} with the ${this.data.method} of ${said.join(", ") || "no pathology"}.`;
  }

  /** Ranked pathologies, then the other outputs by probability, then labels that the model does not predict. */
  rows() {
    const { listing, image } = this;
    if (!listing.explained[image]) return this.labelsAlone(new Set());
    const ranked = listing.ranked(image);
    const probability = (output) => listing.probability(image, output);
    const others = listing.pathologies.map((_, output) => output).filter((output) => !ranked.includes(output)).sort((a, b) => probability(b) - probability(a));
    const predicted = [...ranked, ...others].map((output, at) => ({
      name: listing.pathologies[output], output, rank: at < ranked.length ? at : -1,
    }));
    return [...predicted, ...this.labelsAlone(new Set(listing.pathologies))];
  }

  labelsAlone(predicted) {
    const Q = this.listing.labelled.length;
    return this.listing.labelled
      .map((name, q) => ({ name, output: -1, rank: -1, state: this.listing.states[this.image * Q + q] }))
      .filter(({ name, state }) => !predicted.has(name) && state >= -1);
  }

  drawTable() {
    const body = CXR.find("predictions").tBodies[0];
    body.replaceChildren(...this.rows().map((row) => this.tableRow(row)));
    CXR.find("label-source").textContent = this.data?.labelSource ? "Reference labels: " + CXR.text.cut(CXR.text.clean(this.data.labelSource), 300) : "";
  }

  tableRow({ name, output, rank, state }) {
    const { listing, image } = this;
    const head = CXR.element("th", { scope: "row" }, CXR.text.isolated(CXR.text.pathology(name), 60));
    if (output < 0) {
      return CXR.element("tr", {}, CXR.element("td"), head, CXR.element("td", { colspan: 2, class: "quiet" }, listing.explained[image] ? "not predicted by this model" : "no prediction"),
        this.stateCell(state, CXR.STATES[state]), CXR.element("td", { class: "quiet" }, "–"));
    }
    const at = listing.at(image, output);
    const agreement = listing.agreement(image, output);
    return CXR.element("tr", { class: rank >= 0 ? "ranked" : null }, this.layerCell(rank, name), head, this.probabilityCell(output), this.pointCell(at, output),
      this.stateCell(listing.outputStates[at], listing.labelText(at)),
      CXR.element("td", { class: agreement || "quiet" }, { agrees: "✓ agrees", disagrees: "✗ disagrees" }[agreement] || "–"));
  }

  layerCell(rank, name) {
    if (rank < 0) return CXR.element("td", { class: "quiet" }, "–");
    const box = CXR.element("input", { type: "checkbox", id: "layer-" + rank, class: "layer", checked: true, "aria-label": "Layer " + (rank + 1) + ": " + CXR.text.pathology(name) });
    box.disabled = !this.data;
    const swatch = this.data?.styles ? CXR.Viewer.swatch(this.data.styles[rank]) : null; // without maps, no colours
    return CXR.element("td", { class: "layer-cell" }, CXR.element("label", { for: "layer-" + rank }, box, swatch, String(rank + 1)));
  }

  probabilityCell(output) {
    const { listing } = this;
    const probability = listing.probability(this.image, output);
    const level = 100 * probability;
    const point = 100 * listing.points[output];
    const bar = CXR.drawing("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      CXR.drawing("rect", { class: "rail", y: 2, width: 100, height: 6 }),
      CXR.drawing("rect", { class: "level", y: 2, width: level.toFixed(1), height: 6 }),
      Number.isNaN(point) ? null : CXR.drawing("rect", { class: "tick", x: Math.min(point, 98.8).toFixed(1), width: 1.2, height: 10 }));
    return CXR.element("td", { class: "number probability" }, CXR.text.probability(probability), bar);
  }

  pointCell(at, output) {
    const above = this.listing.above[at];
    if (above < 0) return CXR.element("td", { class: "quiet" }, "none");
    const word = CXR.element("span", { class: above ? "above" : "below" }, above ? "above" : "below");
    return CXR.element("td", {}, word, " ", CXR.element("span", { class: "quiet" }, CXR.text.probability(this.listing.points[output])));
  }

  stateCell(state, text) {
    return CXR.element("td", { class: state < -1 ? "quiet" : null }, state === 1 ? CXR.element("strong", {}, text) : text);
  }

  drawFacts() {
    const { data, listing, image } = this;
    const share = (name) => listing.shares[name][image];
    const facts = [
      ["Saliency outside the thorax", this.shareText(share("outside_thorax"))],
      ["Outside the lungs", this.shareText(share("outside_lungs"))],
      ["On the border", this.shareText(share("border"))],
      ["On markers or text", this.shareText(share("markers"))],
    ];
    if (data) {
      facts.unshift(
        ["File", `${data.file}, ${data.shape[1]} × ${data.shape[0]} pixels, SHA-256 ${data.sha256.slice(0, 12)}`],
        ["View", this.viewText(data)],
        ["Laterality", data.laterality ? `${data.laterality} (from the header)` : "unknown"],
        ["Explained by", data.method],
      );
    }
    CXR.find("case-facts").replaceChildren(...facts.map(([name, text]) => CXR.element("div", {}, CXR.element("dt", {}, name), CXR.element("dd", {}, CXR.text.isolated(text, 300)))));
    const notes = [...(data?.problem ? ["Reference boxes or outlines cannot be shown: " + data.problem] : []), ...(data?.notes || [])];
    CXR.find("case-notes").replaceChildren(...notes.map((note) => CXR.element("li", {}, CXR.text.isolated(note, 400))));
    CXR.find("case-steps").replaceChildren(...(data?.steps || ["Not in this report."]).map((step) => CXR.element("li", {}, CXR.text.isolated(step, 400))));
  }

  /** The view as everywhere in this report; and the header's, where it says another. */
  viewText({ headerView }) {
    const { listing, image } = this;
    const other = listing.viewTold[image] && headerView && headerView !== listing.fact("view", image);
    return listing.view(image) + (other ? `; the header says ${headerView}` : "");
  }

  shareText(share) {
    return Number.isNaN(share) ? "not estimable" : `${(100 * share).toFixed(0)} % of the fused saliency`;
  }

  drawVerdict() {
    const given = this.verdicts.of(this.image);
    for (const kind of CXR.Verdicts.KINDS) CXR.find("verdict-" + kind).checked = given?.verdict === kind;
    CXR.find("note").value = given?.note || "";
    CXR.find("note-print").textContent = given?.note || "";
  }

  /** Take the verdict and the note over as they stand in the form. */
  keepNote() {
    if (this.image < 0) return;
    const verdict = CXR.Verdicts.KINDS.find((kind) => CXR.find("verdict-" + kind).checked) || null;
    const note = CXR.find("note").value;
    const before = this.verdicts.of(this.image);
    if ((before?.verdict || null) === verdict && (before?.note || "") === note) return;
    this.verdicts.set(this.image, verdict, note);
    CXR.find("note-print").textContent = note;
  }

  listen() {
    const on = (id, event, act) => CXR.find(id).addEventListener(event, act);
    on("verdict", "change", () => this.keepNote());
    on("verdict-clear", "click", () => {
      for (const kind of CXR.Verdicts.KINDS) CXR.find("verdict-" + kind).checked = false;
      this.keepNote();
    });
    on("note", "change", () => this.keepNote());
    on("note", "input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.keepNote(), 400);
    });
    on("previous", "click", () => this.walk(-1));
    on("next", "click", () => this.walk(1));
    document.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    if (CXR.find("view-case").hidden || !CXR.Controls.isFree(event)) return;
    const walks = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 };
    if (!(event.key in walks)) return;
    this.walk(walks[event.key]);
    event.preventDefault();
  }
};
