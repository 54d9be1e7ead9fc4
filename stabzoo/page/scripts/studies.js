"use strict";
// Studies: a leaderboard, any measured quantity against any proved one with the runs as points, curves, and what is
// published beside what was measured. All text comes in by textContent.
(function (stabzoo) {
  const d3 = globalThis.d3;
  const { HEIGHT, MARGIN, WIDTH, axes, frame } = stabzoo.charts;
  const { badge, create, data } = stabzoo.elements;

  const { studies, hidden } = data();
  const at = (id) => document.getElementById(id);
  const CHOSEN = ["study", "across", "up", "curve", "network"];
  const KINDS = { strong: "good", weak: "good", "second-order stable": "good", unstable: "bad" };
  const SHAPES = { good: d3.symbolCircle, bad: d3.symbolTriangle, open: d3.symbolSquare };
  const state = { study: "", across: "", up: "", curve: "", network: "", sort: "", down: true };
  let study = null;

  const kind = (network) => KINDS[network.status] ?? "open";
  const key = (each) => `${each.name}@${each.scale} ${each.store}`;
  const mean = (values) => d3.mean(values);
  const valuesOf = (network, name) => network.runs.map((run) => run.values[name]).filter((value) => value !== null && value !== undefined);

  function digits(values) {
    const largest = d3.max(values, Math.abs) ?? 0;
    return largest ? Math.max(0, Math.min(12, 2 - Math.floor(Math.log10(largest)))) : 1;
  }

  function text(measure, values) {
    if (!values.length) return "–";
    const places = measure.isAccuracy ? 1 : digits(values);
    const spread = values.length > 1 ? ` ± ${d3.deviation(values).toFixed(places)}` : "";
    return `${mean(values).toFixed(places)}${spread}`;
  }

  // --- what can be chosen -------------------------------------------------------------------------------------------

  const cardNames = () => [...new Set(study.networks.flatMap((network) => Object.keys(network.card)))];
  const curveNames = () => [...new Set(study.networks.flatMap((network) => Object.keys(network.curves).filter((name) => network.curves[name].length > 1)))];
  const trained = () => study.networks.filter((network) => network.runs.length);

  function options(id, names, fallback, labels = names) {
    at(id).replaceChildren(...names.map((name, i) => create("option", { value: name }, labels[i])));
    if (!names.includes(state[id])) state[id] = fallback ?? "";
    at(id).value = state[id];
  }

  function read() {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const name of [...CHOSEN, "sort"]) state[name] = given.get(name) ?? "";
    state.down = given.get("down") !== "no";
  }

  function write() {
    const kept = Object.entries({ ...state, down: state.down ? "" : "no" }).filter(([, value]) => value);
    history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
  }

  // --- leaderboard --------------------------------------------------------------------------------------------------

  function leaderboard() {
    const sorted = study.measures.find(({ name }) => name === state.sort);
    const best = (network) => mean(valuesOf(network, sorted.name)) ?? -Infinity;
    const networks = sorted ? [...study.networks].sort((a, b) => (state.down ? 1 : -1) * (best(b) - best(a))) : study.networks;
    at("head").replaceChildren(create("tr", {}, create("th", { scope: "col" }, "network"), create("th", { scope: "col" }, "zero stability"),
      ...study.measures.map((measure) => {
        const is = measure.name === state.sort;
        const sort = () => { state.down = is ? !state.down : measure.higherIsBetter !== false; state.sort = measure.name; show(); focus(measure); };
        const unit = measure.unit && !measure.isAccuracy ? ` (${measure.unit})` : "";
        const better = measure.higherIsBetter === false ? ", lower is better" : "";
        return create("th", { scope: "col", "aria-sort": is ? (state.down ? "descending" : "ascending") : "none" },
          create("button", { type: "button", onclick: sort }, `${measure.name}${unit}${better}${is ? (state.down ? " ▼" : " ▲") : ""}`));
      })));
    at("rows").replaceChildren(...networks.map((network) => create("tr", {},
      create("th", { scope: "row" }, network.label), create("td", {}, badge(network.status)),
      ...study.measures.map((measure) => create("td", {}, text(measure, valuesOf(network, measure.name)))))));
    const kinds = new Map(study.measures.filter(({ evidence }) => evidence !== "measured").map((each) => [each.evidence, []]));
    for (const { name, evidence } of study.measures) kinds.get(evidence)?.push(name);
    at("evidence").textContent = [...kinds].map(([evidence, names]) =>
      `${evidence === "attacked" ? "Attacked, an upper bound" : evidence[0].toUpperCase() + evidence.slice(1)}: ${names.join(", ")}.`).join(" ");
  }

  function focus(measure) {
    const place = study.measures.findIndex(({ name }) => name === measure.name);
    at("head").querySelectorAll("button")[place]?.focus();
  }

  // --- runs as points -----------------------------------------------------------------------------------------------

  function scale(values, range) {
    const [low, high] = d3.extent(values);
    const room = 0.08 * (high - low || Math.abs(high) / 10 || 1);
    return d3.scaleLinear([low - room, high + room], range);
  }

  function scatter() {
    const value = (network, run, name) => (name in network.card ? network.card[name] : run.values[name]);
    const points = trained().flatMap((network) => network.runs.map((run) => (
      { network, run, x: value(network, run, state.across), y: value(network, run, state.up) })))
      .filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y));
    at("scatter-title").textContent = `${state.up} against ${state.across}`;
    at("run").textContent = points.length ? "" : "No run has both numbers.";
    const svg = frame(at("scatter"), `${points.length} runs: ${state.up} against ${state.across}`);
    svg.attr("role", "group");
    if (!points.length) return;
    const x = scale(points.map((point) => point.x), [MARGIN.left, WIDTH - MARGIN.right]);
    const y = scale(points.map((point) => point.y), [HEIGHT - MARGIN.bottom, MARGIN.top]);
    axes(svg, x, y, [state.across, state.up]);
    const words = ({ network, run, x: across, y: up }) =>
      `${network.label}, seed ${run.seed}, ${network.status}: ${state.across} ${across}, ${state.up} ${up}`;
    const tell = (_, point) => { at("run").textContent = words(point); };
    const marks = svg.append("g").selectAll("path").data(points).join("path")
      .attr("class", ({ network }) => `mark ${kind(network)}`).attr("d", ({ network }) => d3.symbol(SHAPES[kind(network)], 80)())
      .attr("transform", (point) => `translate(${x(point.x)},${y(point.y)})`)
      .attr("role", "img").attr("aria-label", words).attr("tabindex", (_, i) => (i ? -1 : 0))
      .on("mouseenter", tell).on("focus", tell)
      .on("keydown", (event) => {
        const nodes = marks.nodes();
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const next = nodes[(nodes.indexOf(event.currentTarget) + step + nodes.length) % nodes.length];
        event.currentTarget.setAttribute("tabindex", "-1");
        next.setAttribute("tabindex", "0");
        next.focus();
      });
  }

  // --- curves -------------------------------------------------------------------------------------------------------

  function curves() {
    const lines = trained().map((network) => ({ network, values: network.curves[state.curve] ?? [] }))
      .filter(({ values }) => values.length > 1);
    at("curves-figure").hidden = !lines.length;
    if (!lines.length) return;
    lines.sort((a, b) => (a.network.label === state.network) - (b.network.label === state.network));
    const svg = frame(at("curves"), `${state.curve} by epoch of ${lines.length} networks`);
    const x = d3.scaleLinear([1, d3.max(lines, ({ values }) => values.length)], [MARGIN.left, WIDTH - MARGIN.right]);
    const y = scale(lines.flatMap(({ values }) => values).filter(Number.isFinite), [HEIGHT - MARGIN.bottom, MARGIN.top]);
    const line = d3.line().defined(Number.isFinite).x((_, i) => x(i + 1)).y(y);
    const paths = svg.append("g").selectAll("path").data(lines).join("path")
      .attr("class", ({ network }) => `curve ${kind(network)}${state.network && network.label !== state.network ? " behind" : ""}`)
      .attr("d", ({ values }) => line(values));
    paths.append("title").text(({ network }) => `${network.label}, ${network.status}`);
    axes(svg, x, y, ["epoch", state.curve]);
  }

  // --- published, limits, download ----------------------------------------------------------------------------------

  function published(table) {
    const measureOf = (column) => study.measures.find(({ name }) => name === column);
    const cell = (network, column, i) => {
      const value = table.values[network.label][i];
      const measure = measureOf(column);
      const here = measure ? valuesOf(network, column) : [];
      return create("td", {}, value === null ? "–" : String(value),
        ...(here.length ? [create("small", { class: "soft" }, ` here ${text(measure, here)}`)] : []));
    };
    const networks = study.networks.filter(({ label }) => Object.hasOwn(table.values, label));
    return [
      create("h2", {}, "Published, beside what was measured"),
      create("p", {}, `${table.setting}. ${table.reference}.`),
      ...(table.sameExperiment ? [] : [create("p", { class: "soft" }, "The runs here are another, smaller experiment: compare orders, not numbers.")]),
      create("p", { class: "swipe" }, "The table scrolls sideways."),
      create("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Published" }, create("table", {},
        create("thead", {}, create("tr", {}, create("th", { scope: "col" }, "network"), ...table.columns.map((column) => create("th", { scope: "col" }, column)))),
        create("tbody", {}, ...networks.map((network) => create("tr", {}, create("th", { scope: "row" }, network.label),
          ...table.columns.map((column, i) => cell(network, column, i))))))),
    ];
  }

  function download() {
    const link = create("a", { href: URL.createObjectURL(new Blob([study.csv], { type: "text/csv" })), download: `${study.name}-${study.scale}.csv` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // --- all of it ----------------------------------------------------------------------------------------------------

  function show() {
    options("study", studies.map(key), key(studies[0]), studies.map((each) => `${each.name}, ${each.scale}`));
    study = studies.find((each) => key(each) === state.study);
    const measures = study.measures.map(({ name }) => name);
    const proved = cardNames();
    options("across", [...proved, ...measures], proved[0] ?? measures[0]);
    options("up", [...measures, ...proved], measures[0]);
    options("curve", curveNames(), curveNames()[0]);
    options("network", ["", ...trained().map(({ label }) => label)], "", ["all alike", ...trained().map(({ label }) => label)]);
    for (const id of ["title", "description", "sentence", "command"]) at(id).textContent = study[id];
    leaderboard();
    scatter();
    curves();
    at("published").replaceChildren(...study.published.flatMap(published));
    at("limits").replaceChildren(...(study.limits.length
      ? [create("h2", {}, "Limits"), create("ul", {}, ...study.limits.map((limit) => create("li", {}, limit)))] : []));
    write();
  }

  at("hidden").hidden = !hidden.length;
  at("hidden").textContent = `Not shown: ${hidden.join("; ")}.`;
  at("none").hidden = Boolean(studies.length);
  at("studies").hidden = !studies.length;
  if (studies.length) {
    for (const id of CHOSEN) at(id).addEventListener("input", (event) => { state[id] = event.target.value; show(); });
    at("download").addEventListener("click", download);
    addEventListener("hashchange", () => { read(); show(); });
    read();
    show();
  }
})((globalThis.stabzoo ??= {}));
