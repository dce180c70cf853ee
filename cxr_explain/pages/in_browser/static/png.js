/* PNG by its specification, and not by the browser's decoder, which cuts 16 bits to 8 and applies gamma and profiles. */

import { orientationOf } from "./exif.js";
import { checkParts, checkPixels } from "./limits.js";
import { radiographOf } from "./raster.js";
import { Refusal } from "./refusal.js";

const DAMAGED = "The file is damaged or truncated.";
const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DEPTHS = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };
const PHANTOM = "cxr-explain phantom", FIGURE = "cxr-explain";
const ADAM7 = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];

export async function readPng(bytes) {
  const chunks = chunksOf(bytes);
  const header = headerOf(chunks.get("IHDR")[0]);
  const software = softwareOf(chunks.get("tEXt") ?? []);
  if (software === FIGURE) throw new Refusal("a figure that cxr-explain drew", "a radiograph", "Give the radiograph that it was drawn from.");
  checkPixels(header.height, header.width);
  const frames = framesOf(chunks);
  if (frames > 1) {
    throw new Refusal(`${frames} images in one file (animated or multi-page)`, "one image", "Save the one to be read as a file of its own.");
  }
  if (header.depth === 1 && header.colour === 0) {
    throw new Refusal("a 1-bit image", "8 or 16-bit grey, palette or RGB", "Save it as an 8 or 16-bit grey PNG.");
  }
  const rows = await inflated(chunks.get("IDAT") ?? [], sizeOf(header));
  const picture = { ...pictureOf(header, unfiltered(rows, header), chunks), kind: "PNG", depth: header.depth, ...saidOf(chunks), phantom: software === PHANTOM };
  return radiographOf(picture);
}

/** The chunks by their kind, those that hold the image with a right checksum. */
function chunksOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = new Map();
  for (let position = 8, count = 1; position + 12 <= bytes.length; count++) {
    checkParts(count, "chunks of a PNG");
    const end = position + 12 + view.getUint32(position);
    if (end > bytes.length) break;
    const kind = String.fromCharCode(...bytes.subarray(position + 4, position + 8));
    const critical = !(bytes[position + 4] & 0x20);
    if (critical && checksum(bytes.subarray(position + 4, end - 4)) !== view.getUint32(end - 4)) {
      throw new Refusal("a PNG chunk with a wrong checksum", null, "The file is damaged.");
    }
    const body = bytes.subarray(position + 8, end - 4);
    if (!found.has(kind)) found.set(kind, []);
    found.get(kind).push(body);
    if (kind === "fcTL" && !found.has("IDAT")) found.animated = true; // the first picture is a part of the animation
    if (kind === "IEND" && found.get("IHDR")?.[0].length === 13) return found;
    position = end;
  }
  throw new Refusal("a PNG without its end", null, "The file is truncated: transfer it again.");
}

const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function checksum(bytes) {
  let value = 0xffffffff;
  for (let at = 0; at < bytes.length; at++) value = TABLE[(value ^ bytes[at]) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}

const undecodable = (why) => new Refusal(`PNG data that cannot be decoded (${why})`, null, DAMAGED);

function headerOf(body) {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [depth, colour, , , interlaced] = body.subarray(8);
  if (!DEPTHS[colour]?.includes(depth) || interlaced > 1) throw undecodable("its header is none of a PNG");
  const bits = depth * CHANNELS[colour];
  return { width, height, depth, colour, bits, channels: CHANNELS[colour], passes: interlaced ? ADAM7 : [[0, 0, 1, 1]] };
}

/** Width and height of each pass of the picture, and the bytes of one of its rows. */
function* passesOf({ width, height, bits, passes }) {
  for (const [x, y, across, down] of passes) {
    const w = Math.ceil((width - x) / across), h = Math.ceil((height - y) / down);
    if (w > 0 && h > 0) yield { x, y, across, down, w, h, row: Math.ceil((w * bits) / 8) };
  }
}

function sizeOf(header) {
  let size = 0;
  for (const { h, row } of passesOf(header)) size += h * (row + 1);
  return size;
}

/** As many bytes as the picture takes, and none of what is packed behind them. */
async function inflated(parts, size) {
  const rows = new Uint8Array(size);
  const reader = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  let filled = 0;
  try {
    while (filled < size) {
      const { done, value } = await reader.read();
      if (done) break;
      const taken = value.subarray(0, size - filled);
      rows.set(taken, filled);
      filled += taken.length;
    }
  } catch {
    throw undecodable("its data are not packed as they say");
  } finally {
    reader.cancel().catch(() => {});
  }
  if (filled < size) throw undecodable("image file is truncated");
  return rows;
}

/** The rows with their filters taken back, and all passes put together: (height, width, channels) of samples. */
function unfiltered(rows, header) {
  const { width, height, depth, channels, bits } = header;
  const samples = new (depth === 16 ? Uint16Array : Uint8Array)(width * height * channels);
  const step = Math.max(1, bits >> 3);
  let position = 0;
  for (const { x, y, across, down, w, h, row } of passesOf(header)) {
    let before = new Uint8Array(row);
    for (let line = 0; line < h; line++) {
      const bytes = rows.subarray(position + 1, position + 1 + row);
      takeBack(rows[position], bytes, before, step);
      spread(bytes, samples, depth, channels, w, ((y + line * down) * width + x) * channels, across * channels);
      before = bytes;
      position += row + 1;
    }
  }
  return samples;
}

function takeBack(filter, bytes, above, step) {
  if (filter > 4) throw undecodable("a row with an unknown filter");
  for (let at = 0; at < bytes.length; at++) {
    const left = at < step ? 0 : bytes[at - step], up = above[at], corner = at < step ? 0 : above[at - step];
    if (filter === 1) bytes[at] += left;
    else if (filter === 2) bytes[at] += up;
    else if (filter === 3) bytes[at] += (left + up) >> 1;
    else if (filter === 4) bytes[at] += paeth(left, up, corner);
  }
}

function paeth(left, up, corner) {
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

/** The samples of a row to their places. */
function spread(bytes, samples, depth, channels, w, first, apart) {
  const mask = (1 << depth) - 1;
  for (let pixel = 0; pixel < w; pixel++) {
    for (let c = 0; c < channels; c++) {
      const at = pixel * channels + c;
      let value;
      if (depth === 8) value = bytes[at];
      else if (depth === 16) value = (bytes[2 * at] << 8) | bytes[2 * at + 1];
      else value = (bytes[(at * depth) >> 3] >> (8 - depth - ((at * depth) & 7))) & mask;
      samples[first + pixel * apart + c] = value;
    }
  }
}

/** Samples as Pillow has them: grey of few bits is stretched, colour of 16 bits loses the lower eight. */
function pictureOf({ width, height, depth, colour, channels }, samples, chunks) {
  const made = (mode, values, count = channels) => ({ width, height, mode, samples: values, channels: count, transparent: transparentOf(chunks, colour) });
  if (colour === 3) return { ...made("P", coloured(samples, chunks), 4), transparent: null };
  if (colour === 0 && depth === 16) return made("I;16", samples);
  if (colour === 0) return made("L", depth === 8 ? samples : samples.map((value) => (value * 255) / (2 ** depth - 1)));
  const upper = depth === 16 ? Uint8Array.from(samples, (value) => value >> 8) : samples;
  if (colour !== 4) return made(colour === 2 ? "RGB" : "RGBA", upper);
  return depth === 8 ? made("LA", upper) : made("RGBA", upper);
}

function transparentOf(chunks, colour) {
  const body = chunks.get("tRNS")?.at(-1);
  const count = { 0: 1, 2: 3 }[colour];
  if (!body || !count || body.length < 2 * count) return null;
  return Array.from({ length: count }, (_, at) => (body[2 * at] << 8) | body[2 * at + 1]);
}

function coloured(samples, chunks) {
  const colours = chunks.get("PLTE")?.at(-1), clear = chunks.get("tRNS")?.at(-1) ?? [];
  if (!colours) throw undecodable("a palette is missing");
  const rgba = new Uint8Array(4 * samples.length);
  for (let at = 0; at < samples.length; at++) {
    const value = samples[at], known = 3 * value + 2 < colours.length;
    for (let c = 0; c < 3; c++) rgba[4 * at + c] = known ? colours[3 * value + c] : value;
    rgba[4 * at + 3] = clear[value] ?? 255;
  }
  return rgba;
}

/** How many pictures an animation has; the first one is one more where it is not part of it. */
function framesOf(chunks) {
  const control = chunks.get("acTL")?.[0];
  if (!control || control.length < 8) return 1;
  const frames = new DataView(control.buffer, control.byteOffset).getUint32(0);
  return frames === 0 || frames > 0x80000000 ? 1 : frames + (chunks.animated ? 0 : 1);
}

function softwareOf(texts) {
  for (const text of texts) {
    const [keyword, value] = new TextDecoder("latin1").decode(text).split("\0", 2);
    if (keyword === "Software") return value;
  }
  return null;
}

/** What the file says of its picture besides. */
function saidOf(chunks) {
  const number = (name, length) => {
    const body = chunks.get(name)?.at(-1);
    return body && body.length >= length ? new DataView(body.buffer, body.byteOffset) : null;
  };
  const gamma = number("gAMA", 4), density = number("pHYs", 9), exif = chunks.get("eXIf")?.at(-1);
  return {
    icc: chunks.has("iCCP"),
    gamma: gamma && gamma.getUint32(0) / 100000,
    density: density && [density.getUint32(0), density.getUint32(4)],
    orientation: exif ? orientationOf(exif) : 1,
  };
}
