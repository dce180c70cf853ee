/* Which DICOM objects are radiographs, as cxr_explain.loaders.acceptance has it.

   An error or warning quotes an attribute only where its value is one of the standard's terms: all else may be patient data. */

import { Refusal } from "./refusal.js";

const RADIOGRAPHY = ["CR", "DX", "RG"], UNSPECIFIC = ["SC", "OT"];
const OTHER = {
  CT: "computed tomography", MR: "magnetic resonance", US: "ultrasound", NM: "nuclear medicine", PT: "positron emission tomography",
  MG: "mammography", XA: "angiography", RF: "fluoroscopy", SEG: "a segmentation", IO: "intra-oral radiography",
  PX: "panoramic dental radiography", BMD: "bone densitometry", SM: "slide microscopy", XC: "photography", ES: "endoscopy",
  GM: "microscopy", OP: "ophthalmic photography", RTIMAGE: "a radiotherapy image", RTDOSE: "a radiotherapy dose",
  SR: "a structured report", PR: "a presentation state", KO: "a selection of key objects", DOC: "a document",
};
const STORAGE = ["1", "1.1", "7", "7.1", "7.2", "7.3", "7.4"].map((each) => `1.2.840.10008.5.1.4.1.1.${each}`);
const FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1";
const GREY = ["MONOCHROME1", "MONOCHROME2"];
const COLOUR = ["RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT", "ARGB", "CMYK", "HSV", "XYB"];
const CHEST = ["CHEST", "THORAX", "LUNG", "RIB", "STERNUM", "HEART", "CLAVICLE", "THORACIC", "CTSPINE", "TSPINE"];
const FRONTAL = ["PA", "AP"];
const VIEWS = [...FRONTAL, "LL", "RL", "LAT", "LATERAL", "LLD", "RLD", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO", "OBL", "OBLIQUE", "LORDOTIC", "AXIAL", "SUPINE", "ML", "LM", "SWIMMERS"];
const VIEW_CODES = { "272479007": "PA", "R-40888": "PA", "R-10214": "PA", "399348003": "AP", "R-10206": "AP", "399173006": "LL", "R-10236": "LL", "399198007": "RL", "R-10232": "RL", "399067008": "LATERAL", "R-102CD": "LATERAL", "399135007": "LAO", "R-10220": "LAO", "399356000": "RAO", "R-40985": "RAO", "399006002": "LPO", "R-10212": "LPO", "399038007": "RPO", "R-10210": "RPO" };

/** Refuse what is no grey radiograph ready for display; gives what a reviewer should know, with the `view`. */
export function checkAcceptable(header) {
  checkHasPixels(header);
  const warnings = [...modality(header), ...storage(header)];
  if (header.upper("PresentationIntentType") === "FOR PROCESSING") throw forProcessing();
  checkPhotometric(header);
  const part = header.upper("BodyPartExamined");
  if (part && !CHEST.some((word) => part.includes(word))) warnings.push("another body part than the chest in the header: the models know frontal chest radiographs only");
  if (header.upper("BurnedInAnnotation") === "YES") warnings.push("burned-in annotation: the pixels may show patient data");
  warnings.view = viewOf(header, warnings);
  return warnings;
}

function checkHasPixels(header) {
  if (header.has("PixelData")) return;
  if (header.has("FloatPixelData") || header.has("DoubleFloatPixelData")) {
    throw new Refusal("floating-point pixel data, as of a parametric map", "8 or 16-bit grey values");
  }
  if (header.has("DirectoryRecordSequence")) throw new Refusal("the index of a disc (DICOMDIR)", "a CR or DX image");
  const stripped = header.has("Rows") && header.has("BitsAllocated");
  throw new Refusal("a DICOM object without pixel data", "a CR or DX image", stripped ? "The header is that of an image: the file was cut off before its pixel data, or they were removed." : null);
}

function modality(header) {
  const value = header.upper("Modality");
  if (RADIOGRAPHY.includes(value)) return [];
  if (UNSPECIFIC.includes(value)) return [`modality ${value}: the header does not say that this is a radiograph`];
  if (!value) return ["no modality in the header: it does not say that this is a radiograph"];
  const found = Object.hasOwn(OTHER, value) ? `modality ${value} (${OTHER[value]})` : "another modality than radiography";
  throw new Refusal(found, "a radiograph (CR, DX, RG)");
}

function storage(header) {
  const value = header.text("SOPClassUID") ?? "";
  if (STORAGE.includes(value)) return [];
  if (value === FOR_PROCESSING) throw forProcessing();
  if (/^1\.2\.840\.10008\.[\d.]+$/.test(value)) throw new Refusal(`the SOP class ${value}`, "CR, DX or Secondary Capture Image Storage");
  return ["no known SOP class in the header: it does not say what kind of image this is"];
}

const forProcessing = () =>
  new Refusal("an image FOR PROCESSING, whose grey scale is the detector's own", "the FOR PRESENTATION image", "Export the processed image of the same exposure.");

function checkPhotometric(header) {
  const photometric = header.upper("PhotometricInterpretation");
  const single = !header.given("SamplesPerPixel") || header.number("SamplesPerPixel") === 1;
  if (GREY.includes(photometric) && single) return;
  let found = "no known photometric interpretation";
  if (GREY.includes(photometric)) found = "more than one sample per pixel in a MONOCHROME image";
  else if (COLOUR.includes(photometric)) found = `a colour image (${photometric})`;
  throw new Refusal(found, "MONOCHROME1 or MONOCHROME2", "Export the image in grey; where it only looks grey, a PNG of it can be read.");
}

function viewOf(header, warnings) {
  const value = header.upper("ViewPosition");
  const coded = header.items("ViewCodeSequence").map((item) => item.text("CodeValue"));
  const view = VIEWS.includes(value) ? value : VIEW_CODES[coded.find((code) => Object.hasOwn(VIEW_CODES, code ?? ""))] ?? null;
  if (view === null && value) warnings.push("view position of an unknown name: taken as unknown");
  if (view !== null && !FRONTAL.includes(view)) warnings.push(`view ${view}: the models know frontal chest radiographs only`);
  return view;
}
