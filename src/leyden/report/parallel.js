// Numbers > parallel > page.js: one line per run across an axis per factor, with brushes. SVG, for it must show without
// a graphics processor, in print, and with names as they are.
"use strict";

function parallel(host, report, onBrush) {
  const [HEIGHT, TOP, BOTTOM, SIDE, LEAST_GAP] = [360, 44, 16, 60, 120];
  const MOST_TICKS = 9;
  const LONGEST = 18;
  const TOUCH = 4; // a press that moves less than so many pixels lets go
  const values = report.runs.selection;
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const axes = [...report.factors.map(factorAxis), metricAxis(report.metric.selection, values)];
  if (report.metric.reported !== report.metric.selection) {
    axes.push(metricAxis(report.metric.reported, report.runs.reported));
  }
  const brushes = new Map(); // axis > [top, bottom] in pixels
  let lines = [];

  // An axis gives each run a place from 0, at the bottom, to 1.
  function factorAxis(factor) {
    const numbers = factor.numbers?.map((number) => (factor.is_log ? Math.log10(number) : number));
    const [low, high] = numbers ? [Math.min(...numbers), Math.max(...numbers)] : [0, factor.levels.length - 1];
    const share = factor.levels.map((_, place) => ((numbers ? numbers[place] : place) - low) / (high - low || 1));
    const every = Math.ceil(factor.levels.length / MOST_TICKS);
    const ticks = factor.levels.map((text, place) => ({ text, share: share[place] })).filter((_, place) => place % every === 0);
    const apart = ticks.filter((tick, place) => !place || tick.share - ticks[place - 1].share > 0.04);
    return { name: factor.name, shares: report.runs.levels[factor.name].map((place) => share[place]), ticks: apart };
  }

  function metricAxis(name, found) {
    const [low, high] = [Math.min(...found), Math.max(...found)];
    const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => ({ share, text: charts.words(low + share * (high - low), report.metric.is_share) }));
    return { name, shares: found.map((value) => (value - low) / (high - low || 1)), ticks };
  }

  const y = (share) => HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
  const short = (text) => (text.length > LONGEST ? text.slice(0, LONGEST - 1) + "…" : text);

  function element(parent, name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  function draw() {
    const width = Math.max(host.parentElement.clientWidth, 2 * SIDE + LEAST_GAP * (axes.length - 1));
    const x = (place) => SIDE + (place * (width - 2 * SIDE)) / Math.max(1, axes.length - 1);
    host.replaceChildren();
    const svg = element(host, "svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}` });
    svg.style.maxWidth = document.documentElement.classList.contains("printing") ? "100%" : "none";
    lines = values.map((value, run) => {
      const points = axes.map((axis, place) => `${x(place).toFixed(1)},${y(axis.shares[run]).toFixed(1)}`);
      const better = (value - least) / (most - least || 1);
      const line = element(svg, "path", { d: `M${points.join("L")}` });
      line.style.setProperty("--share", `${100 * (report.metric.direction === "max" ? better : 1 - better)}%`);
      return line;
    });
    axes.forEach((axis, place) => drawAxis(svg, axis, place, x(place)));
    apply();
  }

  function drawAxis(svg, axis, place, x) {
    const name = element(svg, "text", { class: "name", x, y: 16 + 14 * (place % 2), "text-anchor": "middle" }, short(axis.name));
    if (short(axis.name) !== axis.name) element(name, "title", {}, axis.name);
    element(svg, "line", { x1: x, x2: x, y1: y(1), y2: y(0) });
    for (const tick of axis.ticks) element(svg, "text", { class: "tick", x: x + 6, y: y(tick.share) + 4 }, short(tick.text));
    axis.kept = element(svg, "rect", { class: "kept", x: x - 6, width: 12, y: 0, height: 0 });
    const handle = element(svg, "rect", { class: "handle", x: x - 20, width: 40, y: TOP - 8, height: HEIGHT - TOP - BOTTOM + 16 });
    let begin = null;
    const at = (event) => Math.min(y(0) + 6, Math.max(y(1) - 6, event.clientY - svg.getBoundingClientRect().top));
    handle.addEventListener("pointerdown", (event) => {
      begin = at(event);
      handle.setPointerCapture(event.pointerId);
    });
    handle.addEventListener("pointermove", (event) => {
      if (begin === null) return;
      const end = at(event);
      if (Math.abs(end - begin) < TOUCH) brushes.delete(place);
      else brushes.set(place, [Math.min(begin, end), Math.max(begin, end)]);
      apply();
    });
    handle.addEventListener("pointerup", (event) => {
      if (begin !== null && Math.abs(at(event) - begin) < TOUCH) brushes.delete(place);
      begin = null;
      apply();
    });
    handle.addEventListener("pointercancel", () => { begin = null; });
  }

  function apply() {
    const isKept = values.map((_, run) => [...brushes].every(([place, [top, bottom]]) => {
      const share = axes[place].shares[run];
      return y(share) >= top && y(share) <= bottom;
    }));
    lines.forEach((line, run) => line.classList.toggle("out", !isKept[run]));
    axes.forEach((axis, place) => {
      const [top, bottom] = brushes.get(place) ?? [0, 0];
      axis.kept.setAttribute("y", top);
      axis.kept.setAttribute("height", bottom - top);
    });
    onBrush(isKept, brushes.size);
  }

  draw();
  return { draw, clear: () => { brushes.clear(); apply(); } };
}
