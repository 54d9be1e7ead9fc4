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

  // Spaced as between two terms, though it begins its piece.
  const operator = (sign, isBetween) => filled(math("mo", sign), isBetween ? { form: "infix" } : {}, []);

  // The terms of a sum, each as the elements of a piece of the formula.
  function pieces(list) {
    if (!list.length) return [[math("mn", "0")]];
    return list.flatMap((term, i) => {
      const size = { n: abs(term.weight.n), d: term.weight.d };
      const sign = term.weight.n < 0n ? [operator("−", i)] : i ? [operator("+", i)] : [];
      const start = [...sign, ...(equal(size, ONE) ? [] : [number(size)])];
      if (!term.mean) return [[...start, ...symbols(term)]];
      const mean = pieces(term.mean);
      mean[0].unshift(...start, math("mi", "h"), math("mi", "f"), math("mo", "("));
      mean[mean.length - 1].push(math("mo", ")"));
      return mean;
    });
  }

  function symbols({ symbol, lag }) {
    const names = symbol.split(" ");
    const subscripted = math("msub", math("mi", names.pop()), math("mrow", ...subscript(index(lag))));
    return [...names.map((name) => (name === "h²" ? math("msup", math("mi", "h"), math("mn", "2")) : math("mi", name))), subscripted];
  }

  const subscript = (text) => text.match(/n|[+-]|\d+/g).map((part) => math(part === "n" ? "mi" : /\d/.test(part) ? "mn" : "mo", part.replace("-", "−")));

  // A formula for each term, between which a line may end.
  function typeset(method) {
    const [first, ...others] = pieces(formula(method));
    const left = math("msub", math("mi", "y"), math("mrow", ...subscript("n+1")));
    return create("span", {}, ...[[left, math("mo", "="), ...first], ...others].flatMap((piece) => [math("math", math("mrow", ...piece)), " "]));
  }

  stabzoo.elements = { badge, copyButton, create, data, typeset };
})((globalThis.stabzoo ??= {}));
