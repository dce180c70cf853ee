/* One file in, one radiograph or one clear error out; what a file is, its first bytes say. */

import { readDicom } from "./dicom.js";
import { readJpeg } from "./jpeg.js";
import { checkBytes } from "./limits.js";
import { readPng } from "./png.js";
import { Refusal, onlyInPython } from "./refusal.js";

const begins = (bytes, ...signature) => signature.every((each, at) => bytes[at] === each);
const ascii = (bytes, start, end) => String.fromCharCode(...bytes.subarray(start, end));
const IN_PYTHON = [["TIFF", "II*\0"], ["TIFF", "MM\0*"], ["BMP", "BM"]];

/** {pixels, display, width, height, format, phantom, steps, warnings, view, sides} of a file's bytes. */
export async function readRadiograph(file) {
  checkBytes(file.size);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const reader = readerOf(bytes);
  try {
    return await reader(bytes);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    // The text of an unexpected error may quote the file, so only its type is passed on.
    throw new Refusal(`a file that cannot be decoded (${error.name})`, null, "Check that the file was transferred completely.");
  }
}

function readerOf(bytes) {
  if (ascii(bytes, 128, 132) === "DICM") return readDicom;
  if (begins(bytes, 0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)) return readPng;
  if (begins(bytes, 0xff, 0xd8, 0xff)) return readJpeg;
  if (looksLikeBareDicom(bytes)) return readDicom;
  const other = IN_PYTHON.find(([, signature]) => ascii(bytes, 0, signature.length) === signature)?.[0];
  if (other ?? (ascii(bytes, 0, 4) === "RIFF" && ascii(bytes, 8, 12) === "WEBP")) throw onlyInPython(`a ${other ?? "WEBP"} image`, "PNG, JPEG or uncompressed DICOM");
  throw new Refusal(bytes.length ? "bytes of no known image format" : "an empty file", "PNG, JPEG or uncompressed DICOM");
}

/** A data set without preamble begins with an element of group 2 or 8 (PS3.5, 7). */
function looksLikeBareDicom(bytes) {
  if (bytes.length < 16) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (![2, 8].includes(view.getUint16(0, true)) || view.getUint16(2, true) > 0x2000) return false;
  if (/^[A-Z]{2}$/.test(ascii(bytes, 4, 6))) return true;
  const length = view.getUint32(4, true);
  return length % 2 === 0 && length <= 1024 && 12 + length <= bytes.length && [2, 8, 16].includes(view.getUint16(8 + length, true));
}
