/* Uncompressed DICOM, in the order of PS3.3 C.8.11.3 and PS3.4 N.2, as cxr_explain.loaders reads it by default. */

import { checkAcceptable } from "./dicom_acceptance.js";
import { parseDicom } from "./dicom_header.js";
import { checkPixels, sizeWarnings } from "./limits.js";
import { lookUp } from "./raster.js";
import { Refusal, general, onlyInPython } from "./refusal.js";
import { settleBits } from "./stored_bits.js";
import { applyVoi, readLut, voisOf } from "./voi.js";

const UNCOMPRESSED = { "1.2.840.10008.1.2": "Implicit VR Little Endian", "1.2.840.10008.1.2.1": "Explicit VR Little Endian" };
const SHAPES = { MONOCHROME1: "INVERSE", MONOCHROME2: "IDENTITY" };
const AGAIN = "The file is truncated: transfer it again.";
const count = (number) => number.toLocaleString("en-US");

export function readDicom(bytes) {
  const { syntax, explicit, parse } = parseDicom(bytes);
  if (syntax !== null && !UNCOMPRESSED[syntax]) {
    throw onlyInPython(`the transfer syntax ${/^[\d.]+$/.test(syntax) ? syntax : "of another kind"}`, "uncompressed DICOM in little endian");
  }
  const header = parse();
  const accepted = checkAcceptable(header);
  const name = UNCOMPRESSED[syntax] ?? UNCOMPRESSED[explicit ? "1.2.840.10008.1.2.1" : "1.2.840.10008.1.2"];
  const notes = syntax === null ? [`no transfer syntax in the file: read as ${name}`] : [];
  const layout = layoutOf(header);
  if (header.given("ShutterShape")) throw onlyInPython("a display shutter in the header", "an image without one");
  const warnings = [...accepted, ...notes, ...checkPixelData(header, layout, name)];
  const { samples, bits, warnings: further } = settleBits(wordsOf(header, layout), layout);
  warnings.push(...acquisitionWarnings(header), ...further);
  const steps = [...notes, `decoded uncompressed data, ${bits} bits stored${layout.signed ? " (signed)" : ""}`];
  const table = render(header, samples, { ...layout, bits }, steps, warnings);
  const { pixels, display } = lookUp(asPatterns(samples), table);
  warnings.push(...header.mended.map((keyword) => `${keyword} has a decimal comma: read as a decimal point`), ...sizeWarnings(layout.rows, layout.columns));
  return {
    pixels, display, width: layout.columns, height: layout.rows, format: "DICOM", steps, warnings,
    phantom: header.text("Manufacturer") === "cxr-explain" && header.text("ManufacturerModelName") === "phantom",
    view: accepted.view, sides: sidesOf(header),
  };
}

/** How the pixels are stored; what contradicts itself is refused before anything is made. */
function layoutOf(header) {
  const allocated = header.whole("BitsAllocated");
  const layout = {
    rows: header.whole("Rows"), columns: header.whole("Columns"), frames: header.whole("NumberOfFrames", 1),
    allocated, stored: header.whole("BitsStored", allocated), signed: header.whole("PixelRepresentation", 0) === 1,
  };
  const { rows, columns, frames, stored } = layout;
  if (![0, 1].includes(header.whole("PixelRepresentation", 0))) throw new Refusal("a Pixel Representation that is neither 0 nor 1");
  checkPixels(rows, columns);
  if (allocated !== 8 && allocated !== 16) throw new Refusal(`${allocated} bits allocated`, "8 or 16");
  if (stored < 2 || stored > allocated) throw new Refusal(`${stored} bits stored of ${allocated}`, `2 to ${allocated}`);
  const high = header.whole("HighBit", stored - 1);
  if (high !== stored - 1) throw new Refusal(`high bit ${high} with ${stored} bits stored`, `${stored - 1}`);
  if (frames < 1) throw new Refusal(`${frames} frames`, "at least 1");
  if (frames > 1) throw new Refusal(`${count(frames)} frames`, "one frame", "`cxr-explain explain --frame` chooses one.");
  return layout;
}

function checkPixelData(header, { rows, columns, allocated }, syntax) {
  const { bytes, declared } = header.get("PixelData");
  const expected = (rows * columns * allocated) / 8;
  const inItems = bytes[0] === 0xfe && bytes[1] === 0xff && bytes[2] === 0 && bytes[3] === 0xe0;
  if (declared === null || (inItems && bytes.length !== expected)) {
    throw new Refusal(`compressed pixel data under the transfer syntax ${syntax}`, "uncompressed pixel data", "The transfer syntax and the pixel data contradict each other: export the image again.");
  }
  if (bytes.length < expected) {
    if (declared > bytes.length) throw new Refusal(`${count(bytes.length)} bytes of pixel data, cut off at the end of the file`, count(expected), AGAIN);
    throw new Refusal(`${count(bytes.length)} bytes of pixel data`, `${count(expected)} for ${rows} x ${columns} pixels`, "The header and the pixel data contradict each other: export the image again.");
  }
  const unused = bytes.length - expected;
  return unused > 1 ? [`${count(unused)} bytes after the pixels of the header are left out`] : [];
}

/** The stored words; copied, as they may begin at an odd place. */
function wordsOf(header, { rows, columns, allocated }) {
  const size = (rows * columns * allocated) / 8;
  const bytes = header.get("PixelData").bytes.slice(0, size);
  return allocated === 8 ? bytes : new Uint16Array(bytes.buffer);
}

const asPatterns = (samples) => new (samples.BYTES_PER_ELEMENT === 2 ? Uint16Array : Uint8Array)(samples.buffer);

/** A grey level of [-1024, 1024] for each stored value. */
function render(header, samples, layout, steps, warnings) {
  let levels = levelsOf(samples, layout);
  leaveOutPadding(header, levels, layout, steps, warnings);
  levels = applyModality(header, levels, steps, warnings);
  const shown = applyVoi(levels, voisOf(header, levels.low < 0, warnings), layout.bits);
  steps.push(shown.step);
  warnings.push(...shown.warnings);
  const inverted = polarity(header, steps, warnings);
  // After polarity, so that padding is black in MONOCHROME1 too (PS3.3 C.7.5.1.1.2).
  const table = Float32Array.from(shown.values, (value, at) => -1024 + 2048 * (levels.padding[at] ? 0 : inverted ? 1 - value : value));
  steps.push("scaled to [-1024, 1024]");
  const present = new Set(table.filter((_, at) => levels.counts[at] > 0 && !levels.padding[at]));
  if (present.size < 2) warnings.push("all pixels have one value");
  return table;
}

/** One entry for each bit pattern: its value, how many pixels have it, and whether it is padding. */
function levelsOf(samples, { bits, signed }) {
  const size = 2 ** (8 * samples.BYTES_PER_ELEMENT);
  const counts = new Float64Array(size), values = new Float64Array(size), padding = new Uint8Array(size);
  for (const pattern of asPatterns(samples)) counts[pattern]++;
  for (let at = 0; at < size; at++) values[at] = signed && at >= size / 2 ? at - size : at;
  const [low, high] = signed ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
  return { values, counts, padding, low, high };
}

/** Mark the Pixel Padding Value, or the range up to its limit (PS3.3 C.7.5.1.1.2). */
function leaveOutPadding(header, levels, layout, steps, warnings) {
  if (!header.given("PixelPaddingValue")) return;
  const first = storedNumber(header, "PixelPaddingValue", layout), last = storedNumber(header, "PixelPaddingRangeLimit", layout);
  if (first === null) return void warnings.push("the pixel padding value is invalid: not applied");
  const [low, high] = [first, last ?? first].sort((a, b) => a - b);
  let covered = 0, all = 0;
  for (let at = 0; at < levels.values.length; at++) {
    levels.padding[at] = levels.values[at] >= low && levels.values[at] <= high;
    all += levels.counts[at];
    if (levels.padding[at]) covered += levels.counts[at];
  }
  if (covered === all) throw new Refusal("an image of padding only", "pixels besides the Pixel Padding Value");
  const named = low === high ? `value ${general(low)}` : `values ${general(low)} to ${general(high)}`;
  if (covered) steps.push(`padding (stored ${named}, ${((100 * covered) / all).toFixed(1)} % of the pixels) left out, shown black`);
}

/** An attribute whose sign follows the pixels; writers put either VR. */
function storedNumber(header, keyword, { bits, allocated, signed }) {
  let value = header.number(keyword);
  if (value === null) return null;
  for (const each of [bits, allocated]) if (signed && 2 ** (each - 1) <= value && value < 2 ** each) value -= 2 ** each;
  if (!signed && value < 0) value += 2 ** allocated;
  const half = 2 ** (allocated - 1);
  const fits = signed ? -half <= value && value < half : value >= 0 && value < 2 * half;
  return fits ? value : null;
}

/** The Modality LUT Sequence, or else slope and intercept (PS3.3 C.11.1). */
function applyModality(header, levels, steps, warnings) {
  let slope = header.number("RescaleSlope"), intercept = header.number("RescaleIntercept");
  const rescales = !((slope === null && intercept === null) || (slope === 1 && intercept === 0));
  const [item] = header.items("ModalityLUTSequence");
  if (item) {
    const lut = readLut(item, "modality LUT", levels.low < 0, warnings);
    if (lut === null || lut.bits < 8 || lut.bits > 16) throw new Refusal("a Modality LUT that contradicts itself");
    if (rescales) warnings.push("modality LUT and rescale slope or intercept both present: the LUT was applied");
    steps.push(`modality LUT of ${lut.entries.length} entries, ${lut.bits} bits`);
    return { ...levels, values: levels.values.map((value) => lut.at(value)), low: 0, high: lut.declared };
  }
  if ((header.has("RescaleSlope") && slope === null) || (header.has("RescaleIntercept") && intercept === null)) {
    warnings.push("rescale slope or intercept invalid or empty: taken as 1 and 0");
  }
  if (!rescales) return levels;
  slope ??= 1;
  intercept ??= 0;
  if (slope === 0 || Math.abs(slope) > 1e9 || Math.abs(intercept) > 1e12 || Math.abs(slope) < 1e-9) {
    throw new Refusal(`rescale slope ${general(slope)} and intercept ${general(intercept)}`, "a usable slope");
  }
  const ends = [levels.low * slope + intercept, levels.high * slope + intercept].sort((a, b) => a - b);
  steps.push(`rescaled with slope ${general(slope)} and intercept ${general(intercept)}`);
  return { ...levels, values: levels.values.map((value) => value * slope + intercept), low: ends[0], high: ends[1] };
}

/** Whether the image is inverted: MONOCHROME1, once; the Presentation LUT Shape says the same thing again. */
function polarity(header, steps, warnings) {
  const photometric = header.upper("PhotometricInterpretation"), shape = header.upper("PresentationLUTShape");
  if (shape && shape !== SHAPES[photometric]) {
    const named = Object.values(SHAPES).includes(shape) ? shape : "of an unknown name";
    warnings.push(`presentation LUT shape ${named} contradicts ${photometric}: ${photometric} followed`);
  }
  if (photometric === "MONOCHROME1") steps.push("inverted once (MONOCHROME1)");
  return photometric === "MONOCHROME1";
}

function acquisitionWarnings(header) {
  const [row, column] = header.texts("PatientOrientation");
  const warnings = [];
  const mirrored = ["PA", "AP"].includes(header.upper("ViewPosition")) && row && row[0] !== "L";
  if (row && column && (mirrored || column[0] !== "F")) {
    warnings.push(`patient orientation ${row}\\${column} is not upright (L\\F): shown as stored, not turned`);
  }
  const ratio = header.numbers("PixelAspectRatio");
  const source = ["PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"].find((each) => header.given(each));
  const spacing = source ? header.numbers(source) : [];
  const uneven = (pair) => pair.length === 2 && Math.min(...pair) > 0 && Math.abs(pair[0] / pair[1] - 1) > 0.01;
  if (uneven(ratio) || uneven(spacing)) warnings.push("pixels are not square: the image is used as stored, not resampled");
  return warnings;
}

const OPPOSITE = { L: "R", R: "L", A: "P", P: "A", H: "F", F: "H" };

/** The patient's directions at the left and the right edge of the image. */
function sidesOf(header) {
  const right = (header.texts("PatientOrientation")[0] ?? "").toUpperCase();
  if (!/^[LRAPHF]{1,3}$/.test(right)) return null;
  return [Array.from(right, (letter) => OPPOSITE[letter]).join(""), right];
}
