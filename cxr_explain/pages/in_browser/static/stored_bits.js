/* Which bits of a stored word are the sample, and which is its sign, as cxr_explain.loaders.stored_bits has it. */

import { general } from "./refusal.js";

const KINDS = { 1: [Uint8Array, Int8Array], 2: [Uint16Array, Int16Array] };
const MUCH = 0.5, EVERY = 8;

/** Samples from words: {samples, bits, warnings}. What is above the stored bits is dropped, unless the picture is torn without it. */
export function settleBits(words, { stored, signed, columns }) {
  const whole = seen(words, signed);
  let low = 0, high = 0;
  for (const value of whole) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const limit = signed ? 2 ** (stored - 1) : 2 ** stored;
  if (high < limit && low >= -limit) return { samples: whole, bits: stored, warnings: signWarnings(words, whole, stored, signed, columns) };
  const samples = read(words, stored, signed);
  if (roughness(whole, columns) >= roughness(samples, columns)) {
    let above = 0;
    for (let at = 0; at < words.length; at++) if (samples[at] !== whole[at]) above++;
    return { samples, bits: stored, warnings: [`bits above the ${stored} stored, set in ${percent(above / words.length)} of the pixels, are dropped`] };
  }
  const bits = bitsOf(low, high) + (signed ? 1 : 0);
  return { samples: whole, bits, warnings: [`the header says ${stored} bits stored, the picture has ${bits}: all are read`] };
}

const seen = (words, signed) => new KINDS[words.BYTES_PER_ELEMENT][signed ? 1 : 0](words.buffer, words.byteOffset, words.length);

/** The lowest bits of each word, in two's complement where signed. */
function read(words, bits, signed) {
  const samples = new KINDS[words.BYTES_PER_ELEMENT][signed ? 1 : 0](words.length);
  const unused = 32 - bits;
  for (let at = 0; at < words.length; at++) samples[at] = signed ? (words[at] << unused) >> unused : (words[at] << unused) >>> unused;
  return samples;
}

const lengthOf = (value) => 32 - Math.clz32(value);
const bitsOf = (low, high) => Math.max(lengthOf(high), low < 0 ? lengthOf(~low) : 0);

/** The sum of the steps between neighbours in a row, of every so many rows. */
function roughness(samples, columns, every = 1) {
  let sum = 0;
  for (let start = 0; start < samples.length; start += every * columns) {
    for (let at = start + 1; at < start + columns; at++) sum += Math.abs(samples[at] - samples[at - 1]);
  }
  return sum;
}

/** Name a Pixel Representation under which the picture is torn, and without which it is smooth; it is followed. */
function signWarnings(words, samples, bits, signed, columns) {
  const other = read(words, bits, !signed);
  if (roughness(other, columns, EVERY) >= MUCH * roughness(samples, columns, EVERY)) return [];
  const [header, picture] = signed ? ["signed", "unsigned"] : ["unsigned", "signed"];
  return [`the header says ${header} pixels, and the picture is smooth as ${picture} ones: is it torn?`];
}

const percent = (share) => (share < 0.995 ? `${general(100 * share, 2)} %` : "100 %");
