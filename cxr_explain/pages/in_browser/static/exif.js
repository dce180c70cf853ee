/* The orientation of a picture, by the EXIF data of its file; and the picture turned upright. */

const ORIENTATION = 0x0112;
const MOST_TAGS = 4096;

/** The orientation, 1 to 8, of EXIF data from its byte order on; null where they are unreadable. */
export function orientationOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    const little = view.getUint16(0) === 0x4949;
    if (!little && view.getUint16(0) !== 0x4d4d) return null;
    const start = view.getUint32(4, little);
    const tags = Math.min(view.getUint16(start, little), MOST_TAGS);
    for (let at = 0; at < tags; at++) {
      const entry = start + 2 + 12 * at;
      if (view.getUint16(entry, little) === ORIENTATION) return view.getUint16(entry + 8, little);
    }
    return 1;
  } catch {
    return null;
  }
}

/** Samples turned as an orientation from 2 to 8 says; any other leaves them. */
export function upright(picture, orientation) {
  const { width, height, samples, channels } = picture;
  const from = { // for [x, y] of the upright picture, its place in the stored one
    2: (x, y) => [width - 1 - x, y],
    3: (x, y) => [width - 1 - x, height - 1 - y],
    4: (x, y) => [x, height - 1 - y],
    5: (x, y) => [y, x],
    6: (x, y) => [y, height - 1 - x],
    7: (x, y) => [width - 1 - y, height - 1 - x],
    8: (x, y) => [width - 1 - y, x],
  }[orientation];
  if (!from) return picture;
  const [w, h] = orientation > 4 ? [height, width] : [width, height];
  const turned = new samples.constructor(samples.length);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const [sx, sy] = from(x, y);
      for (let c = 0; c < channels; c++) turned[(y * w + x) * channels + c] = samples[(sy * width + sx) * channels + c];
    }
  }
  return { ...picture, width: w, height: h, samples: turned };
}
