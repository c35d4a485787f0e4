// One run > details > page.js: how it stands, its facts, pictures, error, and the end of its log.
"use strict";

const details = (() => {
  const { make, tell } = table;
  const byId = (id) => document.getElementById(id);

  // What is the same stays as it is, and what one has selected there, selected.
  const told = new WeakMap();
  function isNew(place, content) {
    const text = JSON.stringify(content);
    if (told.get(place) === text) return false;
    told.set(place, text);
    return true;
  }

  function pairs(place, facts) {
    if (!isNew(place, facts)) return;
    place.replaceChildren(...facts.map(([name, value]) =>
      make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value }))));
  }

  function text(id, content) {
    byId(id).hidden = !content;
    tell(byId(id).querySelector("pre"), content);
  }

  function pictures(found, label) {
    const place = byId("run-pictures").querySelector(".pictures");
    byId("run-pictures").hidden = !found.length;
    if (!isNew(place, found)) return;
    place.replaceChildren(...found.map((path) => {
      const name = path.split("/").at(-1).replace(/\.\w+$/, "").replaceAll("_", " ");
      const link = make("a", { href: words.address(path), target: "_blank", rel: "noopener" });
      const picture = () => make("img", { src: words.address(path), alt: `${name} of ${label}`, loading: "lazy" });
      link.append(path.endsWith(".png") ? picture() : name);
      return link;
    }));
  }

  function show(found, run) {
    tell(byId("run-heading"), run.label);
    tell(byId("run-state"), found.state);
    const fact = (name, value) => (["started", "ended"].includes(name) ? words.date(value) : value);
    const facts = Object.entries(found.facts).map(([name, value]) => [name.replaceAll("_", " "), fact(name, value)]);
    const measured = Object.entries(found.metrics).filter(([, value]) => value !== null);
    const shown = measured.map(([name, value]) => [name, String(Number(value.toPrecision(4)))]);
    pairs(byId("run-facts"), [["directory", found.path || "."], ...Object.entries(run.settings), ...shown, ...facts]);
    text("run-error", found.error);
    text("run-log", found.log);
    text("run-config", found.config);
    pictures(found.pictures, run.label);
  }

  // The settings in which runs differ.
  function differing(runs) {
    const keys = [...new Set(runs.flatMap((run) => Object.keys(run.settings)))];
    return keys.filter((key) => new Set(runs.map((run) => run.settings[key])).size > 1);
  }

  function settings(runs) {
    const keys = differing(runs);
    byId("settings-section").hidden = runs.length < 2 || !keys.length;
    const place = byId("settings");
    if (!isNew(place, runs.map((run) => [run.path, run.settings]))) return;
    const head = make("tr", {}, ...["run", ...keys].map((key) => make("th", { scope: "col", textContent: key })));
    const name = (run) => (run.study === null ? run.name : run.path.split("/").at(-1));
    const rows = runs.map((run) => make("tr", {}, make("th", { scope: "row", textContent: name(run) }),
      ...keys.map((key) => make("td", { textContent: run.settings[key] ?? "" }))));
    place.replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
  }

  return { show, settings, differing };
})();
