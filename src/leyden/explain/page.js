// Draws the map of features: a colour for each class, crosses where the answer is wrong; again when light turns dark.
const chart = document.getElementById("features-chart");
const dark = matchMedia("(prefers-color-scheme: dark)");

function colourOf(number, isDark) {
  return `hsl(${(number * 137.5) % 360} ${isDark ? "70% 65%" : "75% 38%"})`;  // the golden angle keeps neighbours apart
}

function draw() {
  const style = getComputedStyle(document.documentElement);
  const text = style.getPropertyValue("--text"), line = style.getPropertyValue("--line");
  const series = traces.map((trace) => ({
    type: "scattergl", mode: "markers", x: trace.x, y: trace.y, text: trace.text, hoverinfo: "text",
    name: trace.name, legendgroup: trace.name, showlegend: !trace.wrong,
    marker: {
      color: colourOf(trace.class ?? 0, dark.matches), size: trace.wrong ? 9 : 5,
      symbol: trace.wrong ? "x-thin-open" : "circle", opacity: trace.wrong ? 1 : 0.7, line: {width: trace.wrong ? 2 : 0},
    },
  }));
  const axis = {showticklabels: false, zeroline: false, showgrid: false, linecolor: line, mirror: true, showline: true};
  Plotly.react(chart, series, {
    xaxis: axis, yaxis: {...axis, scaleanchor: "x"}, margin: {l: 10, r: 10, t: 10, b: 10}, hovermode: "closest",
    paper_bgcolor: "transparent", plot_bgcolor: "transparent", font: {color: text}, legend: {orientation: "h"},
  }, {responsive: true, displaylogo: false});
}

draw();
dark.addEventListener("change", draw);
