/** Numbers and times as text. */

const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** A count, with thousands separators. */
export function count(n: number): string {
  return WHOLE.format(n);
}

/** A value with four significant digits: 0.2134, 12.30, 1,234, 1.234e-5. */
export function value(v: number): string {
  if (v === 0 || !Number.isFinite(v)) return `${v}`;
  const size = Math.abs(v);
  if (size < 1e-3 || size >= 1e7) return exponent(v, 3);
  return size >= 999.5 ? count(v) : v.toPrecision(4);
}

/** A learning rate with up to three significant digits: 6.2e-4, 1e-3, 0.05. */
export function rate(v: number): string {
  if (v === 0 || !Number.isFinite(v)) return `${v}`;
  const size = Math.abs(v);
  return size < 0.01 || size >= 1e4 ? exponent(v, 2) : String(Number(v.toPrecision(3)));
}

/** Seconds as a clock shows them: 1:12, 1:02:03. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n: number) => String(n).padStart(2, "0");
  const h = Math.floor(whole / 3600);
  const m = Math.floor(whole / 60) % 60;
  return h > 0 ? `${h}:${two(m)}:${two(whole % 60)}` : `${m}:${two(whole % 60)}`;
}

/** A word for one, another for any other number: "1 value", "2 values". */
export function plural(n: number, one: string): string {
  return `${count(n)} ${n === 1 ? one : `${one}s`}`;
}

function exponent(v: number, digits: number): string {
  return v
    .toExponential(digits)
    .replace(/\.?0+e/, "e")
    .replace("e+", "e");
}
