"use strict";
// Elements of the document, made without markup: text is only ever text.
(function (stabzoo) {
  const { equal, ONE, abs } = stabzoo.exact;
  const { formula, index } = stabzoo.method;
  const MATH = "http://www.w3.org/1998/Math/MathML";

  function filled(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.flat().filter((child) => child !== null));
    return element;
  }

  const create = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);
  const math = (name, ...children) => filled(document.createElementNS(MATH, name), {}, children);

  const data = () => JSON.parse(document.getElementById("data").textContent);

  const SIGNS = { strong: "✓", weak: "≈", "second-order stable": "✓", unstable: "✕", "not decided": "?", broken: "!" };

  // The status as a sign and a word; colour is a third.
  const badge = (status) =>
    create("span", { class: `badge ${status.split(" ")[0]}` }, create("span", { "aria-hidden": "true" }, `${SIGNS[status] ?? "?"} `), status);

  function copyButton(label, text) {
    const button = create("button", { type: "button", class: "copy", onclick: copy }, label);
    async function copy() {
      const copied = await toClipboard(text());
      button.textContent = copied ? "Copied" : "Select and copy below";
      setTimeout(() => { button.textContent = label; }, 1600);
    }
    return button;
  }

  async function toClipboard(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = create("textarea", { class: "aside" });
      area.value = text;
      document.body.append(area);
      area.select();
      const copied = document.execCommand("copy");
      area.remove();
      return copied;
    }
  }

  const number = (c) => (c.d === 1n ? math("mn", `${c.n}`) : math("mfrac", math("mn", `${c.n}`), math("mn", `${c.d}`)));

  function typesetTerms(list) {
    if (!list.length) return [math("mn", "0")];
    return list.flatMap((term, i) => {
      const size = { n: abs(term.weight.n), d: term.weight.d };
      const sign = term.weight.n < 0n ? [math("mo", "−")] : i ? [math("mo", "+")] : [];
      const factor = equal(size, ONE) ? [] : [number(size)];
      const names = term.symbol.split(" ");
      const subscripted = (name) => math("msub", math("mi", name), math("mrow", ...subscript(index(term.lag))));
      const value = term.mean
        ? [math("mi", "h"), math("mi", "f"), math("mrow", math("mo", "("), ...typesetTerms(term.mean), math("mo", ")"))]
        : [...names.slice(0, -1).map((name) => (name === "h²" ? math("msup", math("mi", "h"), math("mn", "2")) : math("mi", name))), subscripted(names[names.length - 1])];
      return [...sign, ...factor, ...value];
    });
  }

  const subscript = (text) => text.match(/n|[+-]|\d+/g).map((part) => math(part === "n" ? "mi" : /\d/.test(part) ? "mn" : "mo", part.replace("-", "−")));

  function typeset(method) {
    const left = math("msub", math("mi", "y"), math("mrow", ...subscript("n+1")));
    return math("math", math("mrow", left, math("mo", "="), ...typesetTerms(formula(method))));
  }

  stabzoo.elements = { badge, copyButton, create, data, typeset };
})((globalThis.stabzoo ??= {}));
