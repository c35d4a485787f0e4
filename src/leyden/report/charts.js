// Numbers > charts > page.js: each function makes what Plotly draws, { data, layout }, of a part of the report.
// `theme` holds the colours of the page, which differ between light and dark.
"use strict";

const charts = (() => {
  const CLEAR = "rgba(0,0,0,0)";
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "pentagon"];
  const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
  const MOST_CELL_TEXTS = 60; // more do not fit
  const LONGEST_TICK = 22;

  // Plotly reads some HTML in its texts; names mean themselves.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const tick = (text) => plain(text.length > LONGEST_TICK ? text.slice(0, LONGEST_TICK - 1) + "…" : text);
  const known = (values) => values.filter((value) => value !== null);
  const faint = (colour, opacity) => {
    const [red, green, blue] = [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
    return `rgba(${red},${green},${blue},${opacity})`;
  };

  // How values of a metric are shown: shares in per cent.
  const unit = (isShare) => (isShare ? { factor: 100, suffix: " %", format: ".1f" } : { factor: 1, suffix: "", format: ".4~g" });
  const words = (value, isShare) => (isShare ? `${(100 * value).toFixed(1)} %` : value.toPrecision(3));
  const scaled = (values, { factor }) => values.map((value) => (value === null ? null : factor * value));

  function axis(theme, more) {
    return {
      gridcolor: theme.line, linecolor: theme.line, tickcolor: theme.line, zeroline: false, automargin: true,
      ticks: "outside", ticklen: 4, fixedrange: !theme.canHover, ...more, title: { text: plain(more.title ?? ""), standoff: 8 },
    };
  }

  function layout(theme, height, more) {
    return {
      height, paper_bgcolor: CLEAR, plot_bgcolor: CLEAR, margin: { l: 10, r: 14, t: 12, b: 10 },
      font: { family: theme.font, size: 12, color: theme.text }, showlegend: false,
      hoverlabel: { bgcolor: theme.soft, bordercolor: theme.line, font: { color: theme.text, family: theme.font } },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 } },
      dragmode: theme.canHover ? "zoom" : false, ...more,
    };
  }

  function errors(part, { factor }, colour) {
    const above = part.highs.map((high, place) => (high === null ? 0 : factor * (high - part.means[place])));
    const below = part.lows.map((low, place) => (low === null ? 0 : factor * (part.means[place] - low)));
    return { type: "data", array: above, arrayminus: below, symmetric: false, color: colour, thickness: 1.2, width: 4 };
  }

  // One range for all effects, so that their sizes can be compared.
  function range(parts, { factor }) {
    const values = parts.flatMap((part) => known([...part.means, ...part.lows, ...part.highs]));
    const [low, high] = [Math.min(...values) * factor, Math.max(...values) * factor];
    const margin = 0.06 * (high - low || Math.abs(high) || 1);
    return factor === 100 ? [Math.max(low - margin, -0.5), Math.min(high + margin, 100.5)] : [low - margin, high + margin];
  }

  function effect(report, theme, number) {
    const part = report.effects[number];
    const shown = unit(report.metric.is_share);
    const places = part.levels.map((_, place) => place);
    return {
      data: [{
        type: "scatter", mode: "markers", x: places, y: scaled(part.means, shown), error_y: errors(part, shown, theme.series[0]),
        marker: { color: theme.series[0], size: 9 }, text: part.levels.map(plain),
        hovertemplate: `%{text}<br>%{y:${shown.format}}${shown.suffix}<extra></extra>`,
      }],
      layout: layout(theme, 230, {
        xaxis: axis(theme, { tickvals: places, ticktext: part.levels.map(tick), range: [-0.5, places.length - 0.5], showgrid: false }),
        yaxis: axis(theme, { range: range(report.effects, shown), ticksuffix: shown.suffix, nticks: 6 }),
      }),
    };
  }

  // The values tried, where they do not stand too close to be read.
  function ticksOf(values, isLog) {
    const tried = [...new Set(values)].sort((one, other) => one - other);
    const places = tried.map((value) => (isLog ? Math.log10(value) : value));
    const span = places[places.length - 1] - places[0];
    const near = places.some((place, index) => index && place - places[index - 1] < span / 9);
    return near ? { exponentformat: "power", ...(isLog && span > 1 ? { dtick: 1 } : {}) } : { tickvals: tried, ticktext: tried.map(String) };
  }

  function response(report, theme, number) {
    const { factor, by, is_log: isLog, curves } = report.responses[number];
    const shown = unit(report.metric.is_share);
    const hover = `${plain(factor)} %{x}<br>%{y:${shown.format}}${shown.suffix}`;
    const data = curves.map((part, place) => {
      const colour = theme.series[place % theme.series.length];
      const isBest = part.values.map((_, point) => point === part.best);
      return {
        type: "scatter", mode: "lines+markers", name: plain(part.level), x: part.values, y: scaled(part.means, shown),
        error_y: errors(part, shown, colour), line: { color: colour, width: 1.8, dash: DASHES[place % DASHES.length] },
        marker: {
          color: colour, size: isBest.map((best) => (best ? 15 : 7)),
          symbol: isBest.map((best) => (best ? "star" : SYMBOLS[place % SYMBOLS.length])),
        },
        hovertemplate: hover, showlegend: by !== null,
      };
    });
    return {
      data,
      layout: layout(theme, 320, {
        showlegend: curves.length > 1,
        xaxis: axis(theme, { title: factor, type: isLog ? "log" : "linear", ...ticksOf(curves.flatMap((part) => part.values), isLog) }),
        yaxis: axis(theme, { title: report.metric.selection, ticksuffix: shown.suffix }),
      }),
    };
  }

  // Between the two ends of intervals; places without both are left out.
  function band(x, low, high, colour, shown) {
    const inside = x.map((_, place) => place).filter((place) => low[place] !== null && high[place] !== null);
    const at = (values) => inside.map((place) => values[place]);
    return {
      type: "scatter", mode: "lines", x: [...at(x), ...at(x).reverse()], y: scaled([...at(low), ...at(high).reverse()], shown),
      fill: "toself", fillcolor: faint(colour, 0.15), line: { width: 0 }, hoverinfo: "skip", showlegend: false,
    };
  }

  // A line and its band for each way to train, over ever more labelled images.
  function labels(report, theme) {
    const { metric, is_share: isShare, curves } = report.labels;
    const shown = unit(isShare);
    const data = curves.flatMap((part, place) => {
      const colour = theme.series[place % theme.series.length];
      return [
        band(part.images, part.lows, part.highs, colour, shown),
        {
          type: "scatter", mode: "lines+markers", name: plain(part.level), x: part.images, y: scaled(part.means, shown),
          line: { color: colour, width: 2, dash: DASHES[place % DASHES.length] },
          marker: { color: colour, size: 8, symbol: SYMBOLS[place % SYMBOLS.length] },
          hovertemplate: `%{x:,.0f} images<br>%{y:${shown.format}}${shown.suffix}`,
        },
      ];
    });
    const tried = [...new Set(curves.flatMap((part) => part.images.map(Math.round)))].sort((one, other) => one - other);
    return {
      data,
      layout: layout(theme, 380, {
        showlegend: curves.length > 1,
        xaxis: axis(theme, { title: "labelled training images", type: "log", tickvals: tried, ticktext: tried.map((images) => images.toLocaleString("en")) }),
        yaxis: axis(theme, { title: metric, range: range(curves, shown), ticksuffix: shown.suffix }),
      }),
    };
  }

  function interaction(report, theme, number) {
    const pair = report.interactions[number];
    const shown = unit(report.metric.is_share);
    const [rows, columns] = [pair.row_levels, pair.column_levels];
    const [low, high] = report.metric.direction === "max" ? [theme.worse, theme.better] : [theme.better, theme.worse];
    const cells = pair.means.map((means) => scaled(means, shown));
    const isSmall = rows.length * columns.length <= MOST_CELL_TEXTS && columns.length <= theme.width / 55;
    return {
      data: [{
        type: "heatmap", x: columns.map((_, place) => place), y: rows.map((_, place) => place), z: cells,
        colorscale: [[0, low], [1, high]],
        xgap: 2, ygap: 2, hoverongaps: false, texttemplate: isSmall ? `%{z:${shown.format}}` : "",
        text: rows.map((row) => columns.map((column) => `${plain(row)}, ${plain(column)}`)),
        hovertemplate: `%{text}<br>%{z:${shown.format}}${shown.suffix}<extra></extra>`,
        colorbar: { thickness: 12, outlinewidth: 0, ticksuffix: shown.suffix, nticks: 5 },
      }],
      layout: layout(theme, Math.max(220, Math.min(600, 110 + 40 * rows.length)), {
        xaxis: axis(theme, { title: pair.columns, tickvals: columns.map((_, place) => place), ticktext: columns.map(tick), showgrid: false }),
        yaxis: axis(theme, { title: pair.rows, tickvals: rows.map((_, place) => place), ticktext: rows.map(tick), showgrid: false, autorange: "reversed" }),
      }),
    };
  }

  // A line and its band; `chosen` is the place among the settings compared.
  function lineAndBand(part, metric, theme, chosen, label, shown) {
    const found = part.metrics[metric];
    if (!found) return [];
    const isTraining = metric.startsWith("train/");
    const colour = theme.series[isTraining && theme.numChosen === 1 ? 1 : chosen];
    const name = `${isTraining ? "training" : "validation"}${theme.numChosen > 1 ? `, ${label}` : ""}`;
    return [
      band(part.epochs, found.low, found.high, colour, shown),
      {
        type: "scatter", mode: known(found.mean).length > 1 ? "lines" : "markers", connectgaps: true, // not every epoch validates
        x: part.epochs, y: scaled(found.mean, shown), name,
        line: { color: colour, width: isTraining ? 1.6 : 2.2, dash: isTraining ? "dash" : "solid" },
        hovertemplate: `epoch %{x}<br>${name} %{y:${shown.format}}${shown.suffix}<extra></extra>`,
      },
    ];
  }

  function curve(report, theme, metric, isShare, numbers) {
    const parts = numbers.map((number) => report.curves.find((one) => one.setting === number));
    const shown = unit(isShare);
    const colours = { ...theme, numChosen: parts.length };
    const data = parts.flatMap((part, chosen) =>
      ["train", "val"].flatMap((split) => lineAndBand(part, `${split}/${metric}`, colours, chosen, String(part.setting + 1), shown)));
    const begun = parts.map((part, chosen) => ({ from: part.overfit_from, chosen })).filter(({ from }) => from !== null);
    return {
      data,
      layout: layout(theme, 320, {
        showlegend: true,
        xaxis: axis(theme, { title: "epoch", rangemode: "tozero", ...(parts[0].epochs.length < 9 ? { dtick: 1 } : {}) }),
        yaxis: axis(theme, { ticksuffix: shown.suffix }),
        shapes: begun.map(({ from, chosen }) => ({
          type: "line", x0: from, x1: from, yref: "paper", y0: 0, y1: 1, line: { color: theme.series[chosen], width: 1.2, dash: "dot" },
        })),
        annotations: begun.map(({ from, chosen }) => ({
          x: from, yref: "paper", y: metric === "loss" ? 1 - 0.09 * chosen : 0.09 * (1 + chosen), yanchor: "top", showarrow: false, bgcolor: theme.page,
          xanchor: from > parts[0].epochs.length / 2 ? "right" : "left", font: { size: 11, color: theme.series[chosen] },
          text: `${parts.length > 1 ? `${parts[chosen].setting + 1} ` : ""}overfits from here`,
        })),
      }),
    };
  }

  function calibration(report, theme, numbers) {
    const parts = numbers.map((number) => report.calibration.find((one) => one.setting === number)).filter(Boolean);
    const data = [{
      type: "scatter", mode: "lines", x: [0, 100], y: [0, 100], line: { color: theme.muted, width: 1, dash: "dot" }, hoverinfo: "skip", showlegend: false,
    }];
    parts.forEach((part, chosen) => {
      const most = Math.max(...part.counts);
      const colour = theme.series[chosen];
      const centres = part.counts.map((_, place) => (100 * (place + 0.5)) / part.counts.length);
      const filled = part.counts.map((_, place) => place).filter((place) => part.accuracies[place] !== null);
      const at = (values) => filled.map((place) => values[place]);
      data.push({
        type: "scatter", mode: "markers", name: `setting ${part.setting + 1}`, x: at(part.confidences).map((value) => 100 * value), y: at(part.accuracies).map((value) => 100 * value),
        marker: { color: colour, symbol: SYMBOLS[chosen], size: at(part.counts).map((count) => 6 + 8 * Math.sqrt(count / most)) },
        customdata: at(part.counts), hovertemplate: "confidence %{x:.1f} %<br>accuracy %{y:.1f} %<br>%{customdata} images<extra></extra>",
      }, {
        type: "bar", x: centres, y: part.counts, yaxis: "y2", marker: { color: faint(colour, 0.55) }, showlegend: false,
        hovertemplate: "%{y} images<extra></extra>",
      });
    });
    return {
      data,
      layout: layout(theme, 420, {
        showlegend: parts.length > 1, bargap: 0.15,
        xaxis: axis(theme, { title: "confidence", range: [0, 102], ticksuffix: " %", anchor: "y2" }),
        yaxis: axis(theme, { title: "accuracy", range: [0, 103], ticksuffix: " %", domain: [0.3, 1] }),
        yaxis2: axis(theme, { title: "images", domain: [0, 0.22], nticks: 3, rangemode: "tozero" }),
      }),
    };
  }

  // The last ones are tools, which the pages of the live view and of the lesson use too.
  return {
    effect, response, labels, interaction, curve, calibration, plain, unit, words, scaled, axis, layout, faint, errors, DASHES,
    SYMBOLS,
  };
})();
