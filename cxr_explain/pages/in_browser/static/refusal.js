/* Errors as cxr_explain.errors words them: found, expected, the way out. */

export class Refusal extends Error {
  constructor(found, expected = null, remedy = null) {
    const body = expected ? `found ${found}; expected ${expected}.` : `${found}.`;
    super(remedy ? `${body} ${remedy}` : body);
  }
}

/** What Python reads, and this page does not. */
export const onlyInPython = (found, expected) => new Refusal(found, expected, "`cxr-explain explain` reads it.");

/** A number as Python's :g has it. */
export function general(value, digits = 6) {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const power = Number(value.toExponential(digits - 1).split("e")[1]);
  if (power >= -4 && power < digits) return String(Number(value.toPrecision(digits)));
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  return `${Number(mantissa)}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
}
