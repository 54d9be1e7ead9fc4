"use strict";
// Numbers to draw, in floating point: roots, boundary locus, stability region, powers, and a perturbation's way. No
// verdict rests on them.
(function (stabzoo) {
  const { ratio, squareFree, toNumber } = stabzoo.exact;

  const complex = (re, im = 0) => ({ re, im });
  const plus = (a, b) => complex(a.re + b.re, a.im + b.im);
  const minus = (a, b) => complex(a.re - b.re, a.im - b.im);
  const times = (a, b) => complex(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re);
  const modulus = (a) => Math.hypot(a.re, a.im);

  function over(a, b) {
    const size = b.re * b.re + b.im * b.im;
    return complex((a.re * b.re + a.im * b.im) / size, (a.im * b.re - a.re * b.im) / size);
  }

  const horner = (coefficients, z) => coefficients.reduceRight((total, c) => plus(times(total, z), complex(c)), complex(0));

  // The roots of an integer polynomial with their exact multiplicities, largest modulus first.
  function roots(polynomial) {
    const found = squareFree(polynomial).flatMap(({ factor, multiplicity }) => {
      const lead = factor[factor.length - 1];
      const monic = factor.map((c) => toNumber(ratio(c, lead)));
      return simpleRoots(monic).map((z) => ({ ...z, multiplicity }));
    });
    return found.sort((a, b) => modulus(b) - modulus(a) || b.im - a.im);
  }

  // Of a monic polynomial without multiple roots: Aberth's simultaneous iteration.
  function simpleRoots(monic) {
    const degree = monic.length - 1;
    if (degree === 1) return [complex(-monic[0])];
    const slope = monic.slice(1).map((c, j) => c * (j + 1));
    const size = Math.max(...monic.slice(0, -1).map((c, j) => Math.abs(c) ** (1 / (degree - j))), 1e-3);
    let z = monic.slice(1).map((_, j) => {
      const angle = (2 * Math.PI * j) / degree + 0.4;
      return complex(size * Math.cos(angle), size * Math.sin(angle));
    });
    for (let round = 0; round < 200; round += 1) {
      let moved = 0;
      z = z.map((place, j) => {
        const value = horner(monic, place);
        if (modulus(value) === 0) return place;
        const newton = over(value, horner(slope, place));
        const others = z.reduce(
          (total, other, i) => (i === j || modulus(minus(place, other)) === 0 ? total : plus(total, over(complex(1), minus(place, other)))),
          complex(0),
        );
        const step = over(newton, minus(complex(1), times(newton, others)));
        if (!Number.isFinite(step.re) || !Number.isFinite(step.im)) return place;
        moved = Math.max(moved, modulus(step) / Math.max(modulus(place), 1e-9));
        return minus(place, step);
      });
      if (moved < 1e-15) break;
    }
    const real = (a) => Math.abs(a.im) < 1e-12 * Math.max(1, modulus(a));
    return z.map((a) => (real(a) ? complex(a.re) : a));
  }

  const numbers = (list) => list.map(toNumber);

  // What is linear of a step, by numbers: rho and sigma, or R = P / Q, lowest power first.
  function linearOf(method) {
    if (method.stabilityFunction) {
      const { numerator, denominator } = method.stabilityFunction;
      return { p: numbers(numerator), q: numbers(denominator) };
    }
    const { rho, sigma } = stabzoo.method;
    return { rho: numbers(rho(method)).reverse(), sigma: numbers(sigma(method)).reverse() };
  }

  // Positive inside the stability region, zero on its boundary, at x + iy.
  function stability(linear, x, y) {
    const z = complex(x, y);
    if (linear.p) {
      const size = modulus(over(horner(linear.p, z), horner(linear.q, z)));
      return 1 - Math.min(size, 10);
    }
    const lead = minus(complex(linear.rho[linear.rho.length - 1]), times(z, complex(linear.sigma[linear.rho.length - 1])));
    if (modulus(lead) < 1e-300) return -1;
    let phi = linear.rho.slice(0, -1).map((r, j) => over(minus(complex(r), times(z, complex(linear.sigma[j]))), lead));
    let smallest = 1;
    while (phi.length) { // monic; Schur and Cohn's recursion
      const k = phi[0];
      const rest = 1 - k.re * k.re - k.im * k.im;
      if (!(rest > 0)) return Math.max(rest, -1) || -1;
      smallest = Math.min(smallest, rest);
      const now = phi;
      phi = now.slice(1).map((a, j) => {
        const turned = now[now.length - 1 - j];
        const reduced = minus(a, times(k, complex(turned.re, -turned.im)));
        return complex(reduced.re / rest, reduced.im / rest);
      });
    }
    return smallest;
  }

  // rho(e^(it)) / sigma(e^(it)); of R it is the boundary of the region, which `stability` shows.
  function locus(linear, count = 721) {
    if (linear.p) return [];
    const size = linear.sigma.reduce((total, c) => total + Math.abs(c), 0);
    return Array.from({ length: count }, (_, j) => {
      const angle = (2 * Math.PI * j) / (count - 1);
      const zeta = complex(Math.cos(angle), Math.sin(angle));
      const below = horner(linear.sigma, zeta);
      return modulus(below) <= 1e-12 * size ? null : over(horner(linear.rho, zeta), below);
    });
  }

  // How far to look: most of the locus, or where R leaves the disc.
  function reach(linear) {
    const sizes = locus(linear, 181).filter(Boolean).map(modulus).sort((a, b) => a - b);
    const typical = sizes.length ? sizes[Math.floor(0.8 * (sizes.length - 1))] : 3.2;
    return Math.min(Math.max(1.25 * typical, 1), 12);
  }

  // ||C^n|| in the maximum norm for n = 0 .. depth, C the companion matrix of alpha.
  function powers(alpha, depth) {
    const weights = numbers(alpha);
    const d = weights.length;
    let rows = weights.map((_, i) => weights.map((__, j) => (i === j ? 1 : 0)));
    const norms = [1];
    for (let n = 1; n <= depth; n += 1) {
      const next = weights.map((_, j) => weights.reduce((total, a, i) => total + a * rows[i][j], 0));
      rows = [next, ...rows.slice(0, d - 1)];
      norms.push(Math.max(...rows.map((row) => row.reduce((total, c) => total + Math.abs(c), 0))));
    }
    return norms;
  }

  // How a perturbation 1 of one state goes on: y_(n+1) = sum alpha_j y_(n-j) + z sum beta_j y_(n-j), f(y) = z y.
  function impulse(method, z, depth) {
    const beta = numbers(method.beta);
    const scale = 1 - z * toNumber(method.betaNext);
    const weights = numbers(method.alpha).map((a, j) => (a + z * beta[j]) / scale);
    const states = [1];
    for (let n = 0; n < depth; n += 1) {
      states.push(weights.reduce((total, w, j) => total + (n >= j ? w * states[n - j] : 0), 0));
    }
    return states;
  }

  stabzoo.drawing = { impulse, linearOf, locus, modulus, powers, reach, roots, stability };
})((globalThis.stabzoo ??= {}));
