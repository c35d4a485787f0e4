// Numbers > charts > page: draws each picture of a claim with the report's tools, one after the other.
"use strict";

(() => {
  const { pictures } = JSON.parse(document.getElementById("numbers").textContent);
  const root = document.documentElement;
  const OPTIONS = { displayModeBar: false, displaylogo: false, responsive: true };
  const HEIGHT = 300;

  function theme() {
    const style = getComputedStyle(root);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    return {
      text: colour("text"), line: colour("line"), soft: colour("soft"), font: style.getPropertyValue("--sans").trim(),
      series: [1, 2, 3, 4, 5, 6].map((number) => colour(`series-${number}`)), canHover: matchMedia("(hover: hover)").matches,
    };
  }

  const has = (values) => values.some((value) => value !== null);

  function traces(picture, colours) {
    const shown = charts.unit(picture.is_share);
    const isNamed = picture.lines.length > 1;
    return picture.lines.flatMap((line, number) => {
      const colour = colours.series[number % colours.series.length];
      const isNumeric = typeof line.xs[0] === "number";
      const y = charts.scaled(line.means, shown);
      const name = charts.plain(line.name);
      // Names of several lines stand side by side, so that their intervals can be told apart.
      const shift = isNamed ? 0.24 * (number / (picture.lines.length - 1) - 0.5) : 0;
      const main = {
        type: "scatter", mode: isNumeric ? (picture.is_curve ? "lines" : "lines+markers") : "markers", name,
        x: isNumeric ? line.xs : line.xs.map((_, place) => place + shift), y,
        text: line.xs.map((x) => charts.plain(x)), line: { color: colour, width: 2, dash: charts.DASHES[number % charts.DASHES.length] },
        marker: { color: colour, size: 8, symbol: charts.SYMBOLS[number % charts.SYMBOLS.length] }, showlegend: isNamed,
        hovertemplate: `%{text}<br>${name} %{y:${shown.format}}${shown.suffix}<extra></extra>`,
      };
      if (!picture.is_curve) return [has(line.lows) ? { ...main, error_y: charts.errors(line, shown, colour) } : main];
      const [low, high] = [charts.scaled(line.lows, shown), charts.scaled(line.highs, shown)];
      const inside = line.xs.map((_, place) => place).filter((place) => low[place] !== null && high[place] !== null);
      const band = {
        type: "scatter", mode: "lines", x: [...inside, ...[...inside].reverse()].map((place) => line.xs[place]),
        y: [...inside.map((place) => low[place]), ...inside.map((place) => high[place]).reverse()],
        fill: "toself", fillcolor: charts.faint(colour, 0.15), line: { width: 0 }, hoverinfo: "skip", showlegend: false,
      };
      return inside.length ? [band, main] : [main];
    });
  }

  function horizontal(picture, colours) {
    const xs = picture.lines[0].xs;
    if (typeof xs[0] === "number") {
      const numbers = [...new Set(picture.lines.flatMap((line) => line.xs))].sort((one, other) => one - other);
      const ticks = picture.is_curve || numbers.length > 8 ? { exponentformat: "power", ...(picture.is_log_x ? { dtick: 1 } : {}) } : { tickvals: numbers, ticktext: numbers.map(String) };
      return charts.axis(colours, { title: picture.x, type: picture.is_log_x ? "log" : "linear", ...ticks });
    }
    return charts.axis(colours, {
      title: picture.x, tickvals: xs.map((_, place) => place), ticktext: xs.map((x) => charts.plain(x)), range: [-0.5, xs.length - 0.5], showgrid: false,
    });
  }

  // One tick a decade, where there are several.
  function decades(picture) {
    const known = picture.lines.flatMap((line) => [...line.means, ...line.lows, ...line.highs]).filter((value) => value > 0);
    const span = Math.log10(Math.max(...known) / Math.min(...known));
    return { type: "log", exponentformat: "power", ...(span > 2 ? { dtick: Math.ceil(span / 6) } : {}) };
  }

  function draw(chart) {
    const picture = pictures[Number(chart.dataset.number)];
    const colours = theme();
    const shown = charts.unit(picture.is_share);
    const layout = charts.layout(colours, HEIGHT, {
      showlegend: picture.lines.length > 1, autosize: true, xaxis: horizontal(picture, colours),
      yaxis: charts.axis(colours, {
        title: picture.y, ticksuffix: shown.suffix, nticks: 6, ...(picture.is_log_y ? decades(picture) : {}),
      }),
    });
    return Plotly.react(chart, traces(picture, colours), layout, OPTIONS);
  }

  const all = () => [...document.querySelectorAll(".chart")];

  async function drawAll() {
    for (const chart of all()) {
      draw(chart);
      await new Promise((done) => setTimeout(done)); // the page can be read and scrolled meanwhile
    }
    root.dataset.drawn = "yes";
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => all().forEach(draw));
  addEventListener("beforeprint", () => { root.classList.add("printing"); all().forEach(draw); });
  addEventListener("afterprint", () => { root.classList.remove("printing"); all().forEach(draw); });
  drawAll();
})();
