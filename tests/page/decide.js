// Run by node: the page's own scripts decide what stands on standard input, and say so as JSON.
"use strict";
const { readFileSync } = require("node:fs");

for (const path of process.argv.slice(2)) require(path);
const { exact, intervals, rootCondition, method: methods } = globalThis.stabzoo;
const given = JSON.parse(readFileSync(0, "utf8"));
const text = (value) => (value === null || typeof value === "number" ? value : exact.text(value));

function decided({ alpha, secondOrder }) {
  const numbers = alpha.map(exact.parse);
  const { status, isZeroStable, proof } = rootCondition.verdict(numbers, { secondOrder });
  return { status, isZeroStable, proof, verified: rootCondition.verified(numbers, proof) };
}

function evaluated({ variant, value }) {
  try {
    const method = methods.at(variant, exact.parse(value));
    return {
      alpha: method.alpha.map(text), beta: method.beta.map(text), beta_next: text(method.betaNext),
      order: methods.order(method), error_constant: text(methods.errorConstant(method)), formula: methods.asText(method),
    };
  } catch (error) {
    return { refused: error.message };
  }
}

// Of a stability interval, and the milliseconds that it took.
function measured({ alpha, beta, beta_next: betaNext }) {
  const method = methods.create("linear multistep", alpha.map(exact.parse), beta.map(exact.parse), exact.parse(betaNext));
  const start = performance.now();
  const found = [intervals.realInterval(method), intervals.imaginaryInterval(method)].map((length) =>
    Object.fromEntries(Object.entries(length).map(([key, value]) => [key, key === "kind" ? value : exact.text(value)])));
  return { real: found[0], imaginary: found[1], milliseconds: performance.now() - start };
}

function parsed(number) {
  try {
    return text(exact.parse(number));
  } catch {
    return "refused";
  }
}

process.stdout.write(JSON.stringify({
  verdicts: (given.verdicts ?? []).map(decided),
  methods: (given.methods ?? []).map(evaluated),
  intervals: (given.intervals ?? []).map(measured),
  numbers: (given.numbers ?? []).map(parsed),
  checks: (given.checks ?? []).map(({ alpha, proof }) => rootCondition.verified(alpha.map(exact.parse), proof)),
}));
