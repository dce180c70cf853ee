/* From a radiograph to the model's square, as cxr_explain.explaining.preprocessing has it; in float64. */

import { Refusal } from "./refusal.js";

const LARGEST_SQUARE = 100_000_000;

/** Where the square lies: TorchXRayVision's convention, start = extent // 2 - side // 2. */
export function fitSquare(height, width, fit) {
  const side = fit === "crop" ? Math.min(height, width) : Math.max(height, width);
  const half = (extent) => Math.floor(extent / 2);
  const left = half(width) - half(side), top = half(height) - half(side);
  const seen = [Math.max(left, 0), Math.max(top, 0), Math.min(left + side, width), Math.min(top + side, height)];
  return { shape: [height, width], square: [left, top, side], seen };
}

/** The model's input, (size x size) float32, with where it lies and the steps taken. */
export function prepare({ pixels, width, height }, size, fit) {
  const place = fitSquare(height, width, fit);
  const { square: [left, top, side] } = place;
  if (side ** 2 > Math.max(LARGEST_SQUARE, 2 * height * width)) {
    throw new Refusal(`${height} x ${width} pixels, with margins ${side} x ${side}`, `at most ${LARGEST_SQUARE.toLocaleString("en-US")} pixels with margins`);
  }
  const across = weightsOf(side, size), down = weightsOf(side, size);
  // Columns first, then rows; what lies in a margin is black.
  const lines = new Map();
  const line = (row) => {
    if (!lines.has(row)) lines.set(row, resizedLine(pixels, top + row, { width, height, left }, across, size));
    return lines.get(row);
  };
  const input = new Float32Array(size * size);
  for (let y = 0; y < size; y++) {
    const { first, weights } = down[y];
    for (const row of lines.keys()) if (row < first) lines.delete(row);
    for (let x = 0; x < size; x++) {
      let sum = 0;
      for (let at = 0; at < weights.length; at++) sum += weights[at] * line(first + at)[x];
      input[y * size + x] = Math.min(Math.max(sum, -1024), 1024);
    }
  }
  return { ...place, input, steps: [squareStep(place, fit), `resized to ${size} x ${size} (bilinear, antialiased)`] };
}

/** One row of the square, resized; null rows of a margin come out black. */
function resizedLine(pixels, row, { width, height, left }, across, size) {
  const line = new Float64Array(size);
  if (row < 0 || row >= height) return line.fill(-1024);
  for (let x = 0; x < size; x++) {
    const { first, weights } = across[x];
    let sum = 0;
    for (let at = 0; at < weights.length; at++) {
      const column = left + first + at;
      sum += weights[at] * (column < 0 || column >= width ? -1024 : pixels[row * width + column]);
    }
    line[x] = sum;
  }
  return line;
}

/** For each sample of the result: the first pixel it is made of, and the weights; torch's antialiased bilinear filter. */
export function weightsOf(from, to) {
  const scale = from / to, support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, at) => {
    if (from === to) return { first: at, weights: [1] };
    const centre = scale * (at + 0.5);
    const first = Math.max(Math.trunc(centre - support + 0.5), 0), end = Math.min(Math.trunc(centre + support + 0.5), from);
    const raw = Array.from({ length: end - first }, (_, each) => Math.max(0, 1 - Math.abs((each + first - centre + 0.5) / support)));
    const total = raw.reduce((a, b) => a + b, 0);
    return { first, weights: raw.map((weight) => weight / total) };
  });
}

function squareStep({ shape: [height, width], square: [, , side] }, fit) {
  if (height === width) return `already square (${width} x ${height})`;
  if (fit === "pad") return `padded with black to ${side} x ${side} from ${width} x ${height}`;
  const lost = width > height ? `${width - side} columns` : `${height - side} rows`;
  return `centre crop to ${side} x ${side} of ${width} x ${height} (${lost} not seen)`;
}

/** The display image, reduced where its longer side is longer than `most`: {grey, width, height}. */
export function displayWithin({ display, width, height }, most) {
  if (Math.max(width, height) <= most) return { grey: display, width, height };
  const scale = most / Math.max(width, height);
  const w = Math.max(1, Math.round(width * scale)), h = Math.max(1, Math.round(height * scale));
  const across = weightsOf(width, w), down = weightsOf(height, h);
  const lines = new Float32Array(height * w);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < w; x++) {
      const { first, weights } = across[x];
      let sum = 0;
      for (let at = 0; at < weights.length; at++) sum += weights[at] * display[y * width + first + at];
      lines[y * w + x] = sum;
    }
  }
  const grey = new Uint8Array(w * h);
  for (let y = 0; y < h; y++) {
    const { first, weights } = down[y];
    for (let x = 0; x < w; x++) {
      let sum = 0;
      for (let at = 0; at < weights.length; at++) sum += weights[at] * lines[(first + at) * w + x];
      grey[y * w + x] = Math.round(sum);
    }
  }
  return { grey, width: w, height: h };
}
