"use strict";
/* From the address to what is shown: #overview, #cases, #queue=KEY and #case=ROW, or a heading of the overview. */

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
    const [name, value] = location.hash.slice(1).split("=");
    try {
      if (name === "cases" || name === "queue") await openList(name === "queue" ? value : null);
      else if (name === "case" && /^\d{1,10}$/.test(value || "")) await openCase(+value);
      else openOverview(name);
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

  async function openList(queue) {
    await start();
    show("cases");
    document.title = "Images · audit";
    if (queue !== null) app.chooseQueue(queue);
    else app.refreshIfNew();
    scrollTo(0, 0);
    app.table.draw();
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
      this.sort = { sort: "", descending: false };
      this.fillFacts();
      this.listen();
      this.tellCount();
    }

    fillFacts() {
      for (const select of document.querySelectorAll("select.fact")) {
        const values = this.listing.facts[select.id].values.filter(Boolean).sort();
        select.append(...values.map((value) => CXR.element("option", { value }, CXR.text.cut(CXR.text.clean(value), 40))));
      }
    }

    get ask() {
      const value = (id) => find(id).value;
      const facts = {};
      for (const select of document.querySelectorAll("select.fact")) if (select.value) facts[select.id] = select.value;
      return {
        queue: value("queue"), search: value("search"), subject: value("subject") === "" ? -1 : +value("subject"),
        side: value("side"), state: value("state"), agreement: value("agreement"), status: value("status"),
        verdict: value("verdict-filter"), facts, ...this.sort,
      };
    }

    /** Make the list anew from the filters. */
    refresh() {
      const ask = this.ask;
      const found = this.listing.select(ask, this.verdicts);
      this.table.show(found, ask);
      const queue = this.listing.queues.get(ask.queue);
      const all = queue ? queue.images.length : this.listing.length;
      const cut = queue && queue.found > all ? ` (the first ${CXR.text.count(all)} of ${CXR.text.count(queue.found)})` : "";
      find("tally").textContent = `${CXR.text.count(found.images.length)} of ${CXR.text.count(all)} images${cut}`;
      find("question").textContent = queue ? queue.question : "";
      find("title-cases").textContent = queue ? queue.title : "Images";
    }

    refreshIfNew() {
      if (!this.table.ask) this.refresh();
    }

    chooseQueue(key) {
      if (!this.listing.queues.has(key)) throw new Error("There is no such list.");
      if (find("queue").value === key && this.table.ask) return;
      this.clear();
      find("queue").value = key;
      this.refresh();
    }

    clear() {
      find("filters").reset();
      this.sort = { sort: "", descending: false };
    }

    /** First the way in which a column is most telling, then the other way, then the list's own order. */
    sortBy(key) {
      const down = !["row", "id", "subject"].includes(key);
      if (this.sort.sort !== key) this.sort = { sort: key, descending: down };
      else if (this.sort.descending === down) this.sort = { sort: key, descending: !down };
      else this.sort = { sort: "", descending: false };
      this.refresh();
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
      const rows = [["row", "image_id", "pathology", "probability", "operating_point", "reference_label", "agreement", "reference_positive", "outside_thorax", "verdict"]];
      for (const image of images) {
        const output = L.explained[image] ? subjects[image] : -1;
        const at = L.at(image, output);
        const known = (value) => (output < 0 || Number.isNaN(value) ? "" : value);
        rows.push([L.rows[image], L.ids[image], output < 0 ? "" : L.pathologies[output], known(L.probability(image, output)), known(L.points[output]),
          output < 0 ? "" : CXR.STATES[L.outputStates[at]], L.agreement(image, output), L.positives(image).join("|"),
          Number.isNaN(L.shares.outside_thorax[image]) ? "" : L.shares.outside_thorax[image], this.verdicts.of(image)?.verdict ?? ""]);
      }
      CXR.save("images.csv", "text/csv", CXR.text.csv(rows));
    }

    listen() {
      const on = (id, event, act) => find(id).addEventListener(event, act);
      on("filters", "submit", (event) => event.preventDefault());
      on("filters", "change", (event) => {
        if (event.target.id === "queue") this.sort = { sort: "", descending: false };
        if (event.target.id !== "search") this.refresh();
      });
      on("search", "input", () => this.refresh());
      on("clear", "click", () => {
        this.clear();
        this.refresh();
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
