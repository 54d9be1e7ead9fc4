"use strict";
// Charts by D3. Blue with solid lines and round marks says stable, red with dashes and triangles unstable: never colour
// alone. All text comes in by textContent.
(function (stabzoo) {
  const d3 = globalThis.d3;
  const { linearOf, locus, modulus, powers, reach, stability } = stabzoo.drawing;
  const WIDTH = 440;
  const HEIGHT = 300;
  const MARGIN = { top: 12, right: 14, bottom: 38, left: 52 };

  function frame(element, label, height = HEIGHT) {
    const svg = d3.select(element).selectAll("svg").data([0]).join("svg");
    svg.attr("viewBox", `0 0 ${WIDTH} ${height}`).attr("role", "img").attr("aria-label", label).selectAll("*").remove();
    return svg;
  }

  function axes(svg, x, y, [across, up], height = HEIGHT, ticks = [6, 5]) {
    const bottom = height - MARGIN.bottom;
    svg.append("g").attr("class", "axis").attr("transform", `translate(0,${bottom})`).call(d3.axisBottom(x).ticks(ticks[0]).tickSizeOuter(0));
    svg.append("g").attr("class", "axis").attr("transform", `translate(${MARGIN.left},0)`).call(upright(y, ticks[1]));
    svg.append("text").attr("class", "label").attr("x", WIDTH - MARGIN.right).attr("y", height - 4).attr("text-anchor", "end").text(across);
    svg.append("text").attr("class", "label").attr("x", MARGIN.left + 6).attr("y", MARGIN.top + 6).text(up);
  }

  // Long numbers as powers of ten, which fit beside the axis.
  function upright(y, count) {
    const axis = d3.axisLeft(y).ticks(count).tickSizeOuter(0);
    const isLong = Math.max(...y.domain().map(Math.abs)) >= 1e5;
    return !isLong ? axis : y.base ? axis.ticks(count, "~e") : axis.tickFormat(d3.format("~e"));
  }

  // Equal scales on both axes, around a centre.
  function plane(centre, radius, height) {
    const size = Math.min(WIDTH - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom) / 2;
    const middle = { x: (WIDTH + MARGIN.left - MARGIN.right) / 2, y: (height + MARGIN.top - MARGIN.bottom) / 2 };
    const wide = ((WIDTH - MARGIN.left - MARGIN.right) / 2 / size) * radius;
    return {
      x: d3.scaleLinear([centre - wide, centre + wide], [MARGIN.left, WIDTH - MARGIN.right]),
      y: d3.scaleLinear([-radius, radius], [middle.y + size, middle.y - size]),
    };
  }

  function rootsChart(element, roots) {
    const height = 340;
    const radius = Math.min(Math.max(1.25, 1.15 * Math.max(...roots.map(modulus), 0)), 6);
    const svg = frame(element, `${roots.length} distinct roots of rho beside the unit circle`, height);
    const { x, y } = plane(0, radius, height);
    axes(svg, x, y, ["Re", "Im"], height);
    svg.append("circle").attr("class", "circle").attr("cx", x(0)).attr("cy", y(0)).attr("r", x(1) - x(0));
    const shape = (z) => (modulus(z) > 1 + 1e-9 ? d3.symbolTriangle : modulus(z) > 1 - 1e-9 ? d3.symbolSquare : d3.symbolCircle);
    const place = (z) => ({ x: x(Math.max(Math.min(z.re, x.domain()[1]), x.domain()[0])), y: y(Math.max(Math.min(z.im, radius), -radius)) });
    const marks = svg.append("g").selectAll("g").data(roots).join("g")
      .attr("transform", (z) => `translate(${place(z).x},${place(z).y})`);
    marks.append("path").attr("class", (z) => (modulus(z) > 1 + 1e-9 || (z.multiplicity > 1 && modulus(z) > 1 - 1e-9) ? "mark bad" : "mark good"))
      .attr("d", (z) => d3.symbol(shape(z), 110)());
    marks.filter((z) => z.multiplicity > 1).append("text").attr("class", "count").attr("x", 9).attr("y", -7).text((z) => `×${z.multiplicity}`);
  }

  function regionChart(element, method) {
    const height = 340;
    const linear = linearOf(method);
    const radius = reach(linear);
    const svg = frame(element, "Stability region and boundary locus in the plane of h lambda", height);
    const { x, y } = plane(-0.45 * radius, radius, height);
    const [columns, rows] = [128, 96];
    const across = d3.scaleLinear([0, columns], x.domain());
    const up = d3.scaleLinear([0, rows], [radius, -radius]);
    const values = Array.from({ length: columns * rows }, (_, i) =>
      stability(linear, across((i % columns) + 0.5), up(Math.floor(i / columns) + 0.5)));
    const [contour] = d3.contours().size([columns, rows]).thresholds([1e-9])(values);
    const projected = d3.geoPath(d3.geoTransform({
      point(column, row) { this.stream.point(x(across(column)), y(up(row))); },
    }));
    svg.append("path").attr("class", "region").attr("d", projected(contour) ?? "");
    const inside = (z) => z !== null && Math.abs(y(z.im)) < 4000 && Math.abs(x(z.re)) < 4000;
    const clip = `clip-${element.id}`;
    svg.append("clipPath").attr("id", clip).append("rect").attr("x", MARGIN.left).attr("y", MARGIN.top)
      .attr("width", WIDTH - MARGIN.left - MARGIN.right).attr("height", height - MARGIN.top - MARGIN.bottom);
    svg.append("path").attr("class", "locus").attr("clip-path", `url(#${clip})`)
      .attr("d", d3.line().defined(inside).x((z) => x(z.re)).y((z) => y(z.im))(locus(linear)) ?? "");
    axes(svg, x, y, ["Re hλ", "Im hλ"], height);
    svg.append("line").attr("class", "zero").attr("x1", x(0)).attr("x2", x(0)).attr("y1", MARGIN.top).attr("y2", height - MARGIN.bottom);
    svg.append("line").attr("class", "zero").attr("x1", MARGIN.left).attr("x2", WIDTH - MARGIN.right).attr("y1", y(0)).attr("y2", y(0));
  }

  function growthChart(element, alpha, depth, isStable) {
    const norms = powers(alpha, depth).map((norm, n) => ({ n, value: Math.min(norm, 1e300) }));
    const highest = d3.max(norms, (each) => each.value);
    const isLog = highest > 100;
    const svg = frame(element, `Norm of C to the n for n up to ${depth}: at most ${highest.toPrecision(4)}`);
    const x = d3.scaleLinear([0, depth], [MARGIN.left, WIDTH - MARGIN.right]);
    const range = [HEIGHT - MARGIN.bottom, MARGIN.top];
    const floor = Math.max(d3.min(norms, (each) => each.value), 1e-12);
    const y = isLog ? d3.scaleLog([Math.min(floor, 1), highest * 1.2], range) : d3.scaleLinear([0, Math.max(1.15 * highest, 1.2)], range);
    lines(svg, norms, x, y, isStable ? "curve good" : "curve bad");
    axes(svg, x, y, ["block n", isLog ? "‖Cⁿ‖, logarithmic" : "‖Cⁿ‖"]);
  }

  function impulseChart(element, states, isStable) {
    const points = states.map((value, n) => ({ n, value: Number.isFinite(value) ? Math.max(Math.min(value, 1e300), -1e300) : NaN }));
    const [low, high] = d3.extent(points, (each) => each.value);
    const margin = 0.08 * Math.max(high - low, 1e-9);
    const svg = frame(element, `A perturbation of 1 after ${states.length - 1} blocks: ${states[states.length - 1].toPrecision(4)}`);
    const x = d3.scaleLinear([0, states.length - 1], [MARGIN.left, WIDTH - MARGIN.right]);
    const y = d3.scaleLinear([Math.min(low, 0) - margin, high + margin], [HEIGHT - MARGIN.bottom, MARGIN.top]);
    svg.append("line").attr("class", "zero").attr("x1", MARGIN.left).attr("x2", WIDTH - MARGIN.right).attr("y1", y(0)).attr("y2", y(0));
    lines(svg, points, x, y, isStable ? "curve good" : "curve bad");
    axes(svg, x, y, ["block n", "perturbation"]);
  }

  function lines(svg, points, x, y, kind) {
    const drawn = (each) => Number.isFinite(each.value) && Number.isFinite(y(each.value));
    svg.append("path").attr("class", kind).attr("d", d3.line().defined(drawn).x((each) => x(each.n)).y((each) => y(each.value))(points) ?? "");
    if (points.length <= 70) {
      svg.append("g").selectAll("circle").data(points.filter(drawn)).join("circle").attr("class", kind.replace("curve", "dot"))
        .attr("cx", (each) => x(each.n)).attr("cy", (each) => y(each.value)).attr("r", 2);
    }
  }

  stabzoo.charts = { HEIGHT, MARGIN, WIDTH, axes, frame, growthChart, impulseChart, regionChart, rootsChart };
})((globalThis.stabzoo ??= {}));
