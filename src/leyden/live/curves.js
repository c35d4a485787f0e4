// Rows of metrics.csv > curves > page.js: what Plotly draws, { data, layout }, of each metric.
"use strict";

const curves = (() => {
  const DASHES = { train: "dot", val: "solid" };
  const IN_WORDS = { train: "training", val: "validation" };
  const MOST_POINTS = 2000; // of a line; more cannot be seen

  // The page has some; further ones are turned out of the wheel.
  function colour(place, theme) {
    if (place < theme.series.length) return theme.series[place];
    const hue = (137.5 * place) % 360; // the golden angle: neighbours differ much
    const [lightness, strength] = theme.isDark ? [0.68, 0.22] : [0.38, 0.26];
    const part = (turn) => {
      const at = (turn + hue / 30) % 12;
      return Math.round(255 * (lightness - strength * Math.max(-1, Math.min(at - 3, 9 - at, 1))));
    };
    return `#${[0, 8, 4].map((turn) => part(turn).toString(16).padStart(2, "0")).join("")}`;
  }

  // "val/recall/0" is "recall/0" in validation; "lr" is of neither split.
  function parted(name) {
    const [split, ...rest] = name.split("/");
    return split in DASHES && rest.length ? { split, metric: rest.join("/") } : { split: null, metric: name };
  }

  // Loss first, then what is validated, then what is of one split or of none, then what is of one class or layer.
  function metricsOf(known, shares) {
    const names = [...new Set(known.flatMap((one) => Object.keys(one.columns)))]
      .filter((name) => !["epoch", "step"].includes(name));
    const metrics = grouped(names, (name) => parted(name).metric);
    const rank = ([metric, parts]) => {
      if (metric === "loss") return 0;
      if (metric.includes("/")) return 5;
      if (parts.length > 1) return 1;
      return parted(parts[0]).split === "val" ? (shares.has(parts[0]) ? 2 : 3) : 4;
    };
    return [...metrics].sort((one, other) => rank(one) - rank(other));
  }

  function grouped(values, keyOf) {
    const found = new Map();
    for (const value of values) found.set(keyOf(value), [...(found.get(keyOf(value)) ?? []), value]);
    return found;
  }

  function points(columns, name, place) {
    const [places, values] = [columns[place] ?? [], columns[name] ?? []];
    const known = values.map((_, row) => row).filter((row) => values[row] !== null && places[row] !== null);
    return { x: known.map((row) => places[row]), y: known.map((row) => values[row]) };
  }

  // Of a long line the least and the most of each stretch: no peak is lost.
  function thinned({ x, y }) {
    if (x.length <= MOST_POINTS) return { x, y };
    const stretch = Math.ceil((2 * x.length) / MOST_POINTS);
    const kept = new Set([0, x.length - 1]);
    for (let begin = 0; begin < x.length; begin += stretch) {
      let [least, most] = [begin, begin];
      for (let row = begin; row < Math.min(begin + stretch, x.length); row += 1) {
        if (y[row] < y[least]) least = row;
        if (y[row] > y[most]) most = row;
      }
      kept.add(least).add(most);
    }
    const rows = [...kept].sort((one, other) => one - other);
    return { x: rows.map((row) => x[row]), y: rows.map((row) => y[row]) };
  }

  // Mean, least and most over runs wherever one of them has a value.
  function together(lines) {
    const values = new Map();
    for (const { x, y } of lines) {
      x.forEach((at, row) => {
        if (!values.has(at)) values.set(at, []);
        values.get(at).push(y[row]);
      });
    }
    const x = [...values.keys()].sort((one, other) => one - other);
    const of = (reduce) => x.map((at) => reduce(values.get(at)));
    const y = of((all) => all.reduce((sum, one) => sum + one, 0) / all.length);
    return { x, y, low: of((all) => Math.min(...all)), high: of((all) => Math.max(...all)) };
  }

  // Series to draw: each run, or the runs that share a level of a factor.
  function seriesOf(runs, group, theme) {
    const series = (label, inside, place) => ({ label, runs: inside, colour: colour(place, theme) });
    if (group === "") return runs.map((run, place) => series(run.label, [run], place));
    const levels = [...grouped(runs, (run) => run.settings[group] ?? "none")];
    levels.sort(([one], [other]) => one.localeCompare(other, "en", { numeric: true }));
    return levels.map(([level, inside], place) => series(`${group}=${level}`, inside, place));
  }

  function traces(series, name, data, view, theme, shown) {
    const lines = series.runs.filter((run) => data.has(run.path))
      .map((run) => points(data.get(run.path).columns, name, view.place));
    if (!lines.some(({ x }) => x.length)) return [];
    const { split } = parted(name);
    const isBand = series.runs.length > 1;
    const line = isBand ? together(lines) : thinned(lines[0]);
    const label = charts.plain(series.label).replaceAll("%{", "% {"); // no template of Plotly's
    const what = `${IN_WORDS[split] ?? ""}${isBand ? " mean" : ""}`;
    const trace = {
      type: "scatter", mode: line.x.length > 1 ? "lines" : "markers", name: label,
      x: line.x, y: charts.scaled(line.y, shown), marker: { color: series.colour, size: 6 },
      line: { color: series.colour, width: split === "train" ? 1.6 : 2, dash: DASHES[split] ?? "solid" },
      hovertemplate: `${label}<br>${view.place} %{x}<br>${what} %{y:${shown.format}}${shown.suffix}<extra></extra>`,
    };
    if (!isBand) return [trace];
    const band = {
      type: "scatter", mode: "lines", x: [...line.x, ...[...line.x].reverse()],
      y: charts.scaled([...line.low, ...line.high.reverse()], shown),
      fill: "toself", fillcolor: charts.faint(series.colour, 0.15), line: { width: 0 }, hoverinfo: "skip",
    };
    return [band, trace];
  }

  // All figures, by metric; `data` holds the rows of each run by its path.
  function figures(allSeries, data, view, theme) {
    const known = allSeries.flatMap((series) => series.runs)
      .filter((run) => data.has(run.path)).map((run) => data.get(run.path));
    const shares = new Set(known.flatMap((one) => one.shares));
    return metricsOf(known, shares).map(([metric, names]) => {
      const shown = charts.unit(names.every((name) => shares.has(name)));
      return {
        metric,
        draw: () => ({
          data: allSeries.flatMap((series) => names.flatMap((name) => traces(series, name, data, view, theme, shown))),
          layout: charts.layout(theme, 260, {
            uirevision: `${view.place} ${view.log}`,
            xaxis: charts.axis(theme, { title: view.place, rangemode: "tozero", nticks: 7 }),
            yaxis: charts.axis(theme, {
              ticksuffix: shown.suffix, exponentformat: "power",
              ...(view.log ? { type: "log", dtick: "D2" } : { nticks: 6 }),
            }),
          }),
        }),
      };
    });
  }

  return { figures, seriesOf };
})();
