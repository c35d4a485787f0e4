// Numbers > charts > page: draws the charts one after the other, so that the page can be read at once, and answers clicks.
"use strict";

(() => {
  const report = JSON.parse(document.getElementById("numbers").textContent);
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const PRINTED_WIDTH = 330; // of a chart in one of two columns of A4 or Letter
  const OPTIONS = { displayModeBar: false, displaylogo: false, responsive: true };

  // Tables

  function setUpTable(table) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim());
    const told = (row) => [...row.cells].map((cell, place) => `${heads[place]}=${cell.textContent.trim()}`).join(" ");
    const rows = [...body.rows].map((row) => ({ row, text: told(row).toLowerCase() })); // "optimizer=sgd" and "sgd"
    const [input, all, count] = [document.querySelector(`[data-filter="${table.id}"]`), document.querySelector(`[data-all="${table.id}"]`), byId(`${table.id}-count`)];
    const name = table.dataset.name;
    let most = Number(table.dataset.first);

    function show() {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let found = 0;
      for (const { row, text } of rows) {
        const fits = words.every((word) => text.includes(word));
        row.hidden = !fits || found >= most;
        found += fits;
      }
      all.hidden = found <= most;
      all.textContent = `Show all ${found.toLocaleString("en")} ${name}`;
      count.textContent = words.length ? `${found.toLocaleString("en")} of ${rows.length.toLocaleString("en")} ${name}` : `${found.toLocaleString("en")} ${name}`;
    }

    function sort(head) {
      const descends = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descends ? "descending" : "ascending");
      const keyed = rows.map((one) => ({ one, key: keyOf(one.row.cells[head.cellIndex]) }));
      keyed.sort((first, second) => compare(first.key, second.key, descends ? -1 : 1));
      rows.splice(0, rows.length, ...keyed.map(({ one }) => one));
      body.append(...rows.map(({ row }) => row));
      show();
    }

    for (const head of table.tHead.rows[0].cells) head.firstElementChild.addEventListener("click", () => sort(head));
    input.addEventListener("input", show);
    all.addEventListener("click", () => { most = Infinity; show(); });
    show();
  }

  function keyOf(cell) {
    const key = cell.dataset.key;
    if (key === undefined) return null;
    return key !== "" && Number.isFinite(Number(key)) ? Number(key) : key;
  }

  // What is unknown comes last in both directions.
  function compare(first, second, sign) {
    if (first === null || second === null) return (first === null) - (second === null);
    if (typeof first === "number" && typeof second === "number") return sign * (first - second);
    return sign * String(first).localeCompare(String(second), "en", { numeric: true });
  }

  // Charts

  function theme(chart) {
    const style = getComputedStyle(root);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    return {
      text: colour("text"), muted: colour("muted"), line: colour("line"), soft: colour("soft"), page: colour("page"),
      better: colour("better"), worse: colour("worse"), font: style.getPropertyValue("--sans").trim(),
      series: [1, 2, 3, 4, 5, 6].map((number) => colour(`series-${number}`)),
      width: chart.clientWidth, canHover: matchMedia("(hover: hover)").matches,
    };
  }

  const chosen = () => [byId("first")?.value, byId("second")?.value].filter(Boolean).map(Number)
    .filter((number, place, all) => all.indexOf(number) === place);

  function figure(chart) {
    const colours = theme(chart);
    const number = Number(chart.dataset.number);
    switch (chart.dataset.chart) {
      case "effect": return charts.effect(report, colours, number);
      case "response": return charts.response(report, colours, number);
      case "labels": return charts.labels(report, colours);
      case "interaction": return charts.interaction(report, colours, Number(byId("pair").value));
      case "curve": return charts.curve(report, colours, chart.dataset.metric, "isShare" in chart.dataset, chosen());
      default: return charts.calibration(report, colours, report.curves.length ? chosen() : [report.calibration[0].setting]);
    }
  }

  function draw(chart, width) {
    const { data, layout } = figure(chart);
    return Plotly.react(chart, data, width ? { ...layout, width } : { ...layout, autosize: true }, OPTIONS);
  }

  const all = () => [...document.querySelectorAll(".chart")];
  const some = (...kinds) => all().filter((chart) => kinds.includes(chart.dataset.chart));

  async function drawAll() {
    for (const chart of all()) {
      draw(chart);
      await new Promise((done) => setTimeout(done)); // clicks come between two charts
    }
    root.dataset.drawn = "yes";
  }

  // Words beside the charts

  function paragraphs(place, sentences) {
    place.replaceChildren(...sentences.map((sentence) => Object.assign(document.createElement("p"), { textContent: sentence })));
  }

  function tellChosen() {
    const name = (number) => `${number + 1}. ${report.names[number]}`;
    const parts = chosen().map((number) => report.curves.find((part) => part.setting === number));
    if (parts.length) {
      paragraphs(byId("curves-words"), parts.map((part) => part.overfit_from === null
        ? `${name(part.setting)}: most runs do not overfit, or are too short to say.`
        : `${name(part.setting)}: overfitting begins in epoch ${Number(part.overfit_from.toFixed(1))}${Number.isInteger(part.overfit_from) ? "" : " on average"}.`));
    }
    if (report.calibration.length) {
      const numbers = parts.length ? chosen() : [report.calibration[0].setting];
      const found = numbers.map((number) => [number, report.calibration.find((part) => part.setting === number)]);
      paragraphs(byId("calibration-words"), found.map(([number, part]) => part
        ? `${name(number)}: expected calibration error (ECE) ${part.words}.`
        : `${name(number)}: its runs stored no test predictions.`));
    }
  }

  function tellPair() {
    byId("pair-name").textContent = byId("pair").selectedOptions[0].textContent;
  }

  function tellBrush(isKept, numBrushes) {
    const kept = report.runs.selection.filter((_, run) => isKept[run]);
    const words = (value) => charts.words(value, report.metric.is_share);
    const range = kept.length ? `: ${report.metric.selection} from ${words(Math.min(...kept))} to ${words(Math.max(...kept))}` : "";
    byId("brushed").textContent = numBrushes
      ? `${kept.length.toLocaleString("en")} of ${isKept.length.toLocaleString("en")} runs in the brush${range}.`
      : `All ${isKept.length.toLocaleString("en")} runs.`;
    byId("unbrush").disabled = !numBrushes;
  }

  // Controls

  async function copy() {
    const code = byId("command");
    try {
      await navigator.clipboard.writeText(code.textContent);
      byId("copied").textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(code);
      byId("copied").textContent = "Selected: copy it with the keyboard.";
    }
  }

  const redraw = (parts) => parts.forEach((chart) => draw(chart));
  const lines = byId("parallel") ? parallel(byId("parallel"), report, tellBrush) : null;

  // On paper: light, and as wide as a column.
  function print(isPrinting) {
    root.classList.toggle("printing", isPrinting);
    all().forEach((chart) => draw(chart, isPrinting ? PRINTED_WIDTH : undefined));
    lines?.draw();
  }

  document.querySelectorAll("table[data-name]").forEach(setUpTable);
  byId("copy").addEventListener("click", copy);
  byId("unbrush")?.addEventListener("click", () => lines.clear());
  byId("pair")?.addEventListener("change", () => { tellPair(); redraw(some("interaction")); });
  for (const select of [byId("first"), byId("second")]) {
    select?.addEventListener("change", () => { tellChosen(); redraw(some("curve", "calibration")); });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw(all()));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  if (lines) new ResizeObserver(() => { if (!root.classList.contains("printing")) lines.draw(); }).observe(byId("parallel").parentElement);
  if (byId("pair")) tellPair();
  tellChosen();
  drawAll();
})();
