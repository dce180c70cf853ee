"use strict";
/* A reviewer's verdicts: kept in this browser where it allows it, saved to a file, and loaded from one. */

CXR.Verdicts = class {
  static KINDS = ["agree", "disagree", "artefact", "unsure"];
  static SCHEMA = "cxr-explain/verdicts/1";
  static LONGEST = 10000;
  static LARGEST = 50e6;

  constructor(listing) {
    this.listing = listing;
    this.given = new Map();
    this.listeners = [];
    const { manifest, model, weights, settings, images } = listing.about.run;
    // All reports that were opened from a disk share one storage.
    this.place = ["cxr-explain", manifest, model, weights, settings, images].join("/");
    this.restore();
  }

  of(image) {
    return this.given.get(image);
  }

  get size() {
    return this.given.size;
  }

  set(image, verdict, note) {
    if (!verdict && !note) this.given.delete(image);
    else this.given.set(image, { verdict: verdict || null, note: note || "", at: new Date().toISOString() });
    this.keep();
    this.tell();
  }

  /** Whether the browser keeps the verdicts; a private window may not. */
  keep() {
    try {
      localStorage.setItem(this.place, this.toJson());
      this.kept = true;
    } catch {
      this.kept = false;
    }
  }

  restore() {
    try {
      const text = localStorage.getItem(this.place);
      if (text) this.read(text);
    } catch {
      this.given.clear();
    }
  }

  tell() {
    for (const listener of this.listeners) listener();
  }

  toJson() {
    const verdicts = Array.from(this.given.keys()).sort((a, b) => a - b).map((image) => ({
      row: this.listing.rows[image],
      image_id: this.listing.ids[image],
      ...this.given.get(image),
    }));
    return JSON.stringify({ schema: CXR.Verdicts.SCHEMA, run: this.listing.about.run, verdicts }, null, 1);
  }

  toCsv() {
    const { listing } = this;
    const rows = [["row", "image_id", "verdict", "note", "at", "first_ranked", "probability", "reference_positive"]];
    for (const image of Array.from(this.given.keys()).sort((a, b) => a - b)) {
      const { verdict, note, at } = this.given.get(image);
      const first = listing.explained[image] ? listing.firstRanked(image) : -1;
      rows.push([
        listing.rows[image], listing.ids[image], verdict, note, at,
        first < 0 ? "" : listing.pathologies[first],
        first < 0 ? "" : listing.probability(image, first),
        listing.positives(image).join("|"),
      ]);
    }
    return CXR.text.csv(rows);
  }

  /** Take over what a file says; what it does not name stays.
   *  Returns {taken, refused, other}: "model" or "settings", where a report on others saved it, else "".
   *  Throws an Error in words for another file. */
  read(text) {
    let document;
    try {
      document = JSON.parse(text);
    } catch {
      throw new Error("This is no JSON file.");
    }
    if (!CXR.Verdicts.isObject(document) || document.schema !== CXR.Verdicts.SCHEMA || !Array.isArray(document.verdicts)) {
      throw new Error("This is no file of verdicts that a report saved.");
    }
    if (!CXR.Verdicts.isObject(document.run) || document.run.manifest !== this.listing.about.run.manifest) {
      throw new Error("These verdicts are about other images: the manifest differs.");
    }
    let taken = 0;
    for (const entry of document.verdicts) {
      const found = this.checked(entry);
      if (!found) continue;
      this.given.set(found.image, found.given);
      taken++;
    }
    return { taken, refused: document.verdicts.length - taken, other: this.other(document.run) };
  }

  /** What differs between this report and the one that saved a file; older ones did not say their settings. */
  other(saved) {
    const { model, weights, settings } = this.listing.about.run;
    if (saved.model !== model || saved.weights !== weights) return "model";
    return saved.settings !== undefined && saved.settings !== settings ? "settings" : "";
  }

  /** An entry of a file, taken apart: nothing of it is used that is not expected. */
  checked(entry) {
    if (!CXR.Verdicts.isObject(entry) || !Number.isInteger(entry.row)) return null;
    const image = this.listing.byRow.get(entry.row);
    if (image === undefined || this.listing.ids[image] !== entry.image_id) return null;
    const verdict = entry.verdict ?? null;
    const note = entry.note ?? "";
    if (verdict !== null && !CXR.Verdicts.KINDS.includes(verdict)) return null;
    if (typeof note !== "string" || note.length > CXR.Verdicts.LONGEST || (!verdict && !note)) return null;
    const at = typeof entry.at === "string" && /^\d{4}-\d\d-\d\dT[\d:.]{5,15}Z$/.test(entry.at) ? entry.at : "";
    return { image, given: { verdict, note, at } };
  }

  static isObject(value) {
    return typeof value === "object" && value !== null && !Array.isArray(value);
  }

  async load(file) {
    if (file.size > CXR.Verdicts.LARGEST) throw new Error("This file is too large to be one of verdicts.");
    const found = this.read(await file.text());
    this.keep();
    this.tell();
    return found;
  }
};
