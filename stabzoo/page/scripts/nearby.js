"use strict";
// What papers and the reader's own studies measured of the scheme that is shown, and of those nearest to it.
(function (stabzoo) {
  const { ZERO, parse, subtract, toNumber } = stabzoo.exact;
  const { badge, create } = stabzoo.elements;
  const { verdict } = stabzoo.rootCondition;
  const MOST_SCHEMES = 5;
  const MOST_RESULTS = 3;
  const MOST_FREE = 6;

  // Networks by their coefficients, each scheme once: states that are not looked at are left out.
  function schemesOf(networks) {
    const found = new Map();
    for (const network of networks) {
      const given = shortened(network);
      const key = JSON.stringify(given);
      if (!found.has(key)) found.set(key, { given, method: numbers(given), networks: [] });
      found.get(key).networks.push(network);
    }
    return [...found.values()];
  }

  function shortened({ kind, alpha, beta, betaNext }) {
    const used = alpha.findLastIndex((a, j) => a !== "0" || (beta[j] ?? "0") !== "0");
    return { kind, alpha: alpha.slice(0, Math.max(used + 1, 1)), beta: beta.slice(0, Math.max(used + 1, 1)), betaNext };
  }

  const numbers = ({ kind, alpha, beta, betaNext }) =>
    ({ kind, alpha: alpha.map(parse), beta: beta.map(parse), betaNext: parse(betaNext) });

  // Euclidean, of (alpha, beta, beta next), a shorter scheme embedded by zeros; whether it is 0 is exact.
  function distance(one, other) {
    const length = Math.max(one.alpha.length, other.alpha.length);
    const vector = ({ alpha, beta, betaNext }) =>
      [...[alpha, beta].flatMap((list) => Array.from({ length }, (_, j) => list[j] ?? ZERO)), betaNext];
    const theirs = vector(other);
    const differences = vector(one).map((c, j) => subtract(c, theirs[j]));
    return { isSame: differences.every(({ n }) => n === 0n), size: Math.hypot(...differences.map(toNumber)) };
  }

  // The nearest schemes of the same kind, nearest first.
  function nearest(schemes, method) {
    return schemes.filter((scheme) => scheme.method.kind === method.kind)
      .map((scheme) => ({ ...scheme, ...distance(scheme.method, method) }))
      .sort((a, b) => b.isSame - a.isSame || a.size - b.size).slice(0, MOST_SCHEMES);
  }

  function coefficientsText({ alpha, beta, betaNext }) {
    const used = beta.slice(0, beta.findLastIndex((b) => b !== "0") + 1);
    return `(${alpha.join(", ")} | ${used.join(", ") || "0"}${betaNext === "0" ? "" : `; next ${betaNext}`})`;
  }

  function address({ kind, alpha, beta, betaNext }, kept) {
    if (kind !== "linear multistep" || alpha.length > MOST_FREE) return null;
    const padded = alpha.map((_, j) => beta[j] ?? "0");
    return `#${new URLSearchParams({ scheme: "free", alpha: alpha.join(","), beta: padded.join(","), beta_next: betaNext, ...kept })}`;
  }

  function result({ accuracy, deviation, runs, label, where }, sources) {
    const spread = deviation === null ? "" : ` ± ${deviation.toFixed(2)}`;
    const whose = runs === null ? "published" : `here, ${runs} ${runs === 1 ? "run" : "runs"}`;
    if (!sources.includes(where)) sources.push(where);
    return create("li", {}, create("b", {}, `${accuracy.toFixed(2)}${spread} %`), ` ${whose}: ${label} [${sources.indexOf(where) + 1}]`);
  }

  function results(networks, sources) {
    const list = (some) => create("ul", {}, ...some.map((network) => result(network, sources)));
    const [first, rest] = [networks.slice(0, MOST_RESULTS), networks.slice(MOST_RESULTS)];
    return [list(first), ...(rest.length ? [create("details", {}, create("summary", {}, `${rest.length} more`), list(rest))] : [])];
  }

  function row(scheme, kept, sources) {
    const name = coefficientsText(scheme.given);
    const link = address(scheme.given, kept);
    return create("tr", {},
      create("th", { scope: "row" }, scheme.isSame || !link ? create("span", {}, name) : create("a", { href: link }, name),
        create("small", {}, scheme.isSame ? "the same scheme" : `distance ${scheme.size.toPrecision(3)}`)),
      create("td", {}, badge(verdict(scheme.method.alpha).status)), create("td", {}, ...results(scheme.networks, sources)));
  }

  // The table's rows, and the list of where their numbers are from; `kept` is what the address of a scheme keeps of the
  // present one.
  function near(networks, method, kept) {
    const sources = [];
    const rows = nearest(schemesOf(networks), method).map((scheme) => row(scheme, kept, sources));
    return { rows, sources: sources.map((where) => create("li", {}, where)) };
  }

  stabzoo.nearby = { near };
})((globalThis.stabzoo ??= {}));
