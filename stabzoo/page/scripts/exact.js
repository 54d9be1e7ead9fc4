"use strict";
// Exact rational numbers {n, d} on BigInt, d > 0 and in lowest terms, and polynomials with integer coefficients,
// lowest power first. A number reads and prints as it does in Python (stabzoo.methods.multistep.exact).
(function (stabzoo) {
  const MAX_DIGITS = 1000;
  const LIMIT = 10n ** BigInt(MAX_DIGITS);
  const RATIO = /^([+-]?[0-9]+)(?: *\/ *([0-9]+))?$/;
  const DECIMAL = /^([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?$/;

  const abs = (a) => (a < 0n ? -a : a);

  function gcd(a, b) {
    [a, b] = [abs(a), abs(b)];
    while (b) [a, b] = [b, a % b];
    return a;
  }

  const lcm = (a, b) => (a / gcd(a, b)) * b;

  function ratio(n, d = 1n) {
    if (d === 0n) throw new RangeError("a denominator must not be zero");
    const common = gcd(n, d) * (d < 0n ? -1n : 1n);
    return { n: n / common, d: d / common };
  }

  function parse(input) {
    const text = input.trim().replace("\u2212", "-");
    const shown = text.length > 40 ? `${text.slice(0, 37)}...` : text;
    const tooLong = () => new RangeError(`expected at most ${MAX_DIGITS} decimal digits, got ${shown}`);
    if (text.length > 2 * MAX_DIGITS + 8) throw tooLong();
    let found = null;
    const fraction = RATIO.exec(text);
    if (fraction) {
      found = ratio(BigInt(fraction[1].replace("+", "")), BigInt(fraction[2] ?? 1));
    } else {
      const decimal = DECIMAL.exec(text);
      if (!decimal || !(decimal[2] || decimal[3])) {
        throw new RangeError(`expected a number such as -9/5, 0.75 or 1e-3, got ${shown || "nothing"}`);
      }
      const digits = decimal[2] + (decimal[3] ?? "");
      const exponent = Number(decimal[4] ?? 0) - (decimal[3] ?? "").length;
      if (digits.length + Math.abs(exponent) > MAX_DIGITS) throw tooLong();
      const mantissa = BigInt(digits) * (decimal[1] === "-" ? -1n : 1n);
      const power = 10n ** BigInt(Math.abs(exponent));
      found = exponent >= 0 ? ratio(mantissa * power) : ratio(mantissa, power);
    }
    if (abs(found.n) >= LIMIT || found.d >= LIMIT) throw tooLong();
    return found;
  }

  const ZERO = ratio(0n);
  const ONE = ratio(1n);
  const add = (a, b) => ratio(a.n * b.d + b.n * a.d, a.d * b.d);
  const negative = (a) => ({ n: -a.n, d: a.d });
  const subtract = (a, b) => add(a, negative(b));
  const multiply = (a, b) => ratio(a.n * b.n, a.d * b.d);
  const divide = (a, b) => ratio(a.n * b.d, a.d * b.n);
  const equal = (a, b) => a.n === b.n && a.d === b.d;
  const sum = (terms) => terms.reduce(add, ZERO);
  const text = (a) => (a.d === 1n ? `${a.n}` : `${a.n}/${a.d}`);

  // The nearest number, also of fractions whose parts are beyond its range.
  function toNumber(a) {
    const length = (x) => abs(x).toString(2).length;
    const shift = 64 - (length(a.n) - length(a.d));
    const scaled = shift >= 0 ? (a.n << BigInt(shift)) / a.d : a.n / (a.d << BigInt(-shift));
    return Number(scaled) * 2 ** -shift;
  }

  // Rationals times their common denominator.
  function cleared(rationals) {
    const common = rationals.map((a) => a.d).reduce(lcm, 1n);
    return rationals.map((a) => a.n * (common / a.d));
  }

  const valueAt = (polynomial, x) =>
    polynomial.reduceRight((total, c) => add(multiply(total, x), ratio(c)), ZERO);

  function trimmed(p) {
    let length = p.length;
    while (length && p[length - 1] === 0n) length -= 1;
    return p.slice(0, length);
  }

  // Without common factor, and with a positive leading coefficient.
  function primitive(p) {
    const kept = trimmed(p);
    if (!kept.length) return kept;
    const content = kept.reduce(gcd, 0n) * (kept[kept.length - 1] < 0n ? -1n : 1n);
    return kept.map((c) => c / content);
  }

  const derivative = (p) => p.slice(1).map((c, j) => c * BigInt(j + 1));

  function product(p, q) {
    const found = Array(p.length + q.length - 1).fill(0n);
    p.forEach((a, i) => q.forEach((b, j) => { found[i + j] += a * b; }));
    return found;
  }

  // lead(q)^power p = quotient q + rest, without a denominator.
  function pseudoDivided(p, q) {
    let rest = trimmed(p);
    const lead = q[q.length - 1];
    let quotient = Array(Math.max(rest.length - q.length + 1, 0)).fill(0n);
    let power = 0;
    while (rest.length >= q.length) {
      const shift = rest.length - q.length;
      const top = rest[rest.length - 1];
      quotient = quotient.map((c) => c * lead);
      quotient[shift] += top;
      power += 1;
      rest = trimmed(rest.map((c, j) => c * lead - (j >= shift ? top * q[j - shift] : 0n)));
    }
    return { power, quotient, rest };
  }

  function commonDivisor(p, q) {
    let [a, b] = [primitive(p), primitive(q)];
    while (b.length) [a, b] = [b, primitive(pseudoDivided(a, b).rest)];
    return a;
  }

  // p / q of polynomials of which q divides p, primitive.
  const quotient = (p, q) => primitive(pseudoDivided(p, q).quotient);

  // Factors without multiple roots, each with the multiplicity that its roots have in p.
  function squareFree(p) {
    const chain = [primitive(p)];
    while (chain[chain.length - 1].length > 1) {
      const last = chain[chain.length - 1];
      chain.push(commonDivisor(last, derivative(last)));
    }
    const powersOf = chain.slice(1).map((divisor, i) => quotient(chain[i], divisor)).concat([[1n]]);
    return powersOf
      .slice(0, -1)
      .map((factor, i) => ({ factor: quotient(factor, powersOf[i + 1]), multiplicity: i + 1 }))
      .filter(({ factor }) => factor.length > 1);
  }

  stabzoo.exact = {
    ONE, ZERO, abs, add, cleared, commonDivisor, derivative, divide, equal, gcd, lcm, multiply, negative, parse,
    primitive, product, pseudoDivided, quotient, ratio, squareFree, subtract, sum, text, toNumber, trimmed, valueAt,
  };
})((globalThis.stabzoo ??= {}));
