"use strict";
// A linear multistep method {kind, alpha, beta, betaNext} of exact rationals: from the data of a family, its order,
// error constant and formula, as in stabzoo.methods.
(function (stabzoo) {
  const { ONE, ZERO, abs, add, divide, equal, multiply, negative, ratio, subtract, sum, text, valueAt } = stabzoo.exact;
  const LARGEST = 10n ** 100n;

  const powered = (x, q) => ratio(x.n ** BigInt(q), x.d ** BigInt(q));
  const whole = (j) => ratio(BigInt(j));

  function create(kind, alpha, beta, betaNext = ZERO) {
    for (const c of [...alpha, ...beta, betaNext]) {
      if (c.n !== 0n && (abs(c.n) > LARGEST * c.d || c.d > LARGEST * abs(c.n))) {
        throw new RangeError("expected coefficients of modulus 0 or from 1e-100 to 1e100; choose a moderate value");
      }
    }
    const padded = [...beta, ...Array(alpha.length - beta.length).fill(ZERO)];
    const method = { kind, alpha, beta: padded, betaNext };
    if (kind === "one-leg" && weight(method).n === 0n) {
      throw new RangeError("expected betas that do not sum to 0: the slope of a one-leg method has their sum for weight");
    }
    return method;
  }

  // The method of a family at a value: rho and sigma are polynomials in it over their common denominator.
  function at(variant, value = ZERO) {
    const evaluated = (polynomials) => polynomials.map((p) => valueAt(p.map(BigInt), value));
    const rho = evaluated(variant.rho);
    const scale = rho[rho.length - 1];
    if (scale.n === 0n) throw new RangeError("there is no method at this value: its coefficients divide by zero");
    const alpha = rho.slice(0, -1).reverse().map((c) => negative(divide(c, scale)));
    const sigma = evaluated(variant.sigma).reverse().map((c) => divide(c, scale));
    return create(variant.kind, alpha, sigma.slice(1), sigma[0]);
  }

  const rho = (method) => [ONE, ...method.alpha.map(negative)];
  const sigma = (method) => [method.betaNext, ...method.beta];
  const weight = (method) => sum(sigma(method));

  // C_q = ( sum_j a_j j^q - q sum_j b_j j^(q-1) ) / q!, expanded at the oldest value.
  function truncation(method, q) {
    const a = rho(method).reverse();
    const b = sigma(method).reverse();
    const moments = sum(a.map((c, j) => multiply(c, powered(whole(j), q))));
    const slopes = q ? sum(b.map((c, j) => multiply(c, multiply(whole(q), powered(whole(j), q - 1))))) : ZERO;
    let factorial = 1n;
    for (let j = 2n; j <= BigInt(q); j += 1n) factorial *= j;
    return divide(subtract(moments, slopes), ratio(factorial));
  }

  function multistepOrder(method) {
    let q = 0;
    while (truncation(method, q).n === 0n) q += 1;
    return q ? q - 1 : null;
  }

  // Up to which power of t the mean of a one-leg method's states is that at its mean time.
  function interpolated(method, highest) {
    const moment = (q) =>
      sum(sigma(method).map((b, i) => multiply(divide(b, weight(method)), powered(whole(1 - i), q))));
    let q = 0;
    while (q < highest && equal(moment(q + 1), powered(moment(1), q + 1))) q += 1;
    return q;
  }

  // Largest p with C_0 = ... = C_p = 0; null where not even constants are kept.
  function order(method) {
    const p = multistepOrder(method);
    return p && method.kind === "one-leg" ? Math.min(p, interpolated(method, p) + 1) : p;
  }

  // C_(p+1) / sigma(1); null where there is none.
  function errorConstant(method) {
    const p = order(method);
    if (!p || weight(method).n === 0n) return null;
    if (method.kind === "one-leg" && interpolated(method, multistepOrder(method)) < p) return null;
    return divide(truncation(method, multistepOrder(method) + 1), weight(method));
  }

  // The terms of the step: {weight, symbol, lag}, in which y_{n - lag} or f_{n - lag} is weighted.
  const terms = (symbol, weights, first) =>
    weights.map((c, i) => ({ weight: c, symbol, lag: first + i })).filter(({ weight: c }) => c.n !== 0n);

  const index = (lag) => (lag === 0 ? "n" : lag < 0 ? "n+1" : `n-${lag}`);

  // The right-hand side as signed terms; of a one-leg method its slope is {mean: terms}.
  function formula(method) {
    const past = terms("y", method.alpha, 0);
    if (method.kind !== "one-leg") {
      const symbol = method.kind === "second-order multistep" ? "h² f" : "h f";
      return [...past, ...terms(symbol, sigma(method), -1)];
    }
    const scale = weight(method);
    return [...past, { weight: scale, symbol: "h f", mean: terms("y", sigma(method).map((b) => divide(b, scale)), -1) }];
  }

  // "y[n+1] = 3/2 y[n] - ..." with the terms written by the given functions.
  function written(list, { number, symbol, mean, between }) {
    if (!list.length) return "0";
    return list
      .map((term, i) => {
        const size = { n: abs(term.weight.n), d: term.weight.d };
        const sign = term.weight.n < 0n ? (i ? " - " : "-") : i ? " + " : "";
        const factor = equal(size, ONE) ? "" : `${number(size)}${between}`;
        return sign + factor + (term.mean ? mean(term) : symbol(term.symbol, index(term.lag)));
      })
      .join("");
  }

  function asText(method) {
    const style = {
      between: " ", number: text, symbol: (name, lag) => `${name.replace("²", "^2")}[${lag}]`,
      mean: (term) => `h f(${written(term.mean, style)})`,
    };
    return `y[n+1] = ${written(formula(method), style)}`;
  }

  function asLatex(method) {
    const style = {
      between: "\\, ", number: (c) => (c.d === 1n ? `${c.n}` : `\\tfrac{${c.n}}{${c.d}}`),
      symbol: (name, lag) => `${name.replace("²", "^2").replace(" ", "\\, ")}_{${lag}}`,
      mean: (term) => `h\\, f\\left(${written(term.mean, style)}\\right)`,
    };
    return `y_{n+1} = ${written(formula(method), style)}`;
  }

  stabzoo.method = { asLatex, asText, at, create, errorConstant, formula, index, order, rho, sigma };
})((globalThis.stabzoo ??= {}));
