/* What reading one file may take, as cxr_explain.loaders.limits has it. */

import { Refusal } from "./refusal.js";

const MOST_PIXELS = 50_000_000;
const MOST_BYTES = 4 * MOST_PIXELS;
const MOST_PARTS = 200_000;
const PASSES = 40;
const count = (number) => number.toLocaleString("en-US");

/** Refuse an empty image, or one of too many pixels, by what its header declares. */
export function checkPixels(rows, columns) {
  if (rows < 1 || columns < 1) throw new Refusal(`an image of ${rows} x ${columns} pixels`, "at least 1 x 1");
  if (rows * columns > MOST_PIXELS) {
    throw new Refusal(`${rows} x ${columns} = ${count(rows * columns)} pixels`, `at most ${count(MOST_PIXELS)}`);
  }
}

export function checkBytes(bytes) {
  if (bytes > MOST_BYTES) {
    throw new Refusal(`a file of more than ${Math.round(MOST_BYTES / 2 ** 20)} MiB`, `at most 4 bytes for each of ${count(MOST_PIXELS)} pixels`);
  }
}

export function checkParts(parts, what) {
  if (parts > MOST_PARTS) throw new Refusal(`more than ${count(MOST_PARTS)} ${what}`, "the header of a radiograph");
}

export function checkPasses(passes, rows, columns) {
  if (passes * rows * columns > PASSES * MOST_PIXELS) {
    throw new Refusal(`${count(passes)} scans of ${rows} x ${columns} pixels`, `at most ${count(Math.max(Math.floor((PASSES * MOST_PIXELS) / (rows * columns)), PASSES))}`);
  }
}

/** Name an image too small to show a chest. */
export const sizeWarnings = (rows, columns) =>
  Math.min(rows, columns) < 32 ? [`only ${rows} x ${columns} pixels: too small for a reading`] : [];
