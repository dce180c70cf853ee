/* JPEG through the browser's own decoder; what it would read otherwise than Python is told from the file's markers. */

import { orientationOf } from "./exif.js";
import { checkParts, checkPasses, checkPixels } from "./limits.js";
import { radiographOf } from "./raster.js";
import { Refusal } from "./refusal.js";

const undecodable = (why) => new Refusal(`JPEG data that cannot be decoded (${why})`, null, "The file is damaged or truncated.");
const FRAMES = [0xc0, 0xc1, 0xc2];

export async function readJpeg(bytes) {
  const said = markersOf(bytes);
  checkPixels(said.height, said.width);
  checkPasses(said.scans, said.height, said.width);
  const plain = new Blob(said.parts, { type: "image/jpeg" });
  const bitmap = await createImageBitmap(plain, { colorSpaceConversion: "none", premultiplyAlpha: "none" }).catch(() => {
    throw undecodable("the browser does not decode it");
  });
  const { width, height } = bitmap;
  if (width !== said.width || height !== said.height) throw undecodable("its size is not the one it says");
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  const grey = said.components === 1;
  const samples = grey ? new Uint8Array(width * height) : rgba;
  if (grey) for (let at = 0; at < samples.length; at++) samples[at] = rgba[4 * at];
  const picture = grey ? { mode: "L", channels: 1 } : { mode: "RGB", channels: 4 };
  return radiographOf({ ...picture, kind: "JPEG", width, height, samples, depth: 8, transparent: null, gamma: null, phantom: false, ...said });
}

/** Size, components, orientation and the like, from the segments before the picture; and the file's parts without
 *  EXIF data and profiles, which the browser would apply. */
function markersOf(bytes) {
  const found = { parts: [bytes.subarray(0, 2)], width: 0, height: 0, components: 0, scans: 0, orientation: 1, density: null, icc: false };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let ended = false;
  for (let position = 2, count = 1; position + 2 <= bytes.length && !ended; count++) {
    checkParts(count, "segments and other bytes before the picture of a JPEG");
    const start = position;
    position = bytes.indexOf(0xff, position);
    if (position < 0 || position + 2 > bytes.length) break;
    const marker = bytes[position + 1];
    if (marker === 0xff) position += 1;
    else if (marker === 0xd9) {
      ended = true;
      position += 2;
    }
    else if (marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd8)) position += 2;
    else {
      if (position + 4 > bytes.length) break;
      const end = position + 2 + Math.max(view.getUint16(position + 2), 2);
      segment(marker, bytes.subarray(position + 4, end), found);
      position = marker === 0xda ? afterScan(bytes, end) : end;
      if (marker === 0xe1 || marker === 0xe2) continue;
    }
    found.parts.push(bytes.subarray(start, position));
  }
  if (!found.components || !found.scans || !ended) throw undecodable("image file is truncated");
  return found;
}

/** The next marker behind the bytes of a scan, which has none but those for starting anew. */
function afterScan(bytes, position) {
  for (let at = bytes.indexOf(0xff, position); at >= 0; at = bytes.indexOf(0xff, at + 1)) {
    const next = bytes[at + 1];
    if (next > 0 && next !== 0xff && !(next >= 0xd0 && next <= 0xd7)) return at;
  }
  return bytes.length;
}

const startsWith = (body, text) => Array.from(text).every((sign, at) => body[at] === sign.charCodeAt(0));

function segment(marker, body, found) {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (marker === 0xda) found.scans += 1;
  else if (marker === 0xe0 && startsWith(body, "JFIF\0") && body.length >= 12) found.density = [view.getUint16(8), view.getUint16(10)];
  else if (marker === 0xe1 && startsWith(body, "Exif\0\0")) found.orientation = orientationOf(body.subarray(6));
  else if (marker === 0xe2 && startsWith(body, "ICC_PROFILE\0")) found.icc = true;
  else if (FRAMES.includes(marker) && body.length >= 6) frame(view, found);
  else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
    throw undecodable("a kind of JPEG that photographs do not have");
  }
}

function frame(view, found) {
  if (view.getUint8(0) !== 8) throw undecodable(`${view.getUint8(0)} bits a sample`);
  Object.assign(found, { height: view.getUint16(1), width: view.getUint16(3), components: view.getUint8(5) });
  if (found.components === 4) {
    throw new Refusal("a CMYK image", "8 or 16-bit grey, palette or RGB", "Save it as an 8 or 16-bit grey PNG.");
  }
  if (found.components !== 1 && found.components !== 3) throw undecodable(`${found.components} components`);
}
