"use strict";
// The real and the imaginary stability interval, decided in integer arithmetic: those of stabzoo.stability.intervals.
//
// Without a common factor of rho and sigma, a root zeta of rho - z sigma is on the unit circle at a real z only where
// rho / sigma has the same value at zeta and 1 / zeta, and at an imaginary z where it has the opposite one. Such zeta are
// the roots of a polynomial, and the values t = -z, or -z^2, that belong to them those of a resultant. Between two of
// these values one verdict decides: on rho + t sigma, or on rho^2 + t sigma^2, which has the roots of both signs of z.
// At one with good neighbours it fails only where a root meets a root of the common factor on the circle.
(function (stabzoo) {
  const { ZERO, abs, cleared, commonDivisor, derivative, multiply, parse, primitive, product, quotient, ratio, text, toNumber, trimmed } = stabzoo.exact;
  const { interpolated, positiveRoots, refined, resultant, signAt } = stabzoo.realRoots;
  const { certified } = stabzoo.rootCondition;
  const MOST_WORK = 20000; // bits of all coefficients times the steps squared: of more, a slider would wait

  const EMPTY = { kind: "empty" };
  const INFINITE = { kind: "infinite" };
  const TOO_LONG = { kind: "not decided here, for these coefficients are too long: stabzoo analyze decides it" };

  const last = (list) => list[list.length - 1];
  const turned = (p) => [...p].reverse();
  const minus = (p, q) => p.map((c, j) => c - q[j]);

  // The largest L such that the root condition holds for every z with -L < z < 0.
  const realInterval = (method) => length(method, -1n, ([rho, sigma]) => ({ constant: rho, slope: sigma }));

  // The largest I such that it holds for every z = iy with 0 < |y| < I.
  const imaginaryInterval = (method) => squareRoot(length(method, 1n, ([rho, sigma]) => (
    { constant: product(rho, rho), slope: product(sigma, sigma) })));

  function length(method, sign, pencilOf) {
    const { rho, sigma } = stabzoo.method;
    const both = cleared([...turned(rho(method)), ...turned(sigma(method))]);
    const bits = both.reduce((total, c) => total + abs(c).toString(2).length, 0);
    if (bits * method.alpha.length ** 2 > MOST_WORK) return TOO_LONG;
    const [states, slopes] = [both.slice(0, both.length / 2), both.slice(both.length / 2)];
    if (!holds(withoutMultiples(states))) return EMPTY; // a root outside stays there for small z
    if (slopes.every((c) => c === 0n)) return holds(states) ? INFINITE : EMPTY;
    const common = commonDivisor(states, slopes);
    const reduced = [states, slopes].map((p) => exactQuotient(p, common));
    const pencil = pencilOf(reduced);
    const failing = valuesAt(onCircle(common, reduced), pencil);
    const crossing = valuesAt(crossings(reduced, sign), pencil);
    const critical = quotient(product(crossing, failing), commonDivisor(crossing, failing));
    return firstFailure(critical, failing, (t) => holds(product(common, at(pencil, t))));
  }

  // p / q of which the primitive q divides p; leading zeros of p stay, so that rho and sigma keep one length.
  function exactQuotient(p, q) {
    const rest = [...p];
    const found = Array(p.length - q.length + 1).fill(0n);
    for (let shift = found.length - 1; shift >= 0; shift -= 1) {
      found[shift] = last(rest.slice(0, shift + q.length)) / last(q);
      q.forEach((c, j) => { rest[shift + j] -= found[shift] * c; });
    }
    return found;
  }

  // constant + t slope, times the denominator of t.
  const at = ({ constant, slope }, t) => constant.map((c, j) => t.d * c + t.n * slope[j]);

  // A root is infinite where the leading coefficient vanishes.
  const holds = (polynomial) => last(polynomial) !== 0n && certified(primitive(polynomial)).is_zero_stable;

  // Where a root can come to the circle; where it is on it for every t it can leave it only at a multiple one.
  function crossings([rho, sigma], sign) {
    if (rho.length === 1) return [1n];
    const [ahead, back] = [product(rho, turned(sigma)), product(turned(rho), sigma)];
    const found = primitive(ahead.map((c, j) => c + sign * back[j]));
    return found.length ? found : primitive(minus(product(derivative(rho), sigma), product(rho, derivative(sigma))));
  }

  // The part of the common factor on the circle, if none of it is outside. If rho / sigma is a number, every zeta is a
  // root at that one z: any will do.
  const onCircle = (common, [rho]) => (rho.length === 1 ? [0n, 1n] : commonDivisor(common, turned(common)));

  // The t != 0 at which a root of a polynomial is one of constant + t slope, as the roots of another: the product of
  // constant + t slope over its roots, which is a polynomial in t.
  function valuesAt(polynomial, pencil) {
    if (polynomial.length <= 1) return [1n];
    const zetas = withoutMultiples(polynomial);
    const degree = pencil.constant.length - 1;
    const samples = zetas.map((_, t) => {
      const there = trimmed(at(pencil, ratio(BigInt(t))));
      if (!there.length) return ZERO;
      return multiply(ratio(last(zetas) ** BigInt(degree - there.length + 1)), resultant(zetas, there));
    });
    const found = withoutMultiples(interpolated(samples));
    return found[0] === 0n ? found.slice(1) : found;
  }

  const withoutMultiples = (p) => quotient(p, commonDivisor(p, derivative(p)));

  function firstFailure(critical, failing, holdsAt) {
    let before = null;
    const ended = () => (before ? measured(refined(critical, before)) : EMPTY);
    for (const pair of positiveRoots(critical)) {
      if (!holdsAt(pair[0])) return ended();
      before = pair;
      if (signAt(failing, pair[0]) !== signAt(failing, pair[1])) return ended();
    }
    return holdsAt(before ? before[1] : ratio(1n)) ? INFINITE : ended();
  }

  const measured = (root) => (root.value ? { kind: "exact", value: root.value } : { kind: "enclosed", ...root });

  function squareRoot(square) {
    if (square.kind === "exact") {
      const [n, d] = [wholeRoot(square.value.n), wholeRoot(square.value.d)];
      if (n * n === square.value.n && d * d === square.value.d) return { kind: "exact", value: ratio(n, d) };
    } else if (square.kind !== "enclosed") {
      return square;
    }
    const [low, high] = square.kind === "exact" ? [square.value, square.value] : [square.lower, square.upper];
    const bits = BigInt(128 + 2 * low.d.toString(2).length);
    const scaled = ({ n, d }) => wholeRoot((n << (2n * bits)) / d);
    return { kind: "enclosed", lower: ratio(scaled(low), 1n << bits), upper: ratio(scaled(high) + 1n, 1n << bits) };
  }

  // As Python writes it down (stabzoo.stability.enclosure.real_to_json).
  function read(json) {
    if (json === "infinity") return INFINITE;
    if (typeof json === "object") return { kind: "enclosed", lower: parse(json.lower), upper: parse(json.upper) };
    if (!/^[0-9/]+$/.test(json)) return { kind: json };
    return json === "0" ? EMPTY : { kind: "exact", value: parse(json) };
  }

  // "(-1, 0), exact": the interval of which the length is given, and how well its ends are known.
  function asText(length, around) {
    const decimal = (value) => String(Number(toNumber(value).toPrecision(12)));
    if (length.kind === "infinite") return around("∞");
    if (length.kind === "exact") {
      const shown = text(length.value);
      return shown.length <= 40 ? `${around(shown)}, exact` : `${around(`~${decimal(length.value)}`)}, exact in ${shown.length} characters`;
    }
    if (length.kind !== "enclosed") return length.kind;
    const [low, high] = [decimal(length.lower), decimal(length.upper)];
    return low === high ? `${around(low)}, certified to 12 digits` : `${around("L")} with L between ${low} and ${high}`;
  }

  const FORMS = {
    real: ["real interval", (end) => `(−${end}, 0)`],
    imaginary: ["imaginary interval", (end) => (end === "1" ? "(−i, i)" : `(−${end} i, ${end} i)`)],
    oscillator: ["bounded on y″ = −ω²y for", (end) => `|hω| < ${end}`],
  };

  // Rows of labels and texts; of a method, or of what Python has decided.
  const rows = (lengths) => Object.entries(lengths).map(([kind, length]) => [FORMS[kind][0], asText(length, FORMS[kind][1])]);
  const rowsOf = (method) => rows({ real: realInterval(method), imaginary: imaginaryInterval(method) });
  const rowsRead = (json) => rows(Object.fromEntries(Object.entries(json).map(([kind, length]) => [kind, read(length)])));

  // The largest whole number of which the square is no larger: Newton's iteration, from above.
  function wholeRoot(n) {
    if (n < 2n) return n;
    let root = 1n << BigInt((n.toString(2).length >> 1) + 1);
    for (;;) {
      const next = (root + n / root) >> 1n;
      if (next >= root) return root;
      root = next;
    }
  }

  stabzoo.intervals = { imaginaryInterval, realInterval, rowsOf, rowsRead };
})((globalThis.stabzoo ??= {}));
