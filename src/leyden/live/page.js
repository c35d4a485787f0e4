// Table, curves, details > page: asks the server for what is new, and answers clicks; the address keeps what is chosen.
"use strict";

(() => {
  const byId = (id) => document.getElementById(id);
  const { make, tell } = table;
  const FEW_RUNS = 20; // of the newest study are shown at once
  const PAUSE = 1000; // milliseconds between two questions; hidden pages ask less often
  const PAUSE_HIDDEN = 15000;
  const SHARE = 8; // and a server that takes long over the listing has as many times that to rest
  const MOST_DRAWN = 60; // runs with a line of their own, and those that are asked for at once
  const MOST_TOGETHER = 400; // of one study, of which bands are drawn; fewer than the server keeps in memory
  const KINDS = ["classes", "layers"]; // of curves that come where they are asked for
  const OPTIONS = { displayModeBar: false, displaylogo: false, responsive: true };

  const listing = { runs: [], studies: [], directory: "" };
  const tags = new Map(); // of answers, by their addresses
  const rows = new Map(); // of metrics.csv, by the paths of runs
  const settings = new Map(); // in which the chosen runs differ, by their paths
  const view = {
    filter: "", status: "", sort: { key: "started", sign: -1 }, open: new Set(), colours: new Map(), opened: null,
  };
  // `chosen` are paths of runs and studies; null means the newest of all.
  const choice = { chosen: null, opened: null, group: "", place: "epoch", log: false, classes: false, layers: false };
  let items = [];
  let settingsOf = ""; // the runs that `settings` is about

  // The address

  function readAddress() {
    const asked = new URLSearchParams(location.hash.slice(1));
    choice.chosen = asked.has("runs") ? asked.getAll("runs").filter(Boolean) : null;
    choice.opened = asked.get("open");
    choice.group = asked.get("by") ?? "";
    choice.place = asked.get("over") === "step" ? "step" : "epoch";
    choice.log = asked.has("log");
    [byId("place").value, byId("log").checked] = [choice.place, choice.log];
    for (const kind of KINDS) byId(kind).checked = choice[kind] = asked.has(kind);
  }

  function writeAddress() {
    const told = new URLSearchParams();
    for (const path of choice.chosen?.length ? choice.chosen : choice.chosen ? [""] : []) told.append("runs", path);
    if (choice.opened !== null) told.set("open", choice.opened);
    if (choice.group) told.set("by", choice.group);
    if (choice.place !== "epoch") told.set("over", choice.place);
    if (choice.log) told.set("log", "1");
    for (const kind of KINDS) if (choice[kind]) told.set(kind, "1");
    history.replaceState(null, "", `${location.pathname}${String(told) && "#"}${told}`); // without the token, too
  }

  // What is chosen

  const began = (item) => item.keys.started ?? "";
  const newest = () => [...items].sort((one, other) => (began(one) < began(other) ? 1 : -1)).slice(0, 1);

  function chosenRuns() {
    const picked = choice.chosen === null ? newest() : choice.chosen.map((path) => find(path)).filter(Boolean);
    return [...new Set(picked.flatMap((item) => (item.isStudy ? item.runs : [item])))];
  }

  const allRuns = () => items.flatMap((item) => (item.isStudy ? item.runs : [item]));
  const find = (path) => items.find((item) => item.path === path) ?? allRuns().find((run) => run.path === path);

  function choose(path, isChosen) {
    const item = find(path);
    const paths = (some) => some.map((one) => one.path);
    const mine = item.isStudy ? [path, ...paths(item.runs)] : [path];
    let before = choice.chosen ?? (chosenRuns()[0]?.study != null ? [chosenRuns()[0].study] : paths(chosenRuns()));
    if (!isChosen && item.study != null && before.includes(item.study)) // all of its study's but this one
      before = before.flatMap((one) => (one === item.study ? paths(find(one).runs) : [one]));
    choice.chosen = [...before.filter((one) => !mine.includes(one)), ...(isChosen ? [path] : [])];
    change();
  }

  function open(path) {
    choice.opened = choice.opened === path ? null : path;
    change().then(() => { if (choice.opened !== null) byId("run-heading").focus(); });
  }

  const opened = () => {
    const path = choice.opened ?? (chosenRuns().length === 1 ? chosenRuns()[0].path : null);
    return path === null ? null : allRuns().find((run) => run.path === path) ?? null;
  };

  // Questions to the server; null where the answer is what it was

  async function ask(address) {
    const headers = tags.has(address) ? { "If-None-Match": tags.get(address) } : {};
    const answer = await fetch(address, { headers, cache: "no-store" });
    if (answer.status === 304) return null;
    if (!answer.ok) throw new Error(answer.status === 404 ? "gone" : (await answer.text()).slice(0, 300));
    const found = await answer.json();
    tags.set(address, answer.headers.get("ETag")); // not earlier: an answer may break off
    return found;
  }

  async function askListing() {
    const found = await ask("api/runs");
    if (found) Object.assign(listing, found);
    const isFirst = !items.length;
    items = table.itemsOf(listing);
    const [first] = newest();
    if (isFirst && first?.isStudy && first.runs.length <= FEW_RUNS) view.open.add(first.path);
    for (const run of allRuns()) run.settings = run.factors;
  }

  async function askRows(runs) {
    let isNew = false;
    for (let begin = 0; begin < runs.length; begin += MOST_DRAWN)
      if (await askSomeRows(runs.slice(begin, begin + MOST_DRAWN))) isNew = true;
    return isNew;
  }

  async function askSomeRows(runs) {
    const asked = new URLSearchParams();
    for (const { path } of runs) {
      asked.append("run", path);
      asked.append("have", rows.has(path) ? `${rows.get(path).version}:${rows.get(path).rows}` : "");
    }
    for (const kind of KINDS) if (choice[kind]) asked.set(kind, "true");
    const found = await ask(`api/metrics?${asked}`);
    tags.delete(`api/metrics?${asked}`); // each is asked but once
    let isNew = false;
    for (const { path, begin, columns, ...more } of found) {
      const known = rows.get(path);
      const goesOn = known?.version === more.version && known.rows === begin;
      isNew ||= !goesOn || more.rows > begin;
      for (const name of goesOn ? Object.keys(columns) : []) columns[name] = known.columns[name].concat(columns[name]);
      rows.set(path, { ...more, columns });
    }
    return isNew;
  }

  // A study knows in what its runs differ; of others their configs tell.
  const areOfOneStudy = (runs) => runs.every((run) => run.study !== null && run.study === runs[0].study);

  async function askSettings(runs) {
    const about = areOfOneStudy(runs) ? "" : runs.map((run) => run.path).join("\n");
    if (about && about !== settingsOf) {
      const asked = new URLSearchParams(runs.map((run) => ["run", run.path]));
      const found = await ask(`api/settings?${asked}`);
      tags.delete(`api/settings?${asked}`);
      runs.forEach((run, place) => settings.set(run.path, found[place]));
    }
    settingsOf = about;
    if (about) for (const run of runs) run.settings = settings.get(run.path) ?? {};
  }

  // Showing

  function theme() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    return {
      text: colour("text"), muted: colour("muted"), line: colour("line"), soft: colour("soft"), page: colour("page"),
      font: style.getPropertyValue("--sans").trim(),
      series: [1, 2, 3, 4, 5, 6].map((number) => colour(`series-${number}`)),
      canHover: matchMedia("(hover: hover)").matches, isDark: matchMedia("(prefers-color-scheme: dark)").matches,
    };
  }

  const show = table.create(byId("runs"), byId("all"), {
    choose, open, change: () => showTable(),
    unfold: (path) => { if (!view.open.delete(path)) view.open.add(path); showTable(); },
    sort: (key) => { view.sort = { key, sign: view.sort.key === key ? -view.sort.sign : 1 }; showTable(); },
  });

  function showTable() {
    view.opened = opened()?.path ?? null;
    const shown = show(items, view);
    const runs = allRuns();
    const running = runs.filter((run) => run.status === "running").length;
    const numStudies = listing.studies.length;
    const [numRuns, numShown] = [runs.length.toLocaleString("en"), shown.filter((item) => !item.isStudy).length];
    tell(byId("directory"), listing.directory);
    const told = [`${numRuns} ${runs.length === 1 ? "run" : "runs"}`];
    told.push(`${numStudies} ${numStudies === 1 ? "study" : "studies"}`);
    if (running) told.push(`${running} running`);
    tell(byId("now"), `· ${told.join(", ")}`);
    tell(byId("count"), view.filter || view.status ? `${numShown.toLocaleString("en")} of ${numRuns} runs` : "");
    document.title = `${running ? `${running} running` : "Runs"} – Leyden`;
    byId("nothing").hidden = items.length > 0;
    const empty = `There is no run in ${listing.directory} yet. Begin one with make train: it appears here by itself.`;
    tell(byId("nothing"), items.length ? "" : empty);
  }

  function showGroups(runs) {
    const keys = details.differing(runs);
    if (!keys.includes(choice.group)) keys.push(...(choice.group ? [choice.group] : []));
    const select = byId("group");
    if (JSON.stringify(keys) !== select.dataset.keys) {
      select.dataset.keys = JSON.stringify(keys);
      select.replaceChildren(new Option("run", ""), ...keys.map((key) => new Option(key, key)));
    }
    select.value = choice.group;
  }

  function showLegend(series, numLeftOut) {
    const size = (num) => (num === 1 ? "1 run" : `mean of ${num} runs, band from least to most`);
    const told = series.map((one) => (choice.group ? `${one.label} – ${size(one.runs.length)}` : one.label));
    const legend = byId("legend");
    legend.replaceChildren(...series.map((one, place) => {
      const swatch = make("span", { className: "swatch" });
      swatch.style.background = one.colour;
      return make("li", {}, swatch, told[place]);
    }));
    const numDrawn = series.flatMap((one) => one.runs).length;
    const leftOut = ` The first ${numDrawn} runs are drawn, ${numLeftOut.toLocaleString("en")} more are chosen` +
      `${choice.group ? "." : ": of a study, colour by a factor to see all."}`;
    tell(byId("lines"), `Training is dotted, validation solid.${numLeftOut ? leftOut : ""}`);
  }

  // Charts are drawn when they come into sight.
  const figures = new Map();
  const inSight = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) {
      const figure = figures.get(target.dataset.metric);
      if (!figure) continue;
      figure.isSeen = isIntersecting;
      drawOne(figure);
    }
  }, { rootMargin: "200px" });

  function drawOne(figure) {
    if (!figure.isSeen || figure.isDrawn) return;
    figure.isDrawn = true;
    const { data, layout } = figure.made.draw();
    Plotly.react(figure.chart, data, { ...layout, autosize: true }, OPTIONS);
  }

  function showCurves(series) {
    const made = curves.figures(series, rows, choice, theme());
    for (const metric of figures.keys()) {
      if (made.some((one) => one.metric === metric)) continue;
      Plotly.purge(figures.get(metric).chart);
      figures.get(metric).element.remove();
      figures.delete(metric);
    }
    for (const one of made) {
      if (!figures.has(one.metric)) {
        const chart = make("div", { className: "chart" });
        chart.dataset.metric = one.metric;
        chart.setAttribute("role", "img");
        const caption = make("figcaption", { textContent: one.metric.replaceAll("_", " ") });
        figures.set(one.metric, { chart, element: make("figure", {}, caption, chart) });
        inSight.observe(chart);
      }
      const figure = figures.get(one.metric);
      Object.assign(figure, { made: one, isDrawn: false });
      const what = `${series.length} ${choice.group ? "groups" : "runs"}`;
      figure.chart.setAttribute("aria-label", `${one.metric} over ${choice.place}s of ${what}`);
      drawOne(figure);
    }
    const place = byId("charts");
    const elements = made.map((one) => figures.get(one.metric).element);
    if (elements.some((element, number) => place.children[number] !== element)) place.replaceChildren(...elements);
    for (const kind of KINDS)
      byId(`${kind}-label`).hidden = ![...rows.values()].some((one) => one[`has_${kind}`]);
  }

  let shownAs = ""; // what the charts were made of, beside their rows
  async function showChosen() {
    const asked = JSON.stringify(choice);
    const runs = chosenRuns();
    const isOfOneStudy = areOfOneStudy(runs);
    const drawn = runs.slice(0, isOfOneStudy && choice.group ? MOST_TOGETHER : MOST_DRAWN);
    byId("chosen").hidden = !runs.length;
    await askSettings(drawn);
    const isNew = await askRows(drawn);
    if (JSON.stringify(choice) !== asked) return; // another choice was made meanwhile: the next turn shows it
    const series = curves.seriesOf(drawn, choice.group, theme());
    view.colours = new Map(runs.map((run) => [run.path, ""]));
    for (const one of series) for (const run of one.runs) view.colours.set(run.path, one.colour);
    const told = JSON.stringify([[...view.colours], series.map((one) => one.label), choice]);
    if (isNew || told !== shownAs) {
      showGroups(isOfOneStudy ? runs : drawn);
      showLegend(series, runs.length - drawn.length);
      showCurves(series);
      details.settings(drawn);
    }
    shownAs = told;
  }

  const answers = new Map(); // details, by the paths of runs
  async function showOpened() {
    const run = opened();
    byId("run").hidden = !run;
    if (!run) return;
    const answer = await ask(`api/run/${run.path.split("/").map(encodeURIComponent).join("/")}`);
    if (answer) answers.set(run.path, answer);
    details.show(answers.get(run.path), run);
  }

  // One question after the other: what is newer is never overwritten by what is older.
  let turn = Promise.resolve();
  function change(isAnew = false) {
    writeAddress();
    turn = turn.then(async () => {
      if (isAnew) rows.clear(); // not earlier: an answer under way goes on with rows that are there
      try {
        await showChosen();
        showTable();
        await showOpened();
      } catch (error) {
        if (error.message !== "gone") throw error; // the next listing will say so
      }
    }).catch(tellTrouble);
    return turn;
  }

  function tellTrouble(error) {
    const isAway = error instanceof TypeError && /fetch/i.test(error.message);
    tell(byId("trouble"), isAway ? "The server does not answer: what is shown is what was known last." : error.message);
  }

  let timer;
  async function poll() {
    clearTimeout(timer);
    const begun = performance.now();
    let pause = PAUSE;
    try {
      await askListing();
      pause = Math.max(PAUSE, SHARE * (performance.now() - begun));
      tell(byId("trouble"), "");
      showTable();
      await change();
    } catch (error) {
      tellTrouble(error);
    }
    timer = setTimeout(poll, document.hidden ? PAUSE_HIDDEN : pause);
  }

  // Controls

  byId("status").append(...table.STATUSES.map((status) => new Option(status, status)));
  byId("filter").addEventListener("input", (event) => { view.filter = event.target.value; showTable(); });
  byId("status").addEventListener("change", (event) => { view.status = event.target.value; showTable(); });
  byId("group").addEventListener("change", (event) => { choice.group = event.target.value; change(); });
  byId("place").addEventListener("change", (event) => { choice.place = event.target.value; change(); });
  byId("log").addEventListener("change", (event) => { choice.log = event.target.checked; change(); });
  for (const kind of KINDS) {
    byId(kind).addEventListener("change", (event) => {
      choice[kind] = event.target.checked;
      change(true);
    });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { shownAs = ""; change(); });
  addEventListener("hashchange", () => { readAddress(); change(true); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
  readAddress();
  poll();
})();
