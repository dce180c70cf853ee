/* The elements of a DICOM file in little endian (PS3.5, 7.1), and safe access to them, as cxr_explain.loaders.header has it. */

import { checkParts } from "./limits.js";
import { Refusal } from "./refusal.js";

const LONG = new Set(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]);
const UNDEFINED = 0xffffffff, DEEPEST = 32;
const ITEM = 0xfffee000, ITEM_END = 0xfffee00d, SEQUENCE_END = 0xfffee0dd, PIXELS = 0x7fe00010;
const AGAIN = "The file is truncated: transfer it again.";
const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/;
const COMMA = /^[-+]?\d*,\d+([eE][-+]?\d+)?$/, THOUSANDS = /^[-+]?[1-9]\d{0,2}(,\d{3})+$/;
const READERS = {
  US: [2, "getUint16"], SS: [2, "getInt16"], UL: [4, "getUint32"], SL: [4, "getInt32"], FL: [4, "getFloat32"], FD: [8, "getFloat64"],
};

/** What is read of a header: the tag, and the VR that a file in implicit VR leaves unsaid. */
const KNOWN = {
  TransferSyntaxUID: [0x00020010, "UI"], SOPClassUID: [0x00080016, "UI"], Modality: [0x00080060, "CS"],
  PresentationIntentType: [0x00080068, "CS"], Manufacturer: [0x00080070, "LO"], ManufacturerModelName: [0x00081090, "LO"],
  DirectoryRecordSequence: [0x00041220, "SQ"], BodyPartExamined: [0x00180015, "CS"], ViewPosition: [0x00185101, "CS"],
  ShutterShape: [0x00181600, "CS"], ImagerPixelSpacing: [0x00181164, "DS"], NominalScannedPixelSpacing: [0x00182010, "DS"],
  PatientOrientation: [0x00200020, "CS"], SamplesPerPixel: [0x00280002, "US"], PhotometricInterpretation: [0x00280004, "CS"],
  NumberOfFrames: [0x00280008, "IS"], Rows: [0x00280010, "US"], Columns: [0x00280011, "US"], PixelSpacing: [0x00280030, "DS"],
  PixelAspectRatio: [0x00280034, "IS"], BitsAllocated: [0x00280100, "US"], BitsStored: [0x00280101, "US"], HighBit: [0x00280102, "US"],
  PixelRepresentation: [0x00280103, "US"], PixelPaddingValue: [0x00280120, "XS"], PixelPaddingRangeLimit: [0x00280121, "XS"],
  BurnedInAnnotation: [0x00280301, "CS"], WindowCenter: [0x00281050, "DS"], WindowWidth: [0x00281051, "DS"],
  RescaleIntercept: [0x00281052, "DS"], RescaleSlope: [0x00281053, "DS"], VOILUTFunction: [0x00281056, "CS"],
  ModalityLUTSequence: [0x00283000, "SQ"], VOILUTSequence: [0x00283010, "SQ"], LUTDescriptor: [0x00283002, "XS"], LUTData: [0x00283006, "OW"],
  PresentationLUTShape: [0x20500020, "CS"], ViewCodeSequence: [0x00540220, "SQ"], CodeValue: [0x00080100, "SH"],
  FloatPixelData: [0x7fe00008, "OF"], DoubleFloatPixelData: [0x7fe00009, "OD"], PixelData: [PIXELS, "OW"],
};
const VRS = new Map(Object.values(KNOWN));

/** The elements of a data set or item, by tag. */
export class Header {
  constructor(elements) {
    this.elements = elements;
    this.mended = [];
  }

  get(keyword) {
    return this.elements.get(KNOWN[keyword][0]);
  }

  has(keyword) {
    return this.get(keyword) !== undefined;
  }

  /** Whether an attribute holds anything, readable or not. */
  given(keyword) {
    const found = this.get(keyword);
    if (!found) return false;
    return found.items ? found.items.length > 0 : ["CS", "DS", "IS"].includes(found.vr) ? this.texts(keyword).some(Boolean) : found.bytes.length > 0;
  }

  texts(keyword) {
    const found = this.get(keyword);
    if (!found || found.items || READERS[found.vr]) return [];
    return new TextDecoder("latin1").decode(found.bytes).split("\\").map((each) => each.replace(/^[\s\0]+|[\s\0]+$/g, ""));
  }

  /** The first of its texts; null where there is none. */
  text(keyword) {
    return this.texts(keyword)[0] || null;
  }

  upper(keyword) {
    return (this.text(keyword) ?? "").toUpperCase();
  }

  /** The finite numbers of an attribute; none where one of them is none. */
  numbers(keyword) {
    const found = this.get(keyword);
    if (!found || found.items || found.bytes.length === 0) return [];
    const vr = found.vr === "XS" ? (this.signed ? "SS" : "US") : found.vr;
    const values = READERS[vr] ? binary(found.bytes, ...READERS[vr]) : this.decimals(keyword);
    return values.every(Number.isFinite) ? values : [];
  }

  /** A decimal comma is read as a point, but where it may be meant as thousands. */
  decimals(keyword) {
    const texts = this.texts(keyword);
    if (texts.every((each) => !each)) return [];
    const commas = texts.filter((each) => each.includes(","));
    const mends = commas.length && commas.every((each) => COMMA.test(each) && !THOUSANDS.test(each));
    if (mends && !this.mended.includes(keyword)) this.mended.push(keyword);
    return (mends ? texts.map((each) => each.replace(",", ".")) : texts).map((each) => (NUMBER.test(each) ? Number(each) : NaN));
  }

  number(keyword) {
    const values = this.numbers(keyword);
    return values.length === 1 ? values[0] : null;
  }

  /** A whole number that decoding needs. */
  whole(keyword, otherwise = null) {
    if (!this.given(keyword)) {
      if (otherwise !== null) return otherwise;
      throw new Refusal(`no ${keyword} in the DICOM header`, `a readable ${keyword}`);
    }
    const value = this.number(keyword);
    if (!Number.isInteger(value)) throw new Refusal(`a ${keyword} that is not a whole number`);
    return value;
  }

  items(keyword) {
    return this.get(keyword)?.items ?? [];
  }
}

function binary(bytes, size, method) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length % size) return [NaN];
  return Array.from({ length: bytes.length / size }, (_, at) => view[method](at * size, true));
}

/** The header of a file with or without the preamble of PS3.10 7.1: {header, syntax, explicit, end of the file's bytes}. */
export function parseDicom(bytes) {
  const reader = new HeaderReader(bytes);
  const preamble = bytes.length >= 132 && String.fromCharCode(...bytes.subarray(128, 132)) === "DICM";
  let position = preamble ? 132 : 0;
  const meta = new Map();
  if (reader.groupAt(position) === 2) position = reader.elements(meta, position, bytes.length, true, (tag) => tag >>> 16 !== 2);
  const syntax = new Header(meta).text("TransferSyntaxUID");
  const explicit = syntax === null ? reader.looksExplicit(position) : syntax !== "1.2.840.10008.1.2";
  return { syntax, explicit, parse: () => reader.dataSet(position, explicit) };
}

class HeaderReader {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.parts = 0;
  }

  groupAt(position) {
    return position + 2 <= this.bytes.length ? this.view.getUint16(position, true) : -1;
  }

  looksExplicit(position) {
    return /^[A-Z]{2}$/.test(String.fromCharCode(...this.bytes.subarray(position + 4, position + 6)));
  }

  dataSet(position, explicit) {
    const elements = new Map();
    this.elements(elements, position, this.bytes.length, explicit, () => false);
    const header = new Header(elements);
    this.sign(header, header.number("PixelRepresentation") === 1);
    return header;
  }

  /** Numbers whose sign follows the pixels need to know it, within items, too. */
  sign(header, signed) {
    header.signed = signed;
    for (const { items } of header.elements.values()) for (const item of items ?? []) this.sign(item, signed);
  }

  tag(position) {
    return ((this.view.getUint16(position, true) << 16) | this.view.getUint16(position + 2, true)) >>> 0;
  }

  /** Read elements until an end, a delimiter of items, or a tag at which to stop; gives the place behind them. */
  elements(into, position, end, explicit, stop, depth = 0) {
    while (position + 8 <= end) {
      const tag = this.tag(position);
      if (stop(tag)) return position;
      if (tag === ITEM_END) return position + 8;
      checkParts(++this.parts, "elements, items and values");
      const head = this.head(position, tag, explicit);
      const last = tag === PIXELS && depth === 0;
      if (head.length === UNDEFINED && !last) {
        const inner = head.vr === "UN" ? false : explicit;
        const items = [];
        position = this.sequence(items, head.start, end, inner, depth + 1);
        into.set(tag, { vr: "SQ", items });
        continue;
      }
      const length = head.length === UNDEFINED ? end - head.start : head.length;
      if (head.start + length > end && !last) throw new Refusal("a DICOM file that ends within its header", "pixel data", AGAIN);
      const bytes = this.bytes.subarray(head.start, Math.min(head.start + length, end));
      const element = { vr: head.vr, bytes, declared: head.length === UNDEFINED ? null : head.length };
      if (head.vr === "SQ") {
        element.items = [];
        this.sequence(element.items, head.start, head.start + length, explicit, depth + 1);
      }
      into.set(tag, element);
      position = head.start + length;
    }
    return position;
  }

  head(position, tag, explicit) {
    const known = VRS.get(tag);
    if (!explicit) return { vr: known ?? "UN", length: this.view.getUint32(position + 4, true), start: position + 8 };
    const said = String.fromCharCode(this.bytes[position + 4], this.bytes[position + 5]);
    if (!/^[A-Z]{2}$/.test(said)) throw new Refusal("a DICOM header that cannot be parsed", null, "The file is damaged or truncated: transfer it again.");
    const vr = said === "UN" && known ? known : said;
    if (!LONG.has(said)) return { vr, length: this.view.getUint16(position + 6, true), start: position + 8 };
    if (position + 12 > this.bytes.length) throw new Refusal("a DICOM file that ends within its header", "pixel data", AGAIN);
    return { vr, length: this.view.getUint32(position + 8, true), start: position + 12 };
  }

  sequence(items, position, end, explicit, depth) {
    if (depth > DEEPEST) throw new Refusal("a DICOM header that cannot be parsed (too deep)", null, "The file is damaged.");
    while (position + 8 <= end) {
      const tag = this.tag(position), length = this.view.getUint32(position + 4, true);
      if (tag === SEQUENCE_END) return position + 8;
      if (tag !== ITEM) throw new Refusal("a DICOM header that cannot be parsed", null, "The file is damaged or truncated: transfer it again.");
      checkParts(++this.parts, "elements, items and values");
      const elements = new Map();
      const stop = length === UNDEFINED ? end : position + 8 + length;
      if (stop > end) throw new Refusal("a DICOM file that ends within its header", "pixel data", AGAIN);
      const behind = this.elements(elements, position + 8, stop, explicit, () => false, depth);
      items.push(new Header(elements));
      position = length === UNDEFINED ? behind : stop;
    }
    return position;
  }
}
