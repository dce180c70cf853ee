/* Values of interest: one LUT or one window (PS3.3 C.11.2), and what to do without one, as cxr_explain.loaders.voi has it. */

import { general } from "./refusal.js";

const EDGE = 0.002, MOST_SATURATED = 0.95, LEAST_SPREAD = 0.1, ROBUST = [0.001, 0.999];
const FUNCTIONS = ["LINEAR", "LINEAR_EXACT", "SIGMOID"], MOST = 100;
const clip = (value) => Math.min(Math.max(value, 0), 1);

/** Halves go to the even number, as NumPy's do. */
const even = (value) => (Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));

/** The item of a LUT sequence (PS3.3 C.11.1.1); null where data are missing that the descriptor declares. */
export function readLut(item, name, signed, warnings) {
  const descriptor = item.numbers("LUTDescriptor");
  const data = item.get("LUTData")?.bytes;
  if (descriptor.length !== 3 || !data) return null;
  const entryCount = (((descriptor[0] % 65536) + 65536) % 65536) || 65536;
  let [, first, bits] = descriptor;
  if (signed && first >= 2 ** 15) first -= 2 ** 16;
  if (!signed && first < 0) first += 2 ** 16;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let entries;
  if (data.length >= 2 * entryCount) entries = Float64Array.from({ length: entryCount }, (_, at) => view.getUint16(2 * at, true));
  else if (data.length === entryCount || data.length === entryCount + 1) entries = Float64Array.from(data.subarray(0, entryCount));
  else return null;
  if (data.length > 2 * entryCount) warnings.push(`a ${name} of the header has ${Math.floor(data.length / 2)} entries: the ${entryCount} declared are used`);
  const peak = entries.reduce((a, b) => Math.max(a, b)), least = entries.reduce((a, b) => Math.min(a, b));
  const declared = 2 ** Math.min(Math.max(bits, 0), 64) - 1;
  const fits = (declared / 2 < peak && peak <= declared) || peak === least;
  const at = (value) => entries[Math.min(Math.max(even(value) - first, 0), entryCount - 1)];
  return { entries, bits, peak, declared, fits, at, white: (fits ? declared : peak) || 1 };
}

/** The header's VOI LUTs, then its windows, each with what it does to a value and what it is called. */
export function voisOf(header, signed, warnings) {
  const found = [];
  for (const item of header.items("VOILUTSequence").slice(0, MOST + 1)) {
    const lut = readLut(item, "VOI LUT", signed, warnings);
    if (lut === null) {
      warnings.push("a VOI LUT of the header is invalid: left out");
      continue;
    }
    found.push({ apply: (value) => clip(lut.at(value) / lut.white), name: `VOI LUT of ${lut.entries.length} entries, ${lut.bits} bits` });
    if (!lut.fits) warnings.push(`a VOI LUT of the header declares ${lut.bits} bits and its entries end at ${general(lut.peak)}: scaled by this largest entry`);
  }
  found.push(...windowsOf(header, warnings));
  if (found.length > MOST) warnings.push(`more than ${MOST} LUTs and windows in the header: the first ${MOST} are read`);
  return found.slice(0, MOST);
}

function windowsOf(header, warnings) {
  const centers = header.numbers("WindowCenter"), widths = header.numbers("WindowWidth");
  for (const [keyword, values] of [["WindowCenter", centers], ["WindowWidth", widths]]) {
    if (header.given(keyword) && !values.length) {
      warnings.push(`${keyword} of the header is unreadable: left out`);
      return [];
    }
  }
  if (centers.length !== widths.length) {
    warnings.push("window centers and widths of the header do not pair up: left out");
    return [];
  }
  const function_ = functionOf(header, centers.length ? warnings : []);
  return centers.slice(0, MOST + 1).flatMap((center, at) => {
    const width = widths[at];
    if (function_ === "LINEAR" ? width >= 1 : width > 0) {
      return [{ apply: window(center, width, function_), name: `window center ${general(center)} width ${general(width)} (${function_})` }];
    }
    warnings.push(`window width ${general(width)} of the header is invalid (${function_}): left out`);
    return [];
  });
}

function functionOf(header, warnings) {
  const named = header.upper("VOILUTFunction") || "LINEAR";
  if (FUNCTIONS.includes(named)) return named;
  warnings.push("VOI LUT function of an unknown name: taken as LINEAR");
  return "LINEAR";
}

/** PS3.3 C.11.2.1.2 and .3: a value to [0, 1]. */
function window(center, width, function_) {
  if (function_ === "SIGMOID") return (x) => 1 / (1 + Math.exp(Math.min(Math.max((-4 * (x - center)) / width, -700), 700)));
  const [c, w] = function_ === "LINEAR" ? [center - 0.5, width - 1] : [center, width];
  return w === 0 ? (x) => (x > c ? 1 : 0) : (x) => clip((x - c) / w + 0.5);
}

/** From the modality output to [0, 1]: the header's first LUT or window that fits the pixels, or else a range. */
export function applyVoi(levels, available, bits) {
  if (!available.length) return fallback(levels, bits, "no window in the header");
  const passedOver = [];
  for (const [number, voi] of available.entries()) {
    const values = levels.values.map(voi.apply);
    const problem = problemOf(levels, values);
    const which = number ? `, number ${number} of the header` : `, first of ${available.length}`;
    if (problem === null) return { values, step: voi.name + (available.length > 1 ? which : ""), warnings: passedOver };
    passedOver.push(`the header's ${voi.name} ${problem}: not applied`);
  }
  const other = fallback(levels, bits, "the header's window does not fit the pixels");
  if (problemOf(levels, other.values) === null) return { ...other, warnings: passedOver };
  const values = levels.values.map(available[0].apply);
  return { values, step: available[0].name, warnings: [`the header's window ${problemOf(levels, values)}`] };
}

function fallback(levels, bits, reason) {
  if (bits <= 8) {
    const whole = scale(levels, levels.low, levels.high, (low, high) => `${reason}: full range ${low} to ${high} scaled`);
    if (levels.high <= 255 || problemOf(levels, whole.values) === null) return whole; // a modality LUT may declare far more than it gives
  }
  let [low, high] = quantiles(levels, levels.values, ROBUST);
  if (low === high) [low, high] = quantiles(levels, levels.values, [0, 1]);
  if (low === high) return scale(levels, levels.low, levels.high, (a, b) => `${reason}, constant image: range ${a} to ${b} scaled`);
  const shown = scale(levels, low, high, (a, b) => `${reason}: ${a} to ${b} (0.1 % to 99.9 % of the pixels) stretched`);
  return { ...shown, warnings: [`${reason}: contrast taken from the pixels themselves`] };
}

function scale(levels, low, high, words) {
  return { values: levels.values.map((value) => clip((value - low) / (high - low))), step: words(general(low), general(high)), warnings: [] };
}

/** The values below which these shares of the pixels lie, without padding. */
function quantiles({ counts, padding }, values, shares) {
  const order = [];
  let all = 0;
  for (let at = 0; at < values.length; at++) {
    if (!counts[at] || padding[at]) continue;
    order.push(at);
    all += counts[at];
  }
  order.sort((a, b) => values[a] - values[b]);
  return shares.map((share) => {
    let sum = 0;
    for (const at of order) if ((sum += counts[at]) >= share * all) return values[at];
    return values[order.at(-1)];
  });
}

/** What makes a VOI unusable for these pixels; null where it is usable, or the image is constant. */
function problemOf(levels, values) {
  const { counts, padding } = levels;
  let all = 0, saturated = 0, present = 0;
  for (let at = 0; at < values.length; at++) {
    if (!counts[at] || padding[at]) continue;
    present++;
    all += counts[at];
    if (values[at] <= EDGE || values[at] >= 1 - EDGE) saturated += counts[at];
  }
  if (present < 2) return null;
  if (saturated / all >= MOST_SATURATED) return `drives ${((100 * saturated) / all).toFixed(1)} % of the pixels to pure black or white`;
  const [low, high] = quantiles(levels, values, ROBUST);
  return high - low < LEAST_SPREAD ? `leaves the pixels ${(100 * (high - low)).toFixed(1)} % of the grey range` : null;
}
