"use strict";
/* Maps over the radiograph, as cxr_explain.geometry and cxr_explain.figures.overlay have them. No page is touched here. */

CXR.maps = (() => {
  const GAMMA = 0.75;
  const HATCHES = 36; // lines along the longer side
  const SIGN_OPACITY = 0.5;

  /** For each of `samples` pixels: the two cells it lies between, and how far it is towards the second.
   *  Half-pixel centres; -1 where the model did not see the pixel. */
  function along(cells, start, side, samples, extent) {
    const lower = new Int32Array(samples), upper = new Int32Array(samples), share = new Float32Array(samples);
    for (let at = 0; at < samples; at++) {
      const centre = (((at + 0.5) * extent) / samples - start) / side;
      if (centre < 0 || centre >= 1) {
        lower[at] = -1;
        continue;
      }
      const position = Math.min(Math.max(centre * cells - 0.5, 0), cells - 1);
      lower[at] = Math.floor(position);
      upper[at] = Math.min(lower[at] + 1, cells - 1);
      share[at] = position - lower[at];
    }
    return { lower, upper, share };
  }

  /** One map (I x J, row-major, from `offset`) at every pixel of a canvas; `outside` where nothing was seen.
   *  place: {shape: [H, W] of the radiograph, square: [left, top, side]} */
  function upsample(values, offset, [I, J], place, width, height, outside = 0) {
    const [H, W] = place.shape, [left, top, side] = place.square;
    const rows = along(I, top, side, height, H), columns = along(J, left, side, width, W);
    const result = new Float32Array(width * height);
    if (outside) result.fill(outside);
    const line = new Float32Array(J);
    for (let y = 0; y < height; y++) {
      if (rows.lower[y] < 0) continue;
      const [a, b, f] = [offset + rows.lower[y] * J, offset + rows.upper[y] * J, rows.share[y]];
      for (let j = 0; j < J; j++) line[j] = values[a + j] * (1 - f) + values[b + j] * f;
      const start = y * width;
      for (let x = 0; x < width; x++) {
        const low = columns.lower[x];
        if (low < 0) continue;
        const g = columns.share[x];
        result[start + x] = line[low] * (1 - g) + line[columns.upper[x]] * g;
      }
    }
    return result;
  }

  /** The sum of positive evidence of all maps at its strongest pixel: opacities are relative to it. */
  function peakOf(maps, size) {
    let peak = 0;
    for (let at = 0; at < size; at++) {
      let total = 0;
      for (const map of maps) if (map[at] > 0) total += map[at];
      if (total > peak) peak = total;
    }
    return peak;
  }

  /** For each pixel from 0 to 1: the soft lines of a second sign, down, up or both ways. */
  function hatch(width, height, sign) {
    const period = Math.max(4, Math.floor(Math.max(width, height) / HATCHES));
    const wave = (across) => Math.abs((((across % period) + period) % period) - period / 2) / (period / 2);
    const ways = [[-1], [1], [-1, 1]][(sign - 1) % 3];
    const lines = new Float32Array(width * height);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const crest = Math.max(...ways.map((way) => wave(x + way * y)));
        lines[y * width + x] = Math.min(Math.max((crest - 0.72) / 0.2, 0), 1);
      }
    }
    return lines;
  }

  /** Colours and opacities of the maps that are shown, mixed where they meet, as RGBA bytes of a picture.
   *  The peak is that of all maps, so that hiding one leaves the others as they were. */
  function mix(maps, styles, peak, picture) {
    const pixels = picture.data.fill(0);
    if (!(peak > 0)) return;
    const shown = maps.map((map, k) => map && drawn(map, styles[k], picture)).filter(Boolean);
    const size = pixels.length / 4;
    for (let at = 0; at < size; at++) {
      let total = 0, red = 0, green = 0, blue = 0;
      for (let k = 0; k < shown.length; k++) {
        const { map, own, line, lines } = shown[k];
        const strength = map[at];
        if (!(strength > 0)) continue;
        total += strength;
        red += strength * own[0];
        green += strength * own[1];
        blue += strength * own[2];
        if (lines === null || lines[at] === 0) continue;
        const across = strength * SIGN_OPACITY * lines[at];
        red += across * (line[0] - own[0]);
        green += across * (line[1] - own[1]);
        blue += across * (line[2] - own[2]);
      }
      if (total === 0) continue;
      pixels[4 * at] = red / total;
      pixels[4 * at + 1] = green / total;
      pixels[4 * at + 2] = blue / total;
      pixels[4 * at + 3] = 255 * Math.pow(total / peak, GAMMA);
    }
  }

  /** A map with its colour, and the lines across it where its style has a second sign. */
  function drawn(map, { colour, ink, sign }, { width, height }) {
    return { map, own: bytesOf(colour), line: bytesOf(ink), lines: sign ? hatch(width, height, sign) : null };
  }

  /** Grey values through a window (width) and a level (centre): linear between, flat beyond. */
  function windowed(grey, width, level, pixels) {
    const table = new Uint8ClampedArray(256);
    for (let value = 0; value < 256; value++) table[value] = Math.round(((value - (level - width / 2)) / width) * 255);
    for (let at = 0; at < grey.length; at++) {
      const shown = table[grey[at]];
      pixels[4 * at] = pixels[4 * at + 1] = pixels[4 * at + 2] = shown;
      pixels[4 * at + 3] = 255;
    }
    return pixels;
  }

  /** "#RRGGBB" as three bytes. */
  const bytesOf = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

  return { upsample, peakOf, mix, windowed };
})();
