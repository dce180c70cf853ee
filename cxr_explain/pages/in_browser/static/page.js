/* The page: files in, one after the other; the radiograph with its overlay, key and predictions out. */

import { loadModel } from "./model.js";
import { displayWithin, prepare } from "./prepare.js";
import { readRadiograph } from "./reading.js";
import { Refusal } from "./refusal.js";

const about = JSON.parse(CXR.find("page-data").textContent);
const { text, element } = CXR;

/** A file as the model sees it and what comes of it: all that is shown. */
export async function explainFile(file, explain) {
  const radiograph = await readRadiograph(file);
  if (about.phantomOnly && !radiograph.phantom && !about.allowPhantomWeights) {
    throw new Refusal("an image which is no phantom", `phantoms, because ${about.model} has only seen phantoms`, "Use a page of published weights, such as densenet121-res224-all.");
  }
  const prepared = prepare(radiograph, about.size, about.fit);
  const found = await explain(prepared.input, about.size);
  if (found.logits.some((logit, at) => about.names[at] && !Number.isFinite(logit))) {
    throw new Refusal("scores that are NaN or infinite", "finite logits");
  }
  return { radiograph, prepared, found: { ...found, probabilities: probabilitiesOf(found.logits) } };
}

/** Sigmoids, or a softmax where exactly one output is true; in float64, as float32 rounds what is nearly 1. */
function probabilitiesOf(logits) {
  if (!about.oneLabel) return Float64Array.from(logits, (logit) => 1 / (1 + Math.exp(-logit)));
  const largest = Math.max(...logits);
  const powers = Float64Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** What the viewer is told of an explanation; see pages/viewer/case.py. */
function caseOf({ radiograph, prepared, found }) {
  const ranked = found.ranked.map((index) => about.names[index]);
  const { shape, square, seen } = prepared;
  return {
    image: displayWithin(radiograph, about.longest), shape, square, seen, sides: radiograph.sides, ranked,
    styles: ranked.map((name) => about.styles[name]), cells: found.cells, maps: found.maps, classMaps: found.classMaps,
    fusion: about.fusion, withoutGradient: [], boxes: [], referenceMaps: null,
  };
}

class Controls extends CXR.Controls {
  note() {
    return super.note().replace(" No reference boxes for this image.", "");
  }
}

class BrowserPage {
  constructor(explain) {
    this.explain = explain;
    this.viewer = new CXR.Viewer();
    this.controls = new Controls(this.viewer);
    this.waiting = [];
    this.entries = CXR.find("files");
    this.listen();
    this.say("Ready.");
  }

  listen() {
    const chosen = CXR.find("file"), drop = CXR.find("drop");
    chosen.disabled = false;
    chosen.addEventListener("change", () => {
      this.add(chosen.files);
      chosen.value = "";
    });
    const over = (event) => {
      event.preventDefault();
      drop.classList.toggle("over", event.type === "dragover");
    };
    // Beside the field, too: a browser would open the file instead.
    for (const name of ["dragover", "dragleave", "drop"]) document.addEventListener(name, over);
    document.addEventListener("drop", (event) => this.add(event.dataTransfer.files));
  }

  say(words) {
    CXR.find("status").textContent = words;
  }

  /** Explain files, in their order, behind those that wait. */
  async add(files) {
    for (const file of files) {
      const entry = element("li", {}, text.isolated(file.name), element("span", { class: "said" }, "waits"));
      this.entries.append(entry);
      this.waiting.push([file, entry]);
    }
    this.entries.hidden = !this.entries.children.length;
    if (this.busy) return;
    this.busy = true;
    for (let next; (next = this.waiting.shift()); ) await this.explainOne(...next);
    this.busy = false;
    this.say("Ready.");
  }

  async explainOne(file, entry) {
    const said = entry.querySelector(".said");
    this.say(`Computing ${text.cut(text.clean(file.name), 60)} …`);
    said.textContent = "is computed";
    await new Promise((painted) => setTimeout(painted, 30)); // the browser shows this before it is busy
    try {
      const explained = await explainFile(file, this.explain);
      said.textContent = summaryOf(explained.found);
      if (!entry.querySelector("button")) this.makeButton(file, entry);
      await this.show(file.name, explained);
      for (const each of this.entries.children) each.classList.toggle("shown", each === entry);
    } catch (error) {
      entry.classList.add("refused");
      said.setAttribute("role", "alert");
      said.textContent = error instanceof Refusal ? error.message : `an unexpected ${error.name}.`;
    }
  }

  /** The name becomes a button that shows the file again; it is computed anew, so that no image is kept. */
  makeButton(file, entry) {
    const button = element("button", { type: "button" }, text.isolated(file.name));
    button.addEventListener("click", () => {
      this.waiting.push([file, entry]);
      this.add([]);
    });
    entry.querySelector("bdi").replaceWith(button);
  }

  async show(name, explained) {
    const { radiograph, prepared, found } = explained;
    this.explained = explained;
    CXR.find("result").hidden = false;
    CXR.find("name").textContent = text.cut(text.clean(name)) || "(no name)";
    CXR.find("phantom").hidden = !radiograph.phantom;
    const warned = about.phantomOnly && !radiograph.phantom;
    CXR.find("alert").hidden = !warned;
    CXR.find("alert").textContent = warned ? about.phantomWeightsWarning : "";
    CXR.find("rows").replaceChildren(...rowsOf(found));
    const one = found.ranked.length === 1;
    for (const k of [1, 2]) CXR.find(`reading-${k}`).hidden = one !== (k === 1);
    fill("notes", [...radiograph.warnings, ...about.notes]);
    fill("steps", [...radiograph.steps, ...prepared.steps]);
    CXR.find("stage").removeAttribute("style");
    await this.viewer.show(caseOf(explained));
    this.controls.draw();
    CXR.find("radiograph").setAttribute("aria-label", spokenOf(explained));
  }
}

const fill = (id, texts) => CXR.find(id).replaceChildren(...Array.from(new Set(texts), (each) => element("li", {}, each)));

function summaryOf({ ranked, probabilities }) {
  return ranked.slice(0, 3).map((index) => `${text.pathology(about.names[index])} ${text.probability(probabilities[index])}`).join(", ");
}

function spokenOf({ radiograph, found }) {
  const shown = found.ranked.map((index) => `${text.pathology(about.names[index])} (probability ${text.probability(found.probabilities[index])})`);
  const method = about.methods[shown.length === 1 ? 0 : 1];
  return `${radiograph.phantom ? "Computed chest phantom" : "Chest radiograph"} with the ${method} of ${shown.join(", ")}.`;
}

/** The ranked pathologies with their layers, then the others, the most probable first. */
function rowsOf({ ranked, logits, probabilities }) {
  const others = about.names.flatMap((name, index) => (name && !ranked.includes(index) ? [index] : []));
  others.sort((a, b) => logits[b] - logits[a]);
  return [...ranked, ...others].map((index, at) => {
    const rank = at < ranked.length ? at + 1 : null;
    return element("tr", { class: rank ? "ranked" : null }, layerCell(about.names[index], rank),
      element("th", { scope: "row" }, element("bdi", {}, text.pathology(about.names[index]))), ...predictionCells(probabilities[index], about.points[index]));
  });
}

function layerCell(name, rank) {
  if (!rank) return element("td", { class: "quiet" }, "–");
  const box = element("input", { type: "checkbox", class: "layer", id: `layer-${rank - 1}`, checked: true, "aria-label": `Layer ${rank}: ${text.pathology(name)}` });
  return element("td", { class: "layer-cell" }, element("label", { for: box.id }, box, CXR.Viewer.swatch(about.styles[name]), String(rank)));
}

function predictionCells(probability, point) {
  const cell = element("td", { class: "probability" }, element("span", { class: "number" }, text.probability(probability)), barOf(probability, point));
  if (point === null) return [cell, element("td", { class: "quiet" }, "no operating point")];
  const side = probability >= point ? "above" : "below";
  return [cell, element("td", { class: "point" }, element("span", { class: side }, side), " ", element("span", { class: "quiet number" }, text.probability(point)))];
}

/** A bar with a tick at the operating point; decoration, both numbers are in words. */
function barOf(probability, point) {
  const { drawing } = CXR;
  const tick = point === null ? null : drawing("rect", { class: "tick", x: Math.min(100 * point, 98.8), width: 1.2, height: 10 });
  return drawing("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
    drawing("rect", { class: "rail", y: 2, width: 100, height: 6 }), drawing("rect", { class: "level", y: 2, width: 100 * probability, height: 6 }), tick);
}

/** From now on the page may ask no server for anything, and load no further script. */
function closeTheNetwork() {
  document.head.append(element("meta", { "http-equiv": "Content-Security-Policy", content: "connect-src 'none'; script-src 'none'; worker-src 'none'" }));
}

async function start() {
  CXR.find("unserved").hidden = true;
  CXR.find("drop").hidden = false;
  try {
    const explain = await loadModel(about.graph, about.digest, (share) => (CXR.find("progress").value = share));
    closeTheNetwork();
    CXR.find("progress").hidden = true;
    CXR.app = new BrowserPage(explain);
  } catch (error) {
    CXR.find("progress").hidden = true;
    CXR.find("status").textContent = `The model could not be loaded: ${text.clean(error.message)}`;
  }
}

start();
