/* From a decoded PNG or JPEG to a radiograph, as cxr_explain.loaders.raster has it, with its words.

   A picture: {kind, width, height, depth, mode, channels, samples, orientation, transparent, icc, gamma, density, phantom}.
   Modes are Pillow's: "L", "I;16", "LA", "P", "RGB", "RGBA"; a palette comes as RGBA. */

import { upright } from "./exif.js";
import { sizeWarnings } from "./limits.js";
import { general } from "./refusal.js";

const DEPTHS = [8, 10, 12, 14, 15];
const HUE = 8, DARK = 32, UNEVEN = 0.01;
const NAMES = { L: "grey", LA: "grey with alpha", P: "palette", "I;16": "grey" };

export function radiographOf(picture) {
  const steps = [`decoded ${picture.kind}, ${picture.depth}-bit ${NAMES[picture.mode] ?? picture.mode}`], warnings = [];
  if (picture.orientation === null) warnings.push("EXIF data unreadable: orientation not applied");
  if (picture.orientation > 1 && picture.orientation <= 8) steps.push(`EXIF orientation ${picture.orientation} applied`);
  if (picture.depth === 16 && picture.mode !== "I;16") warnings.push("16-bit colour read with 8 bits: save as 16-bit grey to keep the depth");
  if (picture.depth < 8 && picture.mode === "L") warnings.push(`only ${2 ** picture.depth} grey levels in the file`);
  const turned = upright(picture, picture.orientation);
  const largest = picture.mode === "I;16" ? 65535 : 255;
  const grey = largest === 255 ? greyOf(turned, steps, warnings) : sixteenBit(turned, warnings);
  const peak = peakOf(grey);
  if (largest === 65535) noteDepth(peak, warnings);
  else noteDarkness(peak, picture.depth, warnings);
  if (picture.icc) steps.push("ICC profile ignored");
  if (picture.gamma !== null) steps.push(`gamma ${general(picture.gamma)} ignored`);
  const [across, down] = picture.density ?? [1, 1];
  if (Math.min(across, down) > 0 && Math.abs(across / down - 1) > UNEVEN) {
    warnings.push("pixels are not square: the image is used as stored, not resampled");
  }
  steps.push(`scaled to [-1024, 1024] by ${largest}`);
  if (grey.every((value) => value === grey[0])) warnings.push("all pixels have one value");
  warnings.push(...sizeWarnings(turned.height, turned.width));
  const table = Float32Array.from({ length: largest + 1 }, (_, value) => -1024 + 2048 * (value / largest));
  const { kind: format, phantom } = picture;
  return { ...lookUp(grey, table), width: turned.width, height: turned.height, format, phantom, steps, warnings, view: null, sides: null };
}

/** Pixels for the model and for the eye, by one table of all values. */
export function lookUp(stored, table) {
  const shown = Uint8Array.from(table, toDisplay);
  const pixels = new Float32Array(stored.length), display = new Uint8Array(stored.length);
  for (let at = 0; at < stored.length; at++) {
    pixels[at] = table[stored[at]];
    display[at] = shown[stored[at]];
  }
  return { pixels, display };
}

/** [-1024, 1024] to 0 ... 255; halves go to the even number, as NumPy's do. */
function toDisplay(value) {
  const level = Math.fround(Math.fround(value + 1024) * (255 / 2048)); // in float32, as NumPy has it
  const low = Math.floor(level);
  return level - low === 0.5 ? low + (low % 2) : Math.round(level);
}

function peakOf(grey) {
  let peak = 0;
  for (const value of grey) if (value > peak) peak = value;
  return peak;
}

function sixteenBit({ samples, transparent }, warnings) {
  if (transparent === null) return samples;
  warnings.push("transparent pixels shown black");
  return samples.map((value) => (value === transparent[0] ? 0 : value));
}

/** One grey channel of 8 bits: luminance of BT.601 in Pillow's whole numbers, alpha over black. */
function greyOf({ samples, channels, mode, transparent, width, height }, steps, warnings) {
  if (mode === "L" && transparent === null) return samples;
  const grey = new Uint8Array(width * height);
  const colour = { some: 0, much: 0 };
  let clear = 0;
  for (let at = 0; at < grey.length; at++) {
    const place = at * channels;
    const red = samples[place], green = channels < 3 ? red : samples[place + 1], blue = channels < 3 ? red : samples[place + 2];
    const spread = Math.max(red, green, blue) - Math.min(red, green, blue);
    if (spread > 0) colour.some++;
    if (spread > HUE) colour.much++;
    const light = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    const alpha = channels % 2 === 0 ? samples[place + channels - 1] : isClear(red, green, blue, transparent) ? 0 : 255;
    if (alpha < 255) clear++;
    grey[at] = Math.floor((light * alpha + 127) / 255);
  }
  if (mode !== "LA") noteColour(colour, mode, grey.length, steps, warnings);
  noteAlpha(clear, mode, grey.length, steps, warnings);
  return grey;
}

/** Whether a pixel has the one colour that is transparent; Pillow compares its lowest eight bits. */
function isClear(red, green, blue, transparent) {
  if (transparent === null) return false;
  const [r, g = r, b = r] = transparent;
  return red === (r & 255) && green === (g & 255) && blue === (b & 255);
}

function noteColour({ some, much }, mode, pixels, steps, warnings) {
  if (!some) return void steps.push(`grey stored in ${mode === "P" ? "a palette" : "RGB"}: exact`);
  steps.push("luminance of ITU-R BT.601");
  if (much / pixels > 0.01) warnings.push(`a colour image: ${((100 * much) / pixels).toFixed(1)} % of the pixels have a hue; is this a radiograph?`);
  else if (much) warnings.push("a few pixels have a hue, as of a coloured annotation");
}

function noteAlpha(clear, mode, pixels, steps, warnings) {
  if (!clear) {
    if (mode === "LA" || mode === "RGBA") steps.push("alpha channel fully opaque: without effect");
    return;
  }
  steps.push("alpha composited over black");
  warnings.push(`${((100 * clear) / pixels).toFixed(1)} % of the pixels are transparent: shown over black`);
}

/** Name values that use less than the 16 bits they are stored in: nothing in a raster says so. */
function noteDepth(peak, warnings) {
  const depth = DEPTHS.find((bits) => peak < 2 ** bits);
  if (depth === undefined || peak === 0) return;
  const times = 2 ** (16 - depth);
  const look = depth <= 12 ? "nearly black" : `${times} times too dark`;
  warnings.push(`the largest of the 16-bit values is ${peak}: this looks like ${depth}-bit data and is ${look} as read; multiply the values by ${times} and save again`);
}

function noteDarkness(peak, depth, warnings) {
  if (peak === 0 || peak >= DARK) return;
  const kept = depth === 16 ? "of the upper 8 of 16 bits" : "of the 8-bit values";
  warnings.push(`the largest ${kept} is ${peak} of 255: nearly black as read; is this a mask, or data of fewer bits? Multiply the values and save again`);
}
