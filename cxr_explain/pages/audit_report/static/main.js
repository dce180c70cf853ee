"use strict";
/* From the address to what is shown: #overview, #cases?..., #case=ROW, or a heading of the overview. */

(() => {
  const find = CXR.find;
  const VIEWS = ["overview", "cases", "case"];
  let app = null;
  let starting = null;

  /** Load the rows when they are first needed: the overview opens without them. */
  function start() {
    starting ||= Promise.all([CXR.load("listing", "data/listing.js"), CXR.load("about", "data/about.js")]).then(([data, about]) => {
      app = new App(new CXR.Listing(data, about));
      CXR.app = app;
      return app;
    });
    return starting;
  }

  function show(view) {
    for (const each of VIEWS) find("view-" + each).hidden = each !== view;
    find("review").hidden = view === "overview";
    for (const link of document.querySelectorAll("nav a")) {
      if (link.getAttribute("href") === "#" + view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  async function route() {
    const address = location.hash.slice(1);
    try {
      if (/^cases(\?|$)/.test(address)) await openList(address.slice("cases?".length));
      else if (/^case=\d{1,10}$/.test(address)) await openCase(+address.slice("case=".length));
      else openOverview(address);
    } catch (error) {
      show("overview");
      find("view-overview").prepend(CXR.element("p", { class: "banner", role: "alert" }, error.message));
    }
  }

  function openOverview(anchor) {
    const wasElsewhere = find("view-overview").hidden;
    show("overview");
    document.title = "Audit of a chest radiograph classifier";
    const target = anchor && anchor !== "overview" && anchor !== "main" && document.getElementById(anchor);
    if (target) target.scrollIntoView();
    else if (wasElsewhere) scrollTo(0, 0);
  }

  async function openList(query) {
    await start();
    show("cases");
    document.title = "Images · audit";
    app.showList(query);
    scrollTo(0, 0);
    app.table.move(app.table.active);
    find("grid").focus({ preventScroll: true });
  }

  async function openCase(row) {
    await start();
    const image = app.listing.byRow.get(row);
    if (image === undefined) throw new Error(`Row ${row} is not in this audit.`);
    const wasElsewhere = find("view-case").hidden;
    show("case");
    if (wasElsewhere) scrollTo(0, 0);
    app.openImage(image);
    if (wasElsewhere) find("title-case").focus({ preventScroll: true });
  }

  class App {
    constructor(listing) {
      this.listing = listing;
      this.verdicts = new CXR.Verdicts(listing);
      this.table = new CXR.Table({ listing, verdicts: this.verdicts, open: (at) => this.go(this.table.images[at]), onSort: (key) => this.sortBy(key) });
      this.page = new CXR.CasePage({ listing, verdicts: this.verdicts, walk: (step) => this.walk(step) });
      this.address = new CXR.Address(listing);
      this.fillFacts();
      this.query = null;
      this.listen();
      this.tellCount();
    }

    fillFacts() {
      for (const [name, select] of this.address.facts) {
        const { values } = this.listing.facts.get(name) || this.listing.places.get(name);
        const told = values.filter((value) => value && value !== CXR.Address.UNKNOWN).sort();
        select.append(...told.map((value) => CXR.element("option", { value }, CXR.text.cut(CXR.text.clean(value), 40))));
        if (told.length < values.length) select.append(CXR.element("option", { value: CXR.Address.UNKNOWN }, CXR.Address.UNKNOWN));
      }
    }

    /** The list that an address asks for; the same one stays where it is. */
    showList(query) {
      if (query === this.query) return;
      const left = this.address.read(query);
      find("address-note").textContent = left.length ? `Left out of the address, as nothing here is called so: ${left.join(", ")}` : "";
      this.query = query;
      this.refresh();
    }

    /** The controls were changed: make the list anew, and put its address into the history, or in place of the last. */
    changed({ replace = false } = {}) {
      this.query = this.address.write();
      find("address-note").textContent = "";
      history[replace ? "replaceState" : "pushState"](null, "", this.here);
      this.refresh();
    }

    get here() {
      return "#cases" + (this.query ? "?" + this.query : "");
    }

    /** Make the list anew from the controls. */
    refresh() {
      const { ask } = this.address;
      const found = this.listing.select(ask, this.verdicts);
      const queue = this.listing.queues.get(ask.queue);
      this.table.show(found, ask, find("thumbnails").checked && this.listing.withPixels.size > 0);
      find("tally").textContent = queue ? this.queueTally(found, ask) : `${CXR.text.count(found.images.length)} of ${CXR.text.count(this.listing.length)} images`;
      find("question").textContent = queue ? queue.question : "";
      find("rule").textContent = queue ? queue.told(queue.ofPathologies ? ask.subject : -1) : "";
      find("title-cases").textContent = queue ? queue.title + (ask.subject < 0 ? "" : ": " + CXR.text.pathology(this.listing.pathologies[ask.subject])) : "Images";
      for (const id of ["nav-cases", "back"]) find(id).href = this.here;
    }

    /** How many are shown of how many, and why not all. */
    queueTally({ images, fitting, distinct }, { shown }) {
      const count = CXR.text.count;
      const reasons = [];
      if (shown !== "images" && distinct < fitting) reasons.push("one a patient");
      if (images.length < distinct) reasons.push(`the first ${count(images.length)}`);
      return `${count(images.length)} of ${count(fitting)} images${reasons.length ? ": " + reasons.join(", ") : ""}`;
    }

    refreshIfNew() {
      if (this.query === null) this.showList("");
    }

    /** First the way in which a column is most telling, then the other way, then the list's own order. */
    sortBy(key) {
      const down = !["row", "id", "subject"].includes(key);
      const { sort, descending } = this.address.sort;
      if (sort !== key) this.address.sort = { sort: key, descending: down };
      else if (descending === down) this.address.sort = { sort: key, descending: !down };
      else this.address.sort = { sort: "", descending: false };
      this.changed();
      find("sort-" + key)?.focus();
    }

    go(image) {
      location.hash = "case=" + this.listing.rows[image];
    }

    openImage(image) {
      this.refreshIfNew();
      const { images } = this.table;
      let at = images[this.table.active] === image ? this.table.active : images.indexOf(image);
      if (at >= 0) this.table.active = at;
      const place = at < 0 ? "not in this list" : `${CXR.text.count(at + 1)} of ${CXR.text.count(images.length)}`;
      const title = find("title-cases").textContent;
      find("previous").disabled = at <= 0;
      find("next").disabled = at < 0 || at >= images.length - 1;
      find("nav-case").replaceChildren(CXR.element("a", { href: "#case=" + this.listing.rows[image], "aria-current": "page" }, "Image"));
      this.shown = this.page.show(image, `${place} · ${title}`);
    }

    walk(step) {
      const to = this.table.active + step;
      if (this.table.images[this.table.active] !== this.page.image || to < 0 || to >= this.table.images.length) return;
      this.table.active = to;
      this.go(this.table.images[to]);
    }

    tellCount() {
      const { size, kept } = this.verdicts;
      const where = size && kept === false ? ", not kept by this browser: save them" : "";
      find("review-count").textContent = `${CXR.text.count(size)} ${size === 1 ? "verdict" : "verdicts"}${where}`;
      find("save-json").disabled = find("save-csv").disabled = !size;
    }

    async load(input) {
      const [file] = input.files;
      if (!file) return;
      const message = find("verdict-message");
      try {
        const { taken, refused, other } = await this.verdicts.load(file);
        const others = { model: " They were given to another model's report.", settings: " They were given to a report on maps of other settings." };
        this.table.draw();
        message.textContent = `${CXR.text.count(taken)} loaded, ${CXR.text.count(refused)} refused.${others[other] ?? ""}`;
        if (this.page.image >= 0) this.page.drawVerdict();
      } catch (error) {
        message.textContent = error.message;
      }
      input.value = "";
    }

    saveList() {
      const { images, subjects } = this.table;
      const L = this.listing;
      const rows = [["row", "image_id", "pathology", "probability", "operating_point", "reference_label", "counted_as", "agreement", "reference_positive", "share_outside_thorax", "verdict"]];
      for (const image of images) {
        const output = L.explained[image] ? subjects[image] : -1;
        const at = L.at(image, output);
        const known = (value) => (output < 0 || Number.isNaN(value) ? "" : value);
        rows.push([L.rows[image], L.ids[image], output < 0 ? "" : L.pathologies[output], known(L.probability(image, output)), known(L.points[output]),
          ...[L.outputStates, L.outputCounts].map((states) => (output < 0 ? "" : CXR.STATES[states[at]])), L.agreement(image, output), L.positives(image).join("|"),
          Number.isNaN(L.shares.outside_thorax[image]) ? "" : L.shares.outside_thorax[image], this.verdicts.of(image)?.verdict ?? ""]);
      }
      CXR.save("images.csv", "text/csv", CXR.text.csv(rows));
    }

    listen() {
      const on = (id, event, act) => find(id).addEventListener(event, act);
      on("filters", "submit", (event) => event.preventDefault());
      on("filters", "change", ({ target }) => {
        if (target.id === "queue") this.address.sort = { sort: "", descending: false };
        if (target.id !== "search") this.changed();
      });
      on("search", "input", () => this.changed({ replace: true }));
      on("thumbnails", "change", () => this.changed());
      on("clear", "click", () => {
        this.address.read("");
        this.changed();
      });
      on("save-list", "click", () => this.saveList());
      const save = (name, type, text) => {
        this.page.keepNote();
        CXR.save(name, type, text());
      };
      on("save-json", "click", () => save("verdicts.json", "application/json", () => this.verdicts.toJson()));
      on("save-csv", "click", () => save("verdicts.csv", "text/csv", () => this.verdicts.toCsv()));
      on("load", "change", (event) => this.load(event.target));
      addEventListener("pagehide", () => this.page.keepNote());
      this.verdicts.listeners.push(() => this.tellCount());
    }
  }

  addEventListener("hashchange", route);
  route();
})();
