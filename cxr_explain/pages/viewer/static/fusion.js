"use strict";
/* FM-G-CAM's fusion of the first K class maps, as cxr_explain.cam.fusion has it. No page is touched here. */

CXR.fusion = (() => {
  /** The error function by its series; what was normalised lies within 1, where this ends after a few terms. */
  function erf(x) {
    let term = x, sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }

  const ACTIVATIONS = {
    relu: (x) => Math.max(x, 0),
    elu: (x) => (x > 0 ? x : Math.expm1(x)),
    gelu: (x) => (x / 2) * (1 + erf(x / Math.SQRT2)),
  };

  /** The fused map of the first `topK` classes: (topK, I, J), row-major.
   *  settings: {normalisation, activation, fused} of the map settings. */
  function fuse(classMaps, [, I, J], topK, { normalisation, activation, fused }) {
    const maps = Float64Array.from(classMaps.subarray(0, topK * I * J));
    if (fused) keepStrongest(maps, topK, I * J);
    for (const block of blocks(topK, I, J, normalisation)) divideByNorm(maps, block);
    return Float32Array.from(maps, ACTIVATIONS[activation]);
  }

  /** Equation 4; the better rank keeps what is equal. */
  function keepStrongest(maps, K, cells) {
    for (let at = 0; at < cells; at++) {
      let best = 0;
      for (let k = 1; k < K; k++) if (maps[k * cells + at] > maps[best * cells + at]) best = k;
      for (let k = 0; k < K; k++) if (k !== best) maps[k * cells + at] = 0;
    }
  }

  /** What has a norm of one: [first place, step, number of places]. */
  function* blocks(K, I, J, normalisation) {
    if (normalisation === "joint") return yield [0, 1, K * I * J];
    for (let k = 0; k < K; k++) {
      if (normalisation === "per-class") yield [k * I * J, 1, I * J];
      else for (let j = 0; j < J; j++) yield [k * I * J + j, J, I];
    }
  }

  /** A block without evidence stays zero. Scaled first, so that the squares of tiny maps do not vanish. */
  function divideByNorm(maps, [first, step, places]) {
    const end = first + step * places;
    let peak = 0, squares = 0;
    for (let at = first; at < end; at += step) peak = Math.max(peak, Math.abs(maps[at]));
    if (peak === 0) return;
    for (let at = first; at < end; at += step) squares += (maps[at] / peak) ** 2;
    const norm = Math.sqrt(squares);
    for (let at = first; at < end; at += step) maps[at] = maps[at] / peak / norm;
  }

  /** [x, y] in the radiograph of the centre of a map's strongest cell; null without positive evidence, and where
   *  it lies in the margin of a padded image.
   *  place: {square: [left, top, side], seen: [left, top, right, bottom]} */
  function peakOf(maps, k, [, I, J], { square, seen }) {
    let best = k * I * J;
    for (let at = best + 1; at < (k + 1) * I * J; at++) if (maps[at] > maps[best]) best = at;
    if (!(maps[best] > 0)) return null;
    const at = best - k * I * J;
    const [left, top, side] = square;
    const x = left + (((at % J) + 0.5) * side) / J, y = top + ((Math.floor(at / J) + 0.5) * side) / I;
    return seen[0] <= x && x <= seen[2] && seen[1] <= y && y <= seen[3] ? [x, y] : null;
  }

  return { fuse, peakOf };
})();
