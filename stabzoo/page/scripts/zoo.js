"use strict";
// The zoo: a table of schemes and models to search, filter and sort, and the proof of each scheme, checked again here.
(function (stabzoo) {
  const { parse } = stabzoo.exact;
  const { badge, create, data, typeset } = stabzoo.elements;
  const { charts, drawing } = stabzoo;
  const { rowsRead } = stabzoo.intervals;
  const { integerRho, verified } = stabzoo.rootCondition;

  const { rows } = data();
  const at = (id) => document.getElementById(id);
  const COSTS = [
    { key: "parameters", title: "parameters (M)", text: (value) => value.toFixed(3) },
    { key: "macs", title: "multiplications (G)", text: (value) => String(Number(value.toPrecision(4))) },
    { key: "speed", title: "speed, times PreResNet's", text: (value) => value.toFixed(2) },
  ].filter(({ key }) => rows.some((row) => row.cost?.[key] !== undefined));
  const costText = ({ key, text }, row) => (row.cost?.[key] === undefined ? "" : text(row.cost[key]));
  const COLUMNS = [
    { title: "name", value: (row) => row.name },
    { title: "is a", value: (row) => row.what },
    { title: "zero stability", value: (row) => row.status },
    { title: "order", value: (row) => row.order ?? "" },
    { title: "parasitic radius", value: (row) => row.radius },
    { title: "kind", value: (row) => row.kind ?? "" },
    { title: "of", value: (row) => (row.what === "model" ? row.scheme : row.family) },
    { title: "plugin", value: (row) => row.plugin },
    ...COSTS.map((cost) => ({ title: cost.title, value: (row) => row.cost?.[cost.key], text: (row) => costText(cost, row) })),
  ];
  const state = { search: "", what: "", status: "", sort: null, down: false };

  function read() {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const key of ["search", "what", "status"]) {
      state[key] = given.get(key) ?? "";
      at(key).value = state[key];
    }
    const sort = COLUMNS.findIndex(({ title }) => title === given.get("sort"));
    state.sort = sort >= 0 ? sort : null;
    state.down = given.get("down") === "yes";
    const row = rows.find(({ name, what }) => what === "scheme" && name === given.get("show"));
    if (row) details(row);
  }

  function write() {
    const kept = Object.entries({ search: state.search, what: state.what, status: state.status, sort: COLUMNS[state.sort]?.title ?? "", down: state.down ? "yes" : "" });
    history.replaceState(null, "", `#${new URLSearchParams(kept.filter(([, value]) => value))}`);
  }

  const compare = (a, b) => (typeof a === "number" ? a - b || 0 : String(a).localeCompare(String(b), "en", { numeric: true }));

  function chosen() {
    const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter((row) => {
      const text = [row.name, row.kind, row.scheme, row.family, row.plugin, row.distribution, row.reference].join(" ").toLowerCase();
      return (!state.what || row.what === state.what) && (!state.status || row.status === state.status) && words.every((word) => text.includes(word));
    });
    if (state.sort === null) return found;
    const { value } = COLUMNS[state.sort];
    const sign = state.down ? -1 : 1;
    const isMissing = (row) => value(row) === undefined; // last, whichever way
    return found.sort((a, b) => isMissing(a) - isMissing(b) || sign * compare(value(a), value(b)));
  }

  const radius = (row) => (row.radius === undefined ? "" : String(Number(row.radius.toPrecision(5))));

  function show() {
    const found = chosen();
    at("count").textContent = `${found.length} of ${rows.length}`;
    at("head").replaceChildren(create("tr", {}, ...COLUMNS.map(({ title }, i) => {
      const sorted = state.sort === i;
      const button = create("button", { type: "button", onclick: () => sortBy(i) }, title, sorted ? (state.down ? " ▼" : " ▲") : "");
      return create("th", { scope: "col", "aria-sort": sorted ? (state.down ? "descending" : "ascending") : "none" }, button);
    })));
    at("rows").replaceChildren(...found.map((row) => create("tr", {},
      create("th", { scope: "row" }, create("button", { type: "button", class: "name", onclick: () => details(row) }, row.name)),
      create("td", {}, row.what), create("td", {}, badge(row.status)), create("td", {}, row.order ?? ""), create("td", {}, radius(row)),
      ...COLUMNS.slice(5).map(({ value, text }) => create("td", {}, (text ?? value)(row))))));
  }

  function sortBy(i) {
    state.down = state.sort === i && !state.down;
    state.sort = i;
    update();
    at("head").querySelectorAll("button")[i].focus();
  }

  function update() {
    write();
    show();
  }

  // --- one scheme or model ------------------------------------------------------------------------------------------

  function details(row) {
    const list = (texts) => (texts?.length ? create("ul", {}, ...texts.map((text) => create("li", {}, text))) : null);
    const pairs = (object) => Object.entries(object ?? {}).map(([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`);
    const method = row.method && numbersOf(row.method);
    const facts = [
      ["zero stability", create("span", {}, badge(row.status), ` ${row.reason ?? ""}`)],
      ["step", method && !method.isOwn ? typeset(method) : row.formula && create("code", {}, row.formula)],
      ["order", row.order],
      ["parasitic radius", radius(row)],
      ...(row.intervals ? rowsRead(row.intervals) : []),
      ["A-stable", row.aStable],
      ["effective depth", row.effectiveDepth],
      ["zero-stable exactly when", row.condition],
      ["trained", row.learnable ? "every block trains its coefficients; the card is about those at the start" : null],
      ["scheme", row.scheme && create("a", { href: `#show=${encodeURIComponent(row.scheme)}`, onclick: () => open(row.scheme) }, row.scheme)],
      ["network", row.network],
      ["depth", row.depth && String(row.depth)],
      ...COSTS.map((cost) => [cost.title, costText(cost, row)]),
      ["settings", list(pairs(row.settings))],
      ["certified", list(pairs(row.certified))],
      ["reference", row.reference],
      ["corrections to the literature", list(row.corrections)],
      ["claims that are not so", list(row.falseClaims)],
      ["owner", `${row.plugin} (${row.distribution})`],
      ["broken", row.error],
    ].filter(([, value]) => value !== null && value !== undefined && value !== "");
    at("details").replaceChildren(
      create("form", { method: "dialog" }, create("button", { autofocus: true, "aria-label": "close" }, "Close")),
      create("h2", { id: "details-title" }, row.name),
      create("dl", {}, ...facts.flatMap(([name, value]) => [create("dt", {}, name), create("dd", {}, value)])),
      ...(method ? [create("div", { class: "charts", id: "drawn" })] : []),
      ...(row.what === "scheme" ? [proof(row)] : []));
    if (!at("details").open) at("details").showModal();
    at("details").scrollTop = 0;
    if (method) draw(method);
  }

  const numbersOf = ({ alpha, beta, betaNext, stabilityFunction: f, ...rest }) => ({
    ...rest, alpha: alpha.map(parse), beta: beta.map(parse), betaNext: parse(betaNext),
    stabilityFunction: f && { numerator: f.numerator.map(parse), denominator: f.denominator.map(parse) },
  });

  // Roots, and the stability region where the coefficients, or R, decide it.
  function draw(method) {
    const figure = (id, caption) => create("figure", {}, create("figcaption", {}, caption), create("div", { id }));
    const hasRegion = !method.isOwn || method.stabilityFunction;
    at("drawn").replaceChildren(figure("roots", "Roots of ρ and the unit circle"),
      ...(hasRegion ? [figure("region", "Stability region (shaded) and boundary locus")] : []));
    charts.rootsChart(at("roots"), drawing.roots(integerRho(method.alpha)));
    if (hasRegion) charts.regionChart(at("region"), method);
  }

  function open(name) {
    const row = rows.find((each) => each.what === "scheme" && each.name === name);
    if (row) details(row);
  }

  function proof(row) {
    if (!row.certificate) return create("p", { class: "soft" }, "This page cannot check a certificate of such a method; stabzoo check does.");
    const result = create("p", { role: "status", id: "checked" });
    const check = () => {
      const holds = verified(row.method.alpha.map(parse), row.certificate);
      result.textContent = holds
        ? "✓ Verified here: rho was rebuilt from the certificate, in integer arithmetic."
        : "✕ The certificate does not prove this.";
    };
    return create("section", {},
      create("h2", {}, "Certificate"),
      create("pre", {}, JSON.stringify({ alpha: row.method.alpha, ...row.certificate }, null, 1)),
      create("button", { type: "button", id: "check", onclick: check }, "Check it yourself"), " ",
      create("a", { href: `index.html#scheme=${encodeURIComponent(row.name)}` }, "Open in the explorer"), result);
  }

  for (const key of ["search", "what", "status"]) {
    at(key).addEventListener("input", (event) => { state[key] = event.target.value; update(); });
  }
  addEventListener("hashchange", () => { read(); show(); });
  read();
  show();
})((globalThis.stabzoo ??= {}));
