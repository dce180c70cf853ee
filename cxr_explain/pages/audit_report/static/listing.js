"use strict";
/* All rows of the audit as columns, and what may be asked of them; see listing.py. An image is its place here. */

CXR.Listing = class {
  constructor(data, about) {
    const decode = CXR.decode;
    this.about = about;
    this.ids = data.ids;
    this.length = data.ids.length;
    this.rows = decode(data.rows);
    this.pathologies = data.pathologies;
    this.points = data.points.map((point) => point ?? NaN);
    this.pointLogits = this.points.map((point) => Math.log(point) - Math.log1p(-point));
    this.logits = decode(data.logits);
    this.above = decode(data.above);
    this.labelled = data.labelled;
    this.states = decode(data.states);
    this.outputStates = this.ofOutputs(this.states, data.labelOf);
    this.outputCounts = this.ofOutputs(decode(data.counted), data.labelOf);
    this.ranking = decode(data.ranking);
    this.k = this.length ? this.ranking.length / this.length : 0;
    this.explained = decode(data.explained);
    this.shares = Object.fromEntries(Object.entries(data.shares).map(([name, values]) => [name, decode(values)]));
    this.failures = new Map(data.failures.map(([image, code, message]) => [image, { code, message }]));
    const coded = (columns) => new Map(columns.map(([name, { values, codes }]) => [name, { values, codes: decode(codes) }]));
    this.facts = coded(data.facts);
    this.places = coded(data.places);
    this.patients = decode(data.patients);
    this.ages = decode(data.ages);
    this.viewTold = decode(data.viewTold);
    this.queues = new Map(about.queues.map((queue) => [queue.key, new CXR.Queue(queue)]));
    this.withPixels = new Map(about.withPixels.map((row, place) => [row, place]));
    this.byRow = new Map(Array.from(this.rows, (row, image) => [row, image]));
    this.cache = {};
  }

  /** From a number of each reference label to one of each output; not labelled where there is no such column. */
  ofOutputs(numbers, labelOf) {
    const [P, Q] = [this.pathologies.length, this.labelled.length];
    const found = new Int8Array(this.length * P).fill(-3);
    labelOf.forEach((q, output) => {
      if (q < 0) return;
      for (let image = 0; image < this.length; image++) found[image * P + output] = numbers[image * Q + q];
    });
    return found;
  }

  /** The sigmoid of the log odds; NaN for a failure. */
  probability(image, output) {
    return 1 / (1 + Math.exp(-this.logits[this.at(image, output)]));
  }

  /** Log odds from the operating point; NaN without one. */
  distance(image, output) {
    const distance = this.logits[this.at(image, output)] - this.pointLogits[output];
    return Number.isFinite(distance) ? distance : NaN;
  }

  /** Ids in lower case, made when they are first searched. */
  get folded() {
    return (this.cache.folded ||= this.ids.map((id) => id.toLowerCase()));
  }

  /** Ids in their order, as numbers that sort fast. */
  get idOrder() {
    if (!this.cache.idOrder) {
      const order = Array.from(this.ids.keys()).sort((a, b) => (this.ids[a] < this.ids[b] ? -1 : this.ids[a] > this.ids[b] ? 1 : 0));
      const place = new Float64Array(this.length);
      order.forEach((image, at) => { place[image] = at; });
      this.cache.idOrder = place;
    }
    return this.cache.idOrder;
  }

  hasPixels(image) {
    return this.withPixels.has(this.rows[image]);
  }

  /** The place of an image among those with pixels; -1 without. */
  pixelPlace(image) {
    return this.withPixels.get(this.rows[image]) ?? -1;
  }

  /** The number of an image's patient, by the image's id; undefined for none of this list. */
  patientOf(id) {
    this.cache.byId ||= new Map(this.ids.map((each, image) => [each, image]));
    return this.patients[this.cache.byId.get(id)];
  }

  imagesOfPatient(image) {
    return this.patients.reduce((count, patient) => count + (patient === this.patients[image]), 0);
  }

  /** An age in words; "" where it is not known. */
  age(image) {
    const age = this.ages[image];
    if (age < 0) return "";
    return age >= this.about.oldest ? `${age} years or more` : `${age} ${age === 1 ? "year" : "years"}`;
  }

  /** The view and who says it: the manifest, else the header. */
  view(image) {
    const view = this.fact("view", image);
    return view ? `${view} (from ${this.viewTold[image] ? "the manifest" : "the header"})` : "unknown";
  }

  fact(name, image) {
    const { values, codes } = this.facts.get(name);
    return values[codes[image]];
  }

  at(image, output) {
    return image * this.pathologies.length + output;
  }

  firstRanked(image) {
    return this.k ? this.ranking[image * this.k] : -1;
  }

  ranked(image) {
    const found = [];
    for (let rank = 0; rank < this.k; rank++) {
      const output = this.ranking[image * this.k + rank];
      if (output >= 0) found.push(output);
    }
    return found;
  }

  /** Where the lists of K have what is known of an output of an image; -1 where it is not ranked. */
  rankPlace(image, output) {
    for (let at = image * this.k; at < (image + 1) * this.k; at++) if (this.ranking[at] === output) return at;
    return -1;
  }

  /** A reference label, and what the audit's policy for labels makes of it. */
  labelText(at) {
    const [state, counted] = [CXR.STATES[this.outputStates[at]], CXR.STATES[this.outputCounts[at]]];
    return state === counted ? state : `${state}, counts as ${counted}`;
  }

  /** "agrees", "disagrees", or "" without an operating point, or a label that counts as positive or negative. */
  agreement(image, output) {
    if (output < 0) return "";
    const at = this.at(image, output);
    const [above, counted] = [this.above[at], this.outputCounts[at]];
    if (above < 0 || counted < 0) return "";
    return above === counted ? "agrees" : "disagrees";
  }

  positives(image) {
    const Q = this.labelled.length;
    return this.labelled.filter((_, q) => this.states[image * Q + q] === 1);
  }

  /** Which pathology each row of the list is about: the chosen one, the queue's, or the first ranked. */
  subjects({ subject, queue }, entries) {
    const subjects = new Int16Array(this.length);
    if (subject >= 0) return subjects.fill(subject);
    for (let image = 0; image < this.length; image++) subjects[image] = this.firstRanked(image);
    if (queue) for (const [image, { output }] of entries) if (output >= 0) subjects[image] = output;
    return subjects;
  }

  /** The images of a list, in its order.
   *  ask: {queue, shown, search, patient, subject, side, state, agreement, age, facts, status, verdict, sort, descending}
   *  Gives also how many fit before a queue shows one image a patient, and how many before it is cut. */
  select(ask, verdicts) {
    const entries = ask.queue ? this.queues.get(ask.queue).of(ask.subject) : null;
    const subjects = this.subjects(ask, entries);
    const tests = this.tests(ask, subjects, verdicts);
    const from = entries ? Int32Array.from(entries.keys()) : null;
    const n = from ? from.length : this.length;
    const found = new Int32Array(n);
    let size = 0;
    outer: for (let at = 0; at < n; at++) {
      const image = from ? from[at] : at;
      for (const test of tests) if (!test(image)) continue outer;
      found[size++] = image;
    }
    const fitting = found.slice(0, size);
    const distinct = entries && ask.shown !== "images" ? this.onePerPatient(fitting) : fitting;
    const images = entries && ask.shown === "" ? distinct.slice(0, this.about.shown) : distinct;
    const values = entries && new Map(Array.from(entries, ([image, { value }]) => [image, value]));
    return { images: this.sorted(images, ask, subjects, values), subjects, values, fitting: fitting.length, distinct: distinct.length };
  }

  onePerPatient(images) {
    const seen = new Set();
    return images.filter((image) => !seen.has(this.patients[image]) && seen.add(this.patients[image]));
  }

  tests(ask, subjects, verdicts) {
    const tests = [];
    const P = this.pathologies.length;
    const wanted = ask.search.trim().toLowerCase();
    if (wanted) tests.push((image) => this.folded[image].includes(wanted));
    const at = (image) => image * P + subjects[image];
    if (ask.patient) {
      const patient = this.patientOf(ask.patient);
      tests.push((image) => this.patients[image] === patient);
    }
    if (ask.age) tests.push(this.ageTest(ask.age));
    if (ask.side) tests.push((image) => subjects[image] >= 0 && this.explained[image] && CXR.SIDES[this.above[at(image)]] === ask.side);
    if (ask.state) tests.push((image) => subjects[image] >= 0 && CXR.STATES[this.outputStates[at(image)]] === ask.state);
    if (ask.agreement) tests.push((image) => this.agreement(image, subjects[image]) === ask.agreement);
    for (const [name, value] of ask.facts) {
      const { values, codes } = this.facts.get(name) || this.places.get(name);
      const code = values.indexOf(value);
      const place = this.facts.has(name) ? (image) => image : (image) => this.rankPlace(image, subjects[image]);
      tests.push((image) => (codes[place(image)] ?? 0) === code);
    }
    if (ask.status === "pixels") tests.push((image) => this.hasPixels(image));
    if (ask.status === "explained") tests.push((image) => this.explained[image] === 1);
    if (ask.status === "failed") tests.push((image) => this.explained[image] === 0);
    if (ask.verdict === "none") tests.push((image) => !verdicts.of(image));
    else if (ask.verdict) tests.push((image) => verdicts.of(image)?.verdict === ask.verdict);
    return tests;
  }

  /** Of full years, from the first to the last, or unknown. */
  ageTest(age) {
    if (age === CXR.Address.UNKNOWN) return (image) => this.ages[image] < 0;
    const [from, to] = age.split("-");
    const [least, most] = [Math.min(+from, this.about.oldest), to ? +to : Infinity]; // older ones have the oldest age
    return (image) => this.ages[image] >= least && this.ages[image] <= most;
  }

  sorted(images, { sort, descending }, subjects, values) {
    if (!sort) return images;
    const keys = this.keys(sort, subjects, values);
    const sign = descending ? -1 : 1;
    // Images without a value come last whichever way the others go.
    return images.sort((a, b) => {
      const [x, y] = [keys[a], keys[b]];
      if (x !== x || y !== y) return x !== x ? (y !== y ? a - b : 1) : -1;
      return sign * (x - y) || a - b;
    });
  }

  keys(sort, subjects, values) {
    if (sort === "row") return this.rows;
    if (sort === "id") return this.idOrder;
    if (sort in this.shares) return this.shares[sort];
    const keys = new Float32Array(this.length).fill(NaN);
    if (sort === "value") {
      for (const [image, value] of values || []) keys[image] = value;
      return keys;
    }
    const value = {
      probability: (image, output) => this.logits[this.at(image, output)], // in the same order, without its rounding
      distance: (image, output) => this.distance(image, output),
      state: (image, output) => this.outputStates[this.at(image, output)],
      subject: (_, output) => output,
    }[sort];
    for (let image = 0; image < this.length; image++) {
      if (this.explained[image] && subjects[image] >= 0) keys[image] = value(image, subjects[image]);
    }
    return keys;
  }
};

CXR.Queue = class {
  constructor(data) {
    const { key, title, question, rule, measure, ofPathologies } = data;
    Object.assign(this, { key, title, question, rule, measure, ofPathologies });
    this.found = new Map(data.found);
    this.expected = new Map(data.expected);
    this.images = CXR.decode(data.images);
    this.outputs = CXR.decode(data.outputs);
    this.values = CXR.decode(data.values);
  }

  /** The entries of a pathology, -1 for any, in their order: by image, its first one. */
  of(subject) {
    const entries = new Map();
    for (let at = 0; at < this.images.length; at++) {
      const [image, output] = [this.images[at], this.outputs[at]];
      if ((subject < 0 || output === subject) && !entries.has(image)) entries.set(image, { output, value: this.values[at] });
    }
    return entries;
  }

  /** How the list of a pathology was chosen, in words. */
  told(subject) {
    const count = this.found.get(subject) ?? 0;
    const expected = this.expected.get(subject);
    const beside = expected === undefined ? "" : `; if the log odds from the operating point were right, about ${CXR.text.count(Math.round(expected))} would be`;
    return `Chosen: ${this.rule} ${CXR.text.count(count)} ${count === 1 ? "image is" : "images are"} so${beside}.`;
  }
};

CXR.STATES = { 1: "positive", 0: "negative", "-1": "uncertain", "-2": "not mentioned", "-3": "not labelled" };
CXR.SIDES = { 1: "above", 0: "below", "-1": "no operating point" };
