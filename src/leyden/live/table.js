// Listing > table > page.js: a row for each study and each run, kept in place while the listing changes under them.
"use strict";

const words = {
  value: ({ value, is_share: isShare }) =>
    (isShare ? `${(100 * value).toFixed(1)} %` : String(Number(value.toPrecision(3)))),
  seconds: (seconds) => {
    const [whole, minutes] = [Math.round(seconds), Math.round(seconds / 60)];
    if (whole < 60) return `${whole} s`;
    const and = (rest, unit) => (rest ? ` ${rest} ${unit}` : "");
    if (whole < 3600) return `${Math.floor(whole / 60)} min${and(whole % 60, "s")}`;
    return `${Math.floor(minutes / 60)} h${and(minutes % 60, "min")}`;
  },
  date: (text) => {
    const moment = new Date(text ?? "");
    if (Number.isNaN(moment.valueOf())) return text ?? "";
    return moment.toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  },
  factors: (factors) => Object.entries(factors).map(([key, level]) => `${key}=${level}`).join(" "),
  run: (run) => words.factors(run.factors) || run.name,
  address: (path) => `files/${path.split("/").map(encodeURIComponent).join("/")}`,
};

const table = (() => {
  const FIRST_ROWS = 300; // before one asks for all
  const STATUSES = ["running", "finished", "pruned", "interrupted", "failed", "damaged", "waiting"];
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const tell = (element, text) => { if (element.textContent !== text) element.textContent = text; };

  // What is unknown comes last in both directions.
  function compare(first, second, sign) {
    if (first === null || second === null) return (first === null) - (second === null);
    if (typeof first === "number" && typeof second === "number") return sign * (first - second);
    return sign * String(first).localeCompare(String(second), "en", { numeric: true });
  }

  const seconds = (run) => (run.status === "running" ? (Date.now() - new Date(run.started)) / 1000 : run.seconds);
  function progress(run) {
    if (run.status !== "running") return run.seconds === null ? "" : words.seconds(run.seconds);
    const epoch = run.epoch ?? (Number.isInteger(run.heartbeat?.epoch) ? run.heartbeat.epoch + 1 : null);
    if (epoch === null) return "before its first step";
    return run.epochs === null ? `epoch ${epoch}` : `epoch ${Math.min(epoch, run.epochs)} of ${run.epochs}`;
  }

  function runItem(run) {
    return {
      ...run, isStudy: false, label: words.run(run), progress: progress(run), tested: run.test,
      keys: { name: words.run(run), status: run.status, progress: seconds(run), best: run.best?.value ?? null,
              test: run.test?.value ?? null, started: run.started },
    };
  }

  function studyItem(study, runs) {
    const sign = runs.find((run) => run.best)?.best.direction === "min" ? 1 : -1;
    const first = runs.filter((run) => run.best).sort((one, other) => sign * (one.best.value - other.best.value))[0];
    const ofRuns = (status) => runs.filter((run) => run.status === status).length;
    const count = (status) => (status === "waiting" ? study.waiting : ofRuns(status));
    const counts = STATUSES.map((status) => [status, count(status)]).filter(([, number]) => number);
    const ended = runs.filter((run) => !["running", "interrupted"].includes(run.status)).length;
    const status = study.reason ? "damaged" : counts[0]?.[0] ?? "waiting";
    const [best, tested] = [first?.best ?? null, first?.tested ?? null];
    const started = runs.map((run) => run.started ?? "").sort().at(-1) || null;
    return {
      ...study, isStudy: true, label: study.name, runs, status, best, tested, started, counts,
      progress: `${ended} of ${runs.length + study.waiting}`,
      keys: { name: study.name, status, progress: ended, best: best?.value ?? null,
              test: tested?.value ?? null, started },
    };
  }

  // Studies with their runs, and the runs of their own.
  function itemsOf(listing) {
    const runs = listing.runs.map(runItem);
    const studies = listing.studies.map((study) => studyItem(study, runs.filter((run) => run.study === study.path)));
    return [...studies, ...runs.filter((run) => run.study === null)];
  }

  // Which rows are shown, in their order. A study is there with a run that fits, and open while one searches.
  function rowsOf(items, { filter, status, sort, open }) {
    const looked = filter.toLowerCase().split(/\s+/).filter(Boolean);
    const told = (item) => `${item.path} ${item.label} ${item.status} ${item.reason ?? ""}`.toLowerCase();
    const stands = (item) => item.status === status || item.counts?.some(([one]) => one === status); // a study has many
    const fits = (item, before = "") =>
      (!status || stands(item)) && looked.every((word) => (before + told(item)).includes(word));
    const { key, sign } = sort;
    const ordered = (some) => [...some].sort((one, other) => compare(one.keys[key], other.keys[key], sign));
    const rows = [];
    for (const item of ordered(items)) {
      if (!item.isStudy) {
        if (fits(item)) rows.push(item);
        continue;
      }
      const inside = ordered(item.runs).filter((run) => fits(run, `${told(item)} `));
      if (!inside.length && !fits(item)) continue;
      rows.push(item);
      if (open.has(item.path) || looked.length || status) rows.push(...inside);
    }
    return rows;
  }

  function makeRow(item, on) {
    const box = make("input", { type: "checkbox" });
    box.addEventListener("change", () => on.choose(item.path, box.checked));
    const swatch = make("span", { className: "swatch" });
    const name = make("button", { type: "button", className: "name" });
    name.addEventListener("click", () => (item.isStudy ? on.unfold(item.path) : on.open(item.path)));
    const report = make("a", { textContent: "report", hidden: true, target: "_blank", rel: "noopener" });
    const reason = make("span", { className: "reason", hidden: true });
    const cells = Array.from({ length: 6 }, () => make("td"));
    cells[0].append(make("div", { className: "who" }, box, swatch, name, report), reason);
    for (const place of [3, 4]) cells[place].className = "number";
    const row = make("tr", { className: item.isStudy ? "study" : item.study === null ? "" : "job" }, ...cells);
    return { row, box, swatch, name, report, reason, cells };
  }

  function update({ row, box, swatch, name, report, reason, cells }, item, view) {
    const isChosen = (run) => view.colours.has(run.path);
    const chosen = item.isStudy ? item.runs.filter(isChosen).length : isChosen(item);
    box.checked = item.isStudy ? chosen > 0 && chosen === item.runs.length : chosen;
    box.indeterminate = item.isStudy && chosen > 0 && chosen < item.runs.length;
    box.setAttribute("aria-label", `choose ${item.study ? `${item.study} ` : ""}${item.label}`);
    swatch.hidden = item.isStudy;
    swatch.style.background = view.colours.get(item.path) ?? "transparent";
    tell(name, item.label);
    if (item.isStudy) name.setAttribute("aria-expanded", view.open.has(item.path));
    else row.classList.toggle("opened", item.path === view.opened);
    report.hidden = !item.report;
    if (item.report) {
      report.href = words.address(item.report);
      report.setAttribute("aria-label", `report of ${item.label}`);
    }
    reason.hidden = !item.reason;
    tell(reason, item.reason ?? "");
    reason.title = item.reason ?? "";
    cells[1].dataset.status = item.status;
    const counts = item.isStudy ? item.counts.map(([one, count]) => `${count} ${one}`).join(", ") : "";
    tell(cells[1], counts || item.status);
    tell(cells[2], item.progress);
    tell(cells[3], item.best ? words.value(item.best) : "");
    tell(cells[4], item.tested ? words.value(item.tested) : "");
    cells[3].title = item.best?.name ?? "";
    cells[4].title = item.tested?.name ?? "";
    tell(cells[5], words.date(item.started));
  }

  // Which metric a column is of, where it is the same in all rows.
  function nameColumn(head, name, measured) {
    const names = [...new Set(measured.filter(Boolean).map((one) => one.name))];
    const isTold = names.length === 1 && names[0].startsWith(`${name}/`);
    tell(head.firstElementChild, names.length !== 1 ? name : isTold ? names[0] : `${name} ${names[0]}`);
  }

  // The table keeps its rows, so that neither the focus nor the place on the page is lost.
  function create(element, all, on) {
    const known = new Map();
    const body = element.tBodies[0];
    const heads = [...element.tHead.rows[0].cells];
    let most = FIRST_ROWS;
    for (const { firstElementChild: button } of heads) {
      button.addEventListener("click", () => on.sort(button.dataset.key));
    }
    all.addEventListener("click", () => { most = Infinity; on.change(); });

    return function show(items, view) {
      const rows = rowsOf(items, view);
      for (const head of heads) {
        const isSorted = head.firstElementChild.dataset.key === view.sort.key;
        if (isSorted) head.setAttribute("aria-sort", view.sort.sign > 0 ? "ascending" : "descending");
        else head.removeAttribute("aria-sort");
      }
      nameColumn(heads[3], "best", rows.map((item) => item.best));
      nameColumn(heads[4], "test", rows.map((item) => item.tested));
      const shown = rows.slice(0, most).map((item) => {
        const key = `${item.isStudy ? "study" : "run"} ${item.path}`;
        if (!known.has(key)) known.set(key, makeRow(item, on));
        update(known.get(key), item, view);
        return known.get(key).row;
      });
      if (shown.length !== body.rows.length || shown.some((row, place) => row !== body.rows[place])) {
        const focused = document.activeElement;
        body.replaceChildren(...shown);
        if (body.contains(focused)) focused.focus({ preventScroll: true });
      }
      all.hidden = rows.length <= most;
      tell(all, `Show all ${rows.length.toLocaleString("en")} rows`);
      return rows;
    };
  }

  return { create, itemsOf, make, tell, STATUSES };
})();
