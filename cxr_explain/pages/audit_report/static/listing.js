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
    this.outputStates = this.statesOf(data.labelOf);
    this.ranking = decode(data.ranking);
    this.k = this.length ? this.ranking.length / this.length : 0;
    this.explained = decode(data.explained);
    this.shares = Object.fromEntries(Object.entries(data.shares).map(([name, values]) => [name, decode(values)]));
    this.failures = new Map(data.failures.map(([image, code, message]) => [image, { code, message }]));
    this.facts = Object.fromEntries(
      Object.entries(data.facts).map(([name, { values, codes }]) => [name, { values, codes: decode(codes) }]),
    );
    this.queues = new Map(about.queues.map((queue) => [queue.key, new CXR.Queue(queue)]));
    this.withPixels = new Set(about.withPixels);
    this.byRow = new Map(Array.from(this.rows, (row, image) => [row, image]));
    this.cache = {};
  }

  /** The reference label of each output; not labelled where the manifest has no such column. */
  statesOf(labelOf) {
    const [P, Q] = [this.pathologies.length, this.labelled.length];
    const states = new Int8Array(this.length * P).fill(-3);
    labelOf.forEach((q, output) => {
      if (q < 0) return;
      for (let image = 0; image < this.length; image++) states[image * P + output] = this.states[image * Q + q];
    });
    return states;
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

  fact(name, image) {
    const { values, codes } = this.facts[name];
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

  /** "agrees", "disagrees", or "" where there is no operating point or no positive or negative label. */
  agreement(image, output) {
    if (output < 0) return "";
    const at = this.at(image, output);
    const [above, state] = [this.above[at], this.outputStates[at]];
    if (above < 0 || state < 0) return "";
    return above === state ? "agrees" : "disagrees";
  }

  positives(image) {
    const Q = this.labelled.length;
    return this.labelled.filter((_, q) => this.states[image * Q + q] === 1);
  }

  /** Which pathology a row of the list is about: the chosen one, the queue's, or the first ranked. */
  subjects({ subject, queue }) {
    const subjects = new Int16Array(this.length);
    if (subject >= 0) return subjects.fill(subject);
    for (let image = 0; image < this.length; image++) subjects[image] = this.firstRanked(image);
    if (queue) {
      const { images, outputs } = this.queues.get(queue);
      for (let at = 0; at < images.length; at++) if (outputs[at] >= 0) subjects[images[at]] = outputs[at];
    }
    return subjects;
  }

  /** The images of a list, in its order.
   *  ask: {queue, search, subject, side, state, agreement, facts, status, verdict, sort, descending} */
  select(ask, verdicts) {
    const subjects = this.subjects(ask);
    const from = ask.queue ? this.queues.get(ask.queue).images : null;
    const tests = this.tests(ask, subjects, verdicts);
    const n = from ? from.length : this.length;
    const found = new Int32Array(n);
    let size = 0;
    outer: for (let at = 0; at < n; at++) {
      const image = from ? from[at] : at;
      for (const test of tests) if (!test(image)) continue outer;
      found[size++] = image;
    }
    return { images: this.sorted(found.slice(0, size), ask, subjects), subjects };
  }

  tests(ask, subjects, verdicts) {
    const tests = [];
    const P = this.pathologies.length;
    const wanted = ask.search.trim().toLowerCase();
    if (wanted) tests.push((image) => this.folded[image].includes(wanted));
    if (ask.side !== "") tests.push((image) => subjects[image] >= 0 && this.explained[image] && this.above[image * P + subjects[image]] === +ask.side);
    if (ask.state !== "") tests.push((image) => subjects[image] >= 0 && this.outputStates[image * P + subjects[image]] === +ask.state);
    if (ask.agreement) tests.push((image) => this.agreement(image, subjects[image]) === ask.agreement);
    for (const [name, value] of Object.entries(ask.facts)) {
      const code = this.facts[name].values.indexOf(value);
      const codes = this.facts[name].codes;
      tests.push((image) => codes[image] === code);
    }
    if (ask.status === "pixels") tests.push((image) => this.hasPixels(image));
    if (ask.status === "explained") tests.push((image) => this.explained[image] === 1);
    if (ask.status === "failed") tests.push((image) => this.explained[image] === 0);
    if (ask.verdict === "none") tests.push((image) => !verdicts.of(image));
    else if (ask.verdict) tests.push((image) => verdicts.of(image)?.verdict === ask.verdict);
    return tests;
  }

  sorted(images, { sort, descending, queue }, subjects) {
    if (!sort) return images;
    const keys = this.keys(sort, subjects, queue);
    const sign = descending ? -1 : 1;
    // Images without a value come last whichever way the others go.
    return images.sort((a, b) => {
      const [x, y] = [keys[a], keys[b]];
      if (x !== x || y !== y) return x !== x ? (y !== y ? a - b : 1) : -1;
      return sign * (x - y) || a - b;
    });
  }

  keys(sort, subjects, queue) {
    if (sort === "row") return this.rows;
    if (sort === "id") return this.idOrder;
    if (sort in this.shares) return this.shares[sort];
    const keys = new Float32Array(this.length).fill(NaN);
    if (sort === "value" && queue) {
      const { images, values } = this.queues.get(queue);
      for (let at = 0; at < images.length; at++) keys[images[at]] = values[at];
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
    Object.assign(this, { key: data.key, title: data.title, question: data.question, measure: data.measure, found: data.found });
    this.images = CXR.decode(data.images);
    this.outputs = CXR.decode(data.outputs);
    this.values = CXR.decode(data.values);
  }
};

CXR.STATES = { 1: "positive", 0: "negative", "-1": "uncertain", "-2": "not mentioned", "-3": "not labelled" };
