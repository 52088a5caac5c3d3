// The numbers that a model's file and a request become before the module is asked anything: exact rationals in BigInt,
// as docs/spec/numerics.md defines them (sections 5, 6, 7 and 10).

import { InputError } from "./sources.js";

const LOG2E = 1549082005n; // Q30
const PRECISION = 160n; // fraction bits in which frequencies are computed
const UNIT = 1n << PRECISION;
const MILLION = 1000000n;

/** An exact rational number in lowest terms, the denominator positive. */
export class Rational {
  constructor(numerator, denominator = 1n) {
    const sign = denominator < 0n ? -1n : 1n;
    const divisor = gcd(numerator < 0n ? -numerator : numerator, denominator < 0n ? -denominator : denominator) || 1n;
    this.numerator = (sign * numerator) / divisor;
    this.denominator = (sign * denominator) / divisor;
  }

  /** The decimal number that a float shows in its shortest form. */
  static shown(value) {
    return Rational.decimal(String(value));
  }

  /** A decimal number as text, perhaps with an exponent. */
  static decimal(text) {
    const [, sign, whole, fraction = "", exponent = "0"] = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i.exec(text);
    const shift = BigInt(exponent) - BigInt(fraction.length);
    const digits = BigInt(sign + whole + fraction);
    return shift < 0n ? new Rational(digits, 10n ** -shift) : new Rational(digits * 10n ** shift);
  }

  /** The exact value of a float. */
  static exact(value) {
    let exponent = 0;
    while (!Number.isInteger(value)) {
      value *= 2;
      exponent++;
    }
    return new Rational(BigInt(value), 1n << BigInt(exponent));
  }

  times(other) {
    return new Rational(this.numerator * other.numerator, this.denominator * other.denominator);
  }

  over(other) {
    return new Rational(this.numerator * other.denominator, this.denominator * other.numerator);
  }

  floor() {
    const quotient = this.numerator / this.denominator;
    return this.numerator % this.denominator < 0n ? quotient - 1n : quotient;
  }

  /** The nearest integer, halves upwards. */
  round() {
    return new Rational(2n * this.numerator + this.denominator, 2n * this.denominator).floor();
  }

  toString() {
    return this.denominator === 1n ? `${this.numerator}` : `${this.numerator}/${this.denominator}`;
  }
}

function gcd(a, b) {
  while (b) [a, b] = [b, a % b];
  return a;
}

function bitLength(n) {
  return n === 0n ? 0 : n.toString(2).length;
}

/** The largest integer whose square is at most n. */
export function isqrt(n) {
  if (n < 2n) return n;
  let x = 1n << BigInt((bitLength(n) + 1) >> 1);
  for (;;) {
    const y = (x + n / x) >> 1n;
    if (y >= x) return x;
    x = y;
  }
}

const roundShift = (x, s) => (s > 0n ? (x + (1n << (s - 1n))) >> s : x);

/**
 * A norm's gain as integers: gain * sqrt(n) = factor * 2^(exponent - 30) (section 5).
 *
 * @param {Float32Array} gain
 * @param {number} eps Taken as the decimal number that it shows.
 * @throws {InputError} If the gain is beyond what fixed point holds.
 */
export function makeGain(gain, eps, name) {
  const n = BigInt(gain.length);
  const largest = gain.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  let exponent = 0;
  if (largest > 0) {
    exponent = Math.floor(Math.log2(largest)) + 1;
    while (2 ** exponent <= largest) exponent++; // the logarithm may be off by one
    while (2 ** (exponent - 1) > largest) exponent--;
  }
  const root = isqrt(n << 40n);
  const products = Array.from(gain, (x) => BigInt(Math.floor(x * 2 ** (30 - exponent) + 0.5)) * root);
  const most = products.reduce((a, x) => (x < 0n ? (-x > a ? -x : a) : x > a ? x : a), 0n);
  const drop = Math.max(bitLength(most) - 30, 0);
  const factor = Int32Array.from(products, (x) => Number(roundShift(x, BigInt(drop))));
  const whole = exponent + drop - 20;
  if (whole < -20 || whole > 30) {
    throw new InputError(`tensor ${name}: the largest gain times sqrt(n) is 2^${whole}, too large for fixed point`);
  }
  const epsilon = Rational.shown(eps)
    .times(new Rational(n << 40n))
    .round();
  return { factor, exponent: whole, epsilon };
}

/** A bias with so many fraction bits. */
export function makeBias(values, fraction, name) {
  return BigInt64Array.from(values, (x) => {
    if (Math.abs(x) >= 1 << 14)
      throw new InputError(`tensor ${name}: values of 16,384 and more do not fit fixed point`);
    return BigInt(Math.floor(x * 2 ** fraction + 0.5));
  });
}

/** 1 / sqrt(x) to 60 bits, for an integer x. */
export function inverseRoot(x) {
  return new Rational(1n << 60n, isqrt(BigInt(x) << 120n));
}

/** The score factor for queries of 12 bits, in base 2, as a mantissa and an exponent (section 7). */
export function scoreScale(factor) {
  const exact = factor.times(new Rational(LOG2E, 1n << 30n)).over(new Rational(2047n));
  const at = (exponent) => exact.times(new Rational(1n << BigInt(exponent)));
  let exponent = 30;
  while (at(exponent).floor() < 1n << 30n) exponent++;
  while (at(exponent).floor() >= 1n << 31n) exponent--;
  const mantissa = at(exponent).round();
  return { mantissa: mantissa > (1n << 31n) - 1n ? (1n << 31n) - 1n : mantissa, exponent };
}

// ------------------------------------------------------------------ rotary frequencies (section 6)

// Sum of sign^i x^(2i+1) / (2i+1): atanh(x) for sign 1, atan(x) for -1; x in Q160.
function series(x, sign) {
  const square = (x * x) >> PRECISION;
  let power = x;
  let total = 0n;
  for (let n = 1n; power; n += 2n) {
    total += sign > 0 || n % 4n === 1n ? power / n : -(power / n);
    power = (power * square) >> PRECISION;
  }
  return total;
}

const pi = () => 16n * series(UNIT / 5n, -1) - 4n * series(UNIT / 239n, -1);

// The natural logarithm of x >= 1, in Q160.
function ln(x) {
  const whole = BigInt(bitLength(x.floor()) - 1);
  const denominator = x.denominator << whole;
  const mantissa = 2n * series((UNIT * (x.numerator - denominator)) / (x.numerator + denominator), 1);
  return mantissa + whole * 2n * series(UNIT / 3n, 1);
}

// exp(x) for x <= 0, both in Q160.
function exp(x) {
  const halvings = 16;
  x >>= BigInt(halvings);
  let term = UNIT;
  let total = UNIT;
  for (let n = 1n; term !== 0n && term !== -1n; n++) {
    const product = (term * x) >> PRECISION;
    term = product / n - (product % n < 0n ? 1n : 0n); // floors
    total += term;
  }
  for (let i = 0; i < halvings; i++) total = (total * total) >> PRECISION;
  return total;
}

/**
 * Frequencies of a rotary layer as 64-bit fractions of a turn.
 *
 * @param {number} base Taken as the decimal number that it shows.
 * @param {number} width Of the part of a head that is rotated.
 * @param {Float32Array | null} divisors Of the frequencies, where the file lists them.
 * @param {Rational} factor By which all are divided (linear scaling).
 * @returns {BigUint64Array} (width / 2)
 */
export function rotation(base, width, divisors = null, factor = new Rational(1n)) {
  const logarithm = ln(Rational.shown(base));
  const twoPi = new Rational(2n * pi(), UNIT);
  return BigUint64Array.from({ length: width / 2 }, (_, i) => {
    const product = logarithm * 2n * BigInt(i);
    let frequency = new Rational(exp(-(product / BigInt(width))), UNIT).over(factor);
    if (divisors) frequency = frequency.over(Rational.exact(divisors[i]));
    return BigInt.asUintN(
      64,
      frequency
        .over(twoPi)
        .times(new Rational(1n << 64n))
        .round(),
    );
  });
}

// ------------------------------------------------------------------ draws (section 10)

/** A decimal as text in millionths. */
export function millionths(text) {
  return Rational.decimal(text).times(new Rational(MILLION)).floor();
}

/** Sampling parameters, decimals as text, as `draw` takes them: slope, top_k, top_p, min_p, typical_p. */
export function makeSampling({ temperature, top_k, top_p, min_p, typical_p }) {
  const heat = Rational.decimal(temperature);
  const slope = heat.numerator === 0n ? 0n : new Rational(LOG2E).over(heat).round();
  return [slope, BigInt(top_k), millionths(top_p), millionths(min_p), millionths(typical_p)];
}

/** The 64-bit key of a branch: of the seed's text, then of each part its UTF-8 length and itself. */
export function branchKey(sha256, seed, branch) {
  const encoder = new TextEncoder();
  const parts = branch.map((part) => `${encoder.encode(String(part)).length}:${part}`);
  const digest = sha256(encoder.encode([String(seed), ...parts].join("|")));
  return new DataView(digest.buffer, digest.byteOffset).getBigUint64(0, true);
}

/** The default name of a prompt's draws: the first 16 digits of the digest over its tokens as int32. */
export function promptName(sha256, hex, tokens) {
  return hex(sha256(Int32Array.from(tokens))).slice(0, 16);
}
