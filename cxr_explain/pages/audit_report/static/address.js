"use strict";
/* The list's address, #cases?subject=Mass&sex=F: every control's value by its name, so that a list can be linked to,
   and gone back to. What nobody knows is left out, and named. */

CXR.Address = class {
  static SELECTS = ["queue", "shown", "subject", "side", "state", "agreement", "status", "verdict-filter"];
  static TEXTS = ["search", "patient"];
  static UNKNOWN = "unknown";

  constructor(listing) {
    this.listing = listing;
    this.facts = new Map(Array.from(document.querySelectorAll("select.fact"), (select) => [listing.about.filters[+select.dataset.at], select]));
  }

  /** Set the controls as an address says; gives the parts that it left out. */
  read(query) {
    CXR.find("filters").reset();
    CXR.find("thumbnails").checked = true;
    this.sort = { sort: "", descending: false };
    const left = [];
    for (const [name, value] of new URLSearchParams(query)) {
      if (!this.take(name, value)) left.push(CXR.text.cut(CXR.text.clean(`${name}=${value}`), 60));
    }
    this.settle();
    return left;
  }

  take(name, value) {
    if (CXR.Address.SELECTS.includes(name)) return this.choose(CXR.find(name), value);
    if (CXR.Address.TEXTS.includes(name)) {
      CXR.find(name).value = value;
      return name === "search" || this.listing.patientOf(value) !== undefined;
    }
    if (name === "age") return this.takeAge(value);
    if (name === "sort") return this.takeSort(value);
    if (name === "thumbnails" && value === "off") {
      CXR.find("thumbnails").checked = false;
      return true;
    }
    return this.facts.has(name) && this.choose(this.facts.get(name), value);
  }

  /** An option by its value, or by what it is called. */
  choose(select, wanted) {
    const fold = (text) => text.toLowerCase().replace(/[\s_]+/g, " ").trim();
    const options = [...select.options];
    const named = (option) => (select.id === "subject" && option.value !== "" ? this.listing.pathologies[+option.value] : option.text);
    const found = options.find((option) => (select.id === "subject" ? named(option) : option.value) === wanted) || options.find((option) => fold(named(option)) === fold(wanted));
    if (found) select.value = found.value;
    return Boolean(found);
  }

  /** "60-79", "80+", "-17", "60-" or "unknown", in full years. */
  takeAge(value) {
    if (value === CXR.Address.UNKNOWN) return (CXR.find("age-unknown").checked = true);
    const [, from, to] = /^(\d{0,3})(?:-(\d{0,3})|\+)$/.exec(value) || [];
    if (!from && !to) return false;
    CXR.find("age-from").value = from ?? "";
    CXR.find("age-to").value = to ?? "";
    return true;
  }

  takeSort(value) {
    const [, minus, key] = /^(-?)([a-z_]{1,30})$/.exec(value) || [];
    if (!CXR.Table.SORTED.has(key)) return false;
    this.sort = { sort: key, descending: minus === "-" };
    return true;
  }

  /** Controls that rule out others. */
  settle() {
    const queue = this.listing.queues.get(CXR.find("queue").value);
    CXR.find("shown").closest(".field").hidden = !queue;
    CXR.find("subject").disabled = Boolean(queue && !queue.ofPathologies);
    if (CXR.find("subject").disabled) CXR.find("subject").value = "";
    if (this.age || CXR.find("patient").value || [...this.facts.values()].some((select) => select.value)) CXR.find("more").open = true;
    for (const id of ["age-from", "age-to"]) CXR.find(id).disabled = CXR.find("age-unknown").checked;
  }

  /** What the controls say, as the address has it. */
  write() {
    this.settle();
    const said = new URLSearchParams();
    const add = (name, value) => value && said.append(name, value);
    for (const id of CXR.Address.SELECTS) {
      const { value } = CXR.find(id);
      add(id, id === "subject" && value ? this.listing.pathologies[+value] : value);
    }
    for (const id of CXR.Address.TEXTS) add(id, CXR.find(id).value.trim());
    add("age", this.age);
    for (const [name, select] of this.facts) add(name, select.value);
    const { sort, descending } = this.sort;
    add("sort", sort && (descending ? "-" : "") + sort);
    if (!CXR.find("thumbnails").checked) add("thumbnails", "off");
    return said.toString();
  }

  get age() {
    if (CXR.find("age-unknown").checked) return CXR.Address.UNKNOWN;
    const [from, to] = [CXR.find("age-from").value, CXR.find("age-to").value];
    return from || to ? `${from}-${to}` : "";
  }

  /** What the list is asked for; see CXR.Listing.select. */
  get ask() {
    const value = (id) => CXR.find(id).value;
    const facts = new Map();
    for (const [name, select] of this.facts) if (select.value) facts.set(name, select.value === CXR.Address.UNKNOWN ? "" : select.value);
    return {
      queue: value("queue"), shown: value("shown"), search: value("search"), patient: value("patient").trim(),
      subject: value("subject") === "" ? -1 : +value("subject"),
      side: value("side"), state: value("state"), agreement: value("agreement"), status: value("status"),
      verdict: value("verdict-filter"), age: this.age, facts, ...this.sort,
    };
  }
};
