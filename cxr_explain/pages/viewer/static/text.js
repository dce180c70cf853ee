"use strict";
/* Text as it may be shown: on one line, without marks that turn it around, cut where it is long. */

CXR.text = (() => {
  const SHORT = 160;

  const clean = (text) => String(text).replace(/[\s\u2028\u2029]+/g, " ").replace(/[\p{C}]/gu, "").trim();
  const cut = (text, most = SHORT) => (text.length > most ? Array.from(text.slice(0, 2 * most)).slice(0, most - 1).join("") + "…" : text);

  /** A name of unknown direction that does not disturb what stands beside it. */
  const isolated = (text, most = SHORT) => CXR.element("bdi", {}, cut(clean(text), most) || "(no name)");

  const pathology = (name) => clean(name.replaceAll("_", " ")) || "(no name)";

  /** As the printed figures have it (cxr_explain.figures.table): three decimals, or two digits that are not zero. */
  function probability(value) {
    if (Number.isNaN(value)) return "–";
    if (value > 0 && value < 1e-4) return "<0.0001";
    if (value > 0 && value < 0.01) return value >= 0.001 ? String(Number(value.toPrecision(2))) : value.toFixed(4);
    if (value >= 0.9995 && value < 1) return ">0.999";
    return value.toFixed(3);
  }

  const number = (value, digits = 2) => (Number.isNaN(value) ? "–" : value.toFixed(digits));
  const percent = (share) => number(100 * share, 0);
  const count = (value) => value.toLocaleString("en-US");

  const BLANKS = "[\\s\\u0000-\\u001f\\u200b-\\u200f\\u2060\\ufeff]*";
  const FORMULA = `${BLANKS}[=+\\-@＝＋－﹣−＠]`;
  const FIRST = new RegExp(`^(?:[\\t\\r\\n]|${FORMULA})`);
  const WITHIN = new RegExp(`([;|\\t\\r\\n](?:${BLANKS}")*)(?=${FORMULA})`, "g");

  /** A CSV cell; with an apostrophe where a spreadsheet would take it for a formula (OWASP, CSV Injection),
   *  also after a sign at which another spreadsheet begins a cell: see support/spreadsheet.py. */
  function cell(value) {
    if (value === null || value === undefined) return "";
    let text = String(value);
    if (typeof value === "string") {
      text = text.replace(WITHIN, "$1'");
      if (FIRST.test(text)) text = "'" + text;
    }
    return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  }

  const csv = (rows) => rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";

  return { clean, cut, isolated, pathology, probability, number, percent, count, csv };
})();
