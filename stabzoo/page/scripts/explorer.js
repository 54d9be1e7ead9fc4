"use strict";
// The explorer: a family and values of its parameters; all that follows from them, exact where it is a verdict.
(function (stabzoo) {
  const { parse, text, toNumber, ZERO } = stabzoo.exact;
  const { badge, copyButton, create, data, typeset } = stabzoo.elements;
  const { rootCondition, method: methods, intervals, drawing, charts, nearby } = stabzoo;
  const FREE = "";
  const MOST_FREE = 6;
  const SPAN = 4;

  const { families, models, measured } = data();
  const byName = new Map(families.map((family) => [family.name, family]));
  const at = (id) => document.getElementById(id);
  const state = { scheme: "zerosnet", choices: {}, parameter: null, values: {}, alpha: ["1", "0"], beta: ["3/2", "-1/2"], betaNext: "0", depth: 56, z: "0" };

  // --- the address: all of the state, so that a picture can be shared ---------------------------------------------

  function read() {
    const given = new URLSearchParams(location.hash.slice(1));
    const list = (name) => (given.has(name) ? given.get(name).split(",").slice(0, MOST_FREE) : null);
    const name = given.get("scheme");
    state.scheme = name === "free" ? FREE : byName.has(name) ? name : byName.has("zerosnet") ? "zerosnet" : families[0]?.name ?? FREE;
    state.alpha = list("alpha") ?? state.alpha;
    state.beta = list("beta") ?? state.beta;
    state.betaNext = given.get("beta_next") ?? state.betaNext;
    state.depth = Math.min(Math.max(Math.round(Number(given.get("depth"))) || state.depth, 2), 400);
    state.z = given.get("z") ?? "0";
    const family = byName.get(state.scheme);
    state.choices = {};
    state.values = {};
    if (!family) return;
    for (const [key, values] of Object.entries(family.choices)) {
      state.choices[key] = values.find((value) => String(value) === given.get(key)) ?? family.defaults[key];
    }
    for (const variant of family.variants) {
      if (variant.parameter) state.values[variant.parameter] = given.get(variant.parameter) ?? String(family.defaults[variant.parameter]);
    }
    state.parameter = Object.keys(state.values).find((key) => given.has(key)) ?? Object.keys(state.values)[0] ?? null;
  }

  function write() {
    const kept = new URLSearchParams();
    kept.set("scheme", state.scheme || "free");
    if (state.scheme === FREE) {
      kept.set("alpha", state.alpha.join(","));
      kept.set("beta", state.beta.join(","));
      if (state.betaNext !== "0") kept.set("beta_next", state.betaNext);
    } else {
      for (const [key, value] of Object.entries(state.choices)) kept.set(key, value);
      if (state.parameter) kept.set(state.parameter, state.values[state.parameter]);
    }
    kept.set("depth", state.depth);
    if (state.z !== "0") kept.set("z", state.z);
    history.replaceState(null, "", `#${String(kept).replaceAll("%2F", "/").replaceAll("%2C", ",")}`);
  }

  // --- the method that the state says ---------------------------------------------------------------------------

  function current() {
    if (state.scheme === FREE) {
      const parsed = (list) => list.map((c) => parse(c));
      return methods.create("linear multistep", parsed(state.alpha), parsed(state.beta), parse(state.betaNext));
    }
    const variant = variantOf(byName.get(state.scheme));
    if (!variant) throw new RangeError("the scheme takes no such combination of choices; choose another");
    const value = variant.parameter ? parse(state.values[variant.parameter]) : ZERO;
    if (variant.refused.includes(text(value))) throw new RangeError(`the scheme does not accept ${variant.parameter} = ${text(value)}`);
    const method = { ...methods.at(variant, value), lengths: variant.intervals };
    return "formula" in variant ? { ...method, stated: variant, stabilityFunction: functionOf(variant) } : method;
  }

  function functionOf({ stabilityFunction: found }) {
    return found ? { numerator: found.numerator.map(parse), denominator: found.denominator.map(parse) } : null;
  }

  const variantOf = (family) =>
    family.variants.find((variant) => (variant.parameter === state.parameter || variant.parameter === null)
      && Object.entries(variant.choices).every(([key, value]) => value === state.choices[key]));

  // --- controls ---------------------------------------------------------------------------------------------------

  function controls() {
    const family = byName.get(state.scheme);
    const parts = [];
    if (state.scheme === FREE) {
      const steps = create("select", { id: "steps", onchange: (event) => setSteps(Number(event.target.value)) },
        ...Array.from({ length: MOST_FREE }, (_, i) => create("option", { value: i + 1, selected: i + 1 === state.alpha.length }, String(i + 1))));
      parts.push(create("div", { class: "field" }, create("label", { for: "steps" }, "steps"), steps));
      state.alpha.forEach((_, j) => parts.push(dial(`alpha ${j}`, () => state.alpha[j], (value) => { state.alpha[j] = value; })));
      state.beta.forEach((_, j) => parts.push(dial(`beta ${j}`, () => state.beta[j], (value) => { state.beta[j] = value; })));
      parts.push(dial("beta next (implicit)", () => state.betaNext, (value) => { state.betaNext = value; }));
    } else {
      for (const [key, values] of Object.entries(family.choices)) parts.push(choice(family, key, values));
      const names = Object.keys(state.values);
      if (names.length > 1) {
        parts.push(selection("parameter", names, state.parameter, (value) => { state.parameter = value; controls(); }));
      }
      if (state.parameter) {
        const key = state.parameter;
        parts.push(dial(key, () => state.values[key], (value) => { state.values[key] = value; }));
      }
    }
    at("parameters").replaceChildren(...parts);
  }

  function setSteps(count) {
    const resized = (list) => Array.from({ length: count }, (_, i) => list[i] ?? "0");
    [state.alpha, state.beta] = [resized(state.alpha), resized(state.beta)];
    controls();
    show();
  }

  function choice(family, key, values) {
    return selection(key, values, state.choices[key], (value) => { state.choices[key] = value; });
  }

  function selection(label, values, chosen, set) {
    const id = `choice-${label}`;
    const select = create("select", { id, onchange: (event) => { set(values[event.target.selectedIndex]); show(); } },
      ...values.map((value) => create("option", { selected: value === chosen }, String(value))));
    return create("div", { class: "field" }, create("label", { for: id }, label), select);
  }

  // A slider for hundredths and a field for any exact number; each follows the other.
  function dial(label, get, set) {
    const id = `value-${label.replaceAll(/[^a-z0-9_]+/gi, "-")}`;
    const slider = create("input", { id: `${id}-slider`, type: "range", min: -100 * SPAN, max: 100 * SPAN, step: 1, "aria-label": `${label}, slider` });
    const field = create("input", { id, type: "text", inputmode: "text", spellcheck: "false", autocomplete: "off", "aria-describedby": "message" });
    const follow = () => {
      try {
        slider.value = Math.round(100 * toNumber(parse(get())));
        field.removeAttribute("aria-invalid");
      } catch {
        field.setAttribute("aria-invalid", "true");
      }
    };
    field.value = get();
    follow();
    slider.addEventListener("input", () => { set(text(parse(`${slider.value}/100`))); field.value = get(); follow(); show(); });
    field.addEventListener("input", () => { set(field.value); follow(); show(); });
    return create("div", { class: "field dial" }, create("label", { for: id }, label), slider, field);
  }

  // --- what follows -----------------------------------------------------------------------------------------------

  let pending = 0;
  function show() {
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(draw);
  }

  function draw() {
    write();
    at("depth-value").textContent = state.depth;
    let method = null;
    try {
      method = current();
      at("message").textContent = "";
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      at("message").textContent = error.message;
    }
    at("result").hidden = method === null;
    if (method === null) return at("verdict").replaceChildren(badge("not decided"), " no method at these values");
    const secondOrder = method.kind === "second-order multistep";
    const found = rootCondition.verdict(method.alpha, { secondOrder });
    at("verdict").replaceChildren(badge(found.status), create("span", { class: "reason" }, ` ${found.reason}.`));
    const roots = drawing.roots(rootCondition.integerRho(method.alpha));
    facts(method, found, roots);
    charts.rootsChart(at("roots"), roots);
    rootTable(roots);
    const hasRegion = !method.stated || Boolean(method.stabilityFunction);
    at("region-figure").hidden = !hasRegion;
    if (hasRegion) charts.regionChart(at("region"), method);
    charts.growthChart(at("growth"), method.alpha, state.depth, found.isZeroStable);
    at("impulse-figure").hidden = Boolean(method.stated);
    if (!method.stated) impulse(method, found.isZeroStable);
    measuredNear(method);
    return null;
  }

  function impulse(method, isStable) {
    let z = 0;
    try {
      z = toNumber(parse(state.z));
    } catch {
      at("message").textContent = `hλ: expected a number such as -1/2, got ${state.z}`;
    }
    charts.impulseChart(at("impulse"), drawing.impulse(method, z, state.depth), isStable);
  }

  // Of a step of its own the coefficients are not all.
  function measuredNear(method) {
    const kept = { depth: state.depth, ...(state.z === "0" ? {} : { z: state.z }) };
    const { rows, sources } = nearby.near(method.stated ? [] : measured, method, kept);
    at("nearby").hidden = !rows.length;
    at("nearby-rows").replaceChildren(...rows);
    at("nearby-sources").replaceChildren(...sources);
  }

  const size = (value) => (value === 0 ? "0" : Math.abs(value) >= 1e4 || Math.abs(value) < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(5))));

  function facts(method, found, roots) {
    const { stated } = method;
    const order = stated ? stated.order : methods.order(method);
    const constant = stated ? stated.errorConstant : methods.errorConstant(method);
    const formula = stated ? create("code", {}, stated.formula ?? ownStep(method)) : typeset(method);
    const rows = [
      ["step", formula],
      ["kind", `${method.kind}, ${method.alpha.length} ${method.alpha.length > 1 ? "steps" : "step"}`],
      ["order", order === null ? "none: constants are not kept" : String(order)],
      ["error constant", constant === null ? "none" : typeof constant === "string" ? constant : text(constant)],
      ...intervalRows(method),
      ["proof", proofText(found.proof)],
      ["roots", roots.map(rootText).join(",  ")],
    ];
    at("facts").replaceChildren(...rows.flatMap(([name, value]) => [create("dt", {}, name), create("dd", {}, value)]));
    at("copies").replaceChildren(...copies(method));
  }

  function intervalRows(method) {
    if (method.lengths) return intervals.rowsRead(method.lengths);
    return method.stated ? [["stability intervals", "not decided here: stabzoo show decides them"]] : intervals.rowsOf(method);
  }

  // What the states alone contribute, of a step whose slopes are not weighted sums.
  const ownStep = (method) => `${methods.asText({ ...method, kind: "", beta: [], betaNext: ZERO })} + (${method.kind} of f)`;

  const complexText = (z) => (z.im ? `${size(z.re)} ${z.im < 0 ? "−" : "+"} ${size(Math.abs(z.im))} i` : size(z.re));
  const rootText = (z) => complexText(z) + (z.multiplicity > 1 ? ` (×${z.multiplicity})` : "");

  function rootTable(roots) {
    at("root-rows").replaceChildren(...roots.map((z) =>
      create("tr", {}, create("td", {}, complexText(z)), create("td", {}, size(drawing.modulus(z))), create("td", {}, String(z.multiplicity)))));
  }

  function proofText(proof) {
    if ("distinct" in proof) return `distinct roots: ${proofText(proof.distinct)}; repeated: ${proofText(proof.repeated)}`;
    const shown = (list) => `(${list.map((k) => (k.length > 24 ? `${k.slice(0, 21)}…` : k)).join(", ")})`;
    const parts = [];
    if (proof.reflection.length) parts.push(`reflection coefficients ${shown(proof.reflection)}`);
    if (proof.derivative.length) parts.push(`of the derivative ${shown(proof.derivative)}`);
    return `${proof.ending}${parts.length ? `: ${parts.join(", ")}` : ""}`;
  }

  // --- to take away -----------------------------------------------------------------------------------------------

  function settings() {
    if (state.scheme === FREE) return { alpha: state.alpha.map(plainNumber), beta: state.beta.map(plainNumber) };
    const family = byName.get(state.scheme);
    const chosen = { ...state.choices };
    if (state.parameter) chosen[state.parameter] = plainNumber(state.values[state.parameter]);
    return Object.fromEntries(Object.entries(chosen).filter(([key, value]) => value !== family.defaults[key]));
  }

  const plainNumber = (value) => text(parse(value));
  const modelOf = () => models[state.scheme === FREE ? "multistep" : state.scheme];

  function python(value) {
    if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
    return typeof value === "boolean" ? (value ? "True" : "False") : JSON.stringify(value);
  }

  const yaml = (value) => (Array.isArray(value) ? `[${value.map(yaml).join(", ")}]` : JSON.stringify(value));

  function copies(method) {
    const model = modelOf();
    const isBuilt = model && !(state.scheme === FREE && method.betaNext.n !== 0n);
    const taken = [];
    if (isBuilt) {
      const args = Object.entries(settings());
      const inline = args.map(([key, value]) => `, ${key}=${python(value)}`).join("");
      taken.push(["Python", `timm.create_model(${JSON.stringify(model)}${inline})`]);
      const mapped = args.map(([key, value]) => `${key}: ${yaml(value)}`).join(", ");
      taken.push(["YAML", `- {model: ${model}${args.length ? `, args: {${mapped}}` : ""}}`]);
    }
    if (!method.stated) taken.push(["LaTeX", methods.asLatex(method)]);
    taken.push(["Address", location.href]);
    return taken.map(([name, content]) =>
      create("div", { class: "take" }, copyButton(`Copy ${name}`, () => content), create("code", {}, content)));
  }

  // --- beginning --------------------------------------------------------------------------------------------------

  function begin() {
    read();
    const select = at("scheme");
    select.replaceChildren(
      create("option", { value: FREE, selected: state.scheme === FREE }, "free coefficients"),
      ...families.map((family) => create("option", { value: family.name, selected: family.name === state.scheme }, family.name)));
    at("depth").value = state.depth;
    at("z").value = state.z;
    controls();
    draw();
  }

  at("scheme").addEventListener("change", (event) => {
    history.replaceState(null, "", `#${new URLSearchParams({ scheme: event.target.value || "free", depth: state.depth })}`);
    begin();
  });
  at("depth").addEventListener("input", (event) => { state.depth = Number(event.target.value); show(); });
  at("z").addEventListener("input", (event) => { state.z = event.target.value; show(); });
  addEventListener("hashchange", () => {
    begin();
    if (document.activeElement === document.body) at("scheme").focus(); // the link that was followed is gone
  });
  begin();
})((globalThis.stabzoo ??= {}));
