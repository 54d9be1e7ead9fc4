"use strict";
// The root condition, decided in integer arithmetic, with a certificate and its check: Miller's reduction and the
// Levinson step, as in stabzoo.stability.root_condition and .certificate. Polynomials: BigInt, lowest power first,
// leading coefficient positive.
(function (stabzoo) {
  const { abs, cleared, commonDivisor, derivative, equal, gcd, lcm, parse, primitive, product, quotient, ratio, text } =
    stabzoo.exact;

  const last = (list) => list[list.length - 1];
  const reversed = (list) => [...list].reverse();

  // z^d - sum_j alpha_j z^(d-1-j), times the common denominator of alpha.
  const integerRho = (alpha) => cleared([...reversed(alpha).map((a) => ({ n: -a.n, d: a.d })), ratio(1n)]);

  const isSelfInversive = (phi) =>
    phi.every((c, j) => c === phi[phi.length - 1 - j]) || phi.every((c, j) => c === -phi[phi.length - 1 - j]);

  // Miller's reduction while |k| < 1: the k = phi(0) / lead(phi), and the polynomial at which it stopped.
  function reduced(start) {
    const levels = [];
    let phi = start;
    while (phi.length > 1) {
      const [constant, lead] = [phi[0], last(phi)];
      if (abs(constant) >= lead) break;
      levels.push(ratio(constant, lead));
      const turned = reversed(phi);
      phi = phi.slice(1).map((c, j) => lead * c - constant * turned[j + 1]);
      const content = phi.reduce(gcd, 0n);
      phi = phi.map((c) => c / content);
    }
    return { levels, phi };
  }

  function certified(polynomial) {
    const { levels, phi } = reduced(polynomial);
    if (phi.length === 1) return certificate("schur", levels, [], [1n]);
    levels.push(ratio(phi[0], last(phi)));
    if (!isSelfInversive(phi)) {
      return certificate(abs(phi[0]) > last(phi) ? "root outside" : "not self-inversive", levels, [], phi);
    }
    const below = reduced(derivative(phi));
    if (below.phi.length === 1) return certificate("simple von neumann", levels, below.levels, [1n]);
    below.levels.push(ratio(below.phi[0], last(below.phi)));
    return certificate("derivative not schur", levels, below.levels, below.phi);
  }

  function certificate(ending, reflection, below, phi) {
    return {
      ending,
      is_zero_stable: ending === "schur" || ending === "simple von neumann",
      reflection: reflection.map(text),
      derivative: below.map(text),
      witness: reversed(phi).map((c) => text(ratio(c, last(phi)))),
    };
  }

  // How many roots are on the unit circle, where the condition holds.
  const unitRoots = (proof) => proof.derivative.length + (proof.ending === "simple von neumann" ? 1 : 0);

  // The polynomial that a certificate is about, up to a factor, rebuilt upward from its witness; null if it proves
  // nothing.
  function polynomialOf(proof, degree) {
    const [levels, below, witness] = [proof.reflection, proof.derivative, proof.witness].map((list) => list.map(parse));
    const { ending } = proof;
    const holds = ending === "schur" || ending === "simple von neumann";
    if (holds !== proof.is_zero_stable || !witness.length || !equal(witness[0], ratio(1n))) return null;
    if (levels.length + below.length > 2 * (degree + 1) || witness.length > degree + 1) return null;
    let phi = cleared(reversed(witness));
    const throughDerivative = ending === "simple von neumann" || ending === "derivative not schur";
    if (holds) {
      if (phi.length !== 1) return null;
    } else {
      const stopped = throughDerivative ? below : levels;
      if (!stopped.length || phi.length === 1 || !equal(stopped.pop(), ratio(phi[0], last(phi)))) return null;
      const [constant, lead] = [abs(phi[0]), last(phi)];
      if (ending === "root outside" ? constant <= lead : false) return null;
      if (ending === "not self-inversive" && (constant !== lead || isSelfInversive(phi))) return null;
      if (ending === "derivative not schur" && constant < lead) return null;
      if (!["root outside", "not self-inversive", "derivative not schur"].includes(ending)) return null;
    }
    if (throughDerivative) {
      phi = rebuilt(phi, below);
      const unit = levels.pop();
      if (phi === null || unit === undefined || unit.d !== 1n || abs(unit.n) !== 1n) return null;
      phi = antiderivative(phi, unit.n);
      if (!isSelfInversive(phi)) return null;
    } else if (below.length) {
      return null;
    }
    return rebuilt(phi, levels);
  }

  function antiderivative(phi, unit) {
    const scale = phi.map((_, j) => BigInt(j + 1)).reduce(lcm, 1n);
    const integral = phi.map((c, j) => c * (scale / BigInt(j + 1)));
    return [unit * last(integral), ...integral];
  }

  function rebuilt(start, levels) {
    let phi = start;
    for (const k of reversed(levels)) {
      if (abs(k.n) >= k.d) return null;
      const turned = [...reversed(phi), 0n];
      phi = [0n, ...phi].map((c, j) => k.d * c + k.n * turned[j]);
      const content = phi.reduce(gcd, 0n);
      phi = phi.map((c) => c / content);
    }
    return phi;
  }

  const areMultiples = (p, q) =>
    p !== null && p.length === q.length && p.every((c, j) => c * last(q) === q[j] * last(p));

  // Whether a certificate proves what it says of these alpha, for y' = f or for y'' = f.
  function verified(alpha, proof) {
    const rho = integerRho(alpha);
    if (!("distinct" in proof)) return areMultiples(polynomialOf(proof, rho.length - 1), rho);
    const [distinct, repeated] = [proof.distinct, proof.repeated].map((part) => polynomialOf(part, rho.length - 1));
    if (distinct === null || repeated === null || !areMultiples(product(distinct, repeated), rho)) return false;
    if (commonDivisor(distinct, derivative(distinct)).length > 1 && !proof.distinct.is_zero_stable) return false;
    if (!proof.distinct.is_zero_stable || proof.repeated.is_zero_stable) return true;
    return areMultiples(primitive(quotientOfAll(repeated, distinct)), [1n]);
  }

  // What is left of p when all roots that it shares with q are divided out.
  function quotientOfAll(p, q) {
    let rest = primitive(p);
    for (let common = commonDivisor(rest, q); common.length > 1; common = commonDivisor(rest, q)) {
      rest = quotient(rest, common);
    }
    return rest;
  }

  // The verdict on zero stability, with its reason and proof; of y'' = f roots on the circle may be double.
  function verdict(alpha, { secondOrder = false } = {}) {
    const rho = integerRho(alpha);
    const distinct = quotient(rho, commonDivisor(rho, derivative(rho)));
    if (secondOrder) {
      const proof = { distinct: certified(distinct), repeated: certified(quotient(rho, distinct)) };
      if (!proof.distinct.is_zero_stable) return unstable("outside", proof);
      if (!proof.repeated.is_zero_stable) return unstable("more than double", proof);
      return {
        status: "second-order stable", isZeroStable: true, proof,
        reason: "no root lies outside the unit circle, and on it they are at most double, as y″ = f allows",
      };
    }
    const proof = certified(rho);
    if (!proof.is_zero_stable) return unstable(certified(distinct).is_zero_stable ? "multiple" : "outside", proof);
    const isPrincipal = rho.reduce((total, c) => total + c, 0n) === 0n;
    const parasitic = unitRoots(proof) - (isPrincipal ? 1 : 0);
    const start = isPrincipal ? "1 is a simple root" : "1 is no root, so constants are not kept (inconsistent)";
    const rest = parasitic
      ? `${parasitic} simple ${parasitic > 1 ? "roots lie" : "root lies"} on the unit circle ${
        isPrincipal ? "beside it" : ""} and ${parasitic > 1 ? "are" : "is"} not damped; none lies outside`
      : `all ${isPrincipal ? "others" : "roots"} lie inside the unit circle`;
    return {
      status: parasitic ? "weak" : "strong", isZeroStable: true, proof, reason: `${start}; ${rest}`.replace("  ", " "),
    };
  }

  function unstable(why, proof) {
    const reason = why === "outside" ? "a root lies outside the unit circle" : `a root on the unit circle is ${why}`;
    return { status: "unstable", isZeroStable: false, proof, reason };
  }

  stabzoo.rootCondition = { certified, integerRho, polynomialOf, unitRoots, verdict, verified };
})((globalThis.stabzoo ??= {}));
