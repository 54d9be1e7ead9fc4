"use strict";
// Positive roots of integer polynomials, isolated by Sturm's theorem and refined by bisection, and resultants. Signs
// are those of whole numbers: nothing is rounded.
(function (stabzoo) {
  const { ONE, ZERO, abs, add, cleared, derivative, divide, gcd, multiply, primitive, pseudoDivided, ratio, subtract } = stabzoo.exact;
  const RATIONAL_BITS = 256n; // a rational root of a longer denominator is enclosed
  const CERTAIN_BITS = 60n;

  const last = (list) => list[list.length - 1];
  const isBelow = (a, b) => a.n * b.d < b.n * a.d;
  const between = (a, b, weight = 2n) => ratio((weight - 1n) * a.n * b.d + b.n * a.d, weight * a.d * b.d);

  function signAt(polynomial, x) {
    let [total, power] = [0n, 1n];
    for (let j = polynomial.length - 1; j >= 0; j -= 1) {
      total = total * x.n + polynomial[j] * power;
      power *= x.d;
    }
    return total > 0n ? 1 : total < 0n ? -1 : 0;
  }

  // lead(p)^deg(q) times the product of q over the roots of p, by Euclid's algorithm.
  function resultant(p, q) {
    const [m, n] = [p.length - 1, q.length - 1];
    if (n === 0) return ratio(q[0] ** BigInt(m));
    if (m < n) return multiply(ratio(m % 2 && n % 2 ? -1n : 1n), resultant(q, p));
    const { rest, power } = pseudoDivided(p, q);
    if (!rest.length) return ZERO;
    const kept = primitive(rest);
    const content = (last(rest) / last(kept)) ** BigInt(n);
    const excess = m - (rest.length - 1) - power * n;
    const lead = last(q) ** BigInt(Math.abs(excess));
    const scale = excess < 0 ? ratio(content, lead) : ratio(content * lead);
    return multiply(multiply(scale, ratio(m % 2 && n % 2 ? -1n : 1n)), resultant(q, kept));
  }

  // The polynomial with these values at 0, 1, 2, ..., without its denominator: Newton's differences.
  function interpolated(values) {
    let differences = values;
    let basis = [ONE];
    let found = values.map(() => ZERO);
    for (let k = 0; k < values.length; k += 1) {
      found = found.map((c, j) => (j < basis.length ? add(c, multiply(differences[0], basis[j])) : c));
      differences = differences.slice(1).map((value, j) => subtract(value, differences[j]));
      const shifted = [ZERO, ...basis];
      const scale = ratio(1n, BigInt(k + 1));
      basis = shifted.map((c, j) => multiply(scale, subtract(c, multiply(ratio(BigInt(k)), basis[j] ?? ZERO))));
    }
    return primitive(cleared(found));
  }

  function sturmChain(polynomial) {
    const chain = [polynomial, derivative(polynomial)];
    while (last(chain).length > 1) {
      const [p, q] = chain.slice(-2);
      const { rest, power } = pseudoDivided(p, q);
      if (!rest.length) break;
      const sign = last(q) < 0n && power % 2 ? 1n : -1n;
      const content = rest.reduce(gcd, 0n);
      chain.push(rest.map((c) => (sign * c) / content));
    }
    return chain;
  }

  function signChanges(chain, x) {
    const signs = chain.map((p) => signAt(p, x)).filter(Boolean);
    return signs.filter((sign, i) => i && sign !== signs[i - 1]).length;
  }

  // Ascending pairs of positive numbers with one root between them each, of a polynomial without multiple roots.
  function* positiveRoots(polynomial) {
    if (polynomial.length <= 1) return;
    const chain = sturmChain(polynomial);
    const changes = (x) => signChanges(chain, x);
    const largest = polynomial.map(abs).reduce((a, b) => (a > b ? a : b));
    const high = ratio(2n ** BigInt((largest / abs(last(polynomial)) + 2n).toString(2).length));
    const open = [[ZERO, high, changes(ZERO), changes(high)]];
    while (open.length) {
      const [low, up, before, after] = open.pop();
      if (before === after) continue;
      if (before - after === 1 && low.n > 0n) {
        yield [low, up];
        continue;
      }
      const middle = inside(polynomial, low, up);
      const there = changes(middle);
      open.push([middle, up, there, after], [low, middle, before, there]);
    }
  }

  // A number between two, about halfway, that is no root.
  function inside(polynomial, low, up) {
    for (let weight = 2n; ; weight += 1n) {
      const middle = between(low, up, weight);
      if (signAt(polynomial, middle)) return middle;
    }
  }

  // The root between two positive numbers: {value} where it is rational, else {lower, upper}, to 60 bits at least.
  function refined(polynomial, [low, up]) {
    const side = signAt(polynomial, low);
    const lead = abs(last(polynomial));
    let [lower, upper] = [low, up];
    for (let bits = 16n; ; bits *= 2n) {
      while ((upper.n * lower.d - lower.n * upper.d) << bits > lower.n * upper.d) {
        const middle = between(lower, upper);
        const sign = signAt(polynomial, middle);
        if (sign === 0) return { value: middle };
        if (sign === side) lower = middle;
        else upper = middle;
      }
      const guess = simplest(lower, upper);
      if (signAt(polynomial, guess) === 0) return { value: guess };
      const width = subtract(upper, lower); // below 1 / lead^2 no other rational root would fit in
      const isIrrational = width.n * lead * lead < width.d;
      if (bits >= CERTAIN_BITS && (isIrrational || bits >= 2n * RATIONAL_BITS)) return { lower, upper };
    }
  }

  // The fraction with the smallest denominator strictly between two numbers that are not negative.
  function simplest(low, up) {
    const floor = ratio(low.n / low.d);
    const next = add(floor, ONE);
    if (isBelow(next, up)) return next;
    const [fromLow, fromUp] = [subtract(low, floor), subtract(up, floor)];
    if (fromLow.n === 0n) return add(floor, ratio(1n, fromUp.d / fromUp.n + 1n));
    return add(floor, divide(ONE, simplest(divide(ONE, fromUp), divide(ONE, fromLow))));
  }

  stabzoo.realRoots = { interpolated, positiveRoots, refined, resultant, signAt };
})((globalThis.stabzoo ??= {}));
