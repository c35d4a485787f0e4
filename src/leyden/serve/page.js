"use strict";
/* Sends each image to /predict by itself, a few at a time, and shows what comes back beside it. */
const AT_ONCE = 4;
const SMALL = 64;  // pixels: an image below is shown with its pixels to be seen
const MOST_SHOWN = 200;
const byId = (id) => document.getElementById(id);
const waiting = [];
let underWay = 0;
let answered = 0;

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

const percent = (probability) => `${(100 * probability).toFixed(1)} %`;

function row({ class: name, probability }) {
  const made = element("tr");
  const label = element("td", name);
  const meter = element("div", "", "meter");
  const share = element("span");
  share.style.width = percent(probability).replace(" ", "");
  meter.append(share);
  label.append(meter);
  made.append(label, element("td", percent(probability)));
  return made;
}

function said(answer) {
  if (answer.error !== undefined) return element("p", answer.error, "error");
  if (answer.value !== undefined) return element("p", Number(answer.value.toPrecision(6)).toString(), "value");
  if (!answer.classes.length) return element("p", "none of the classes", "value");
  const table = element("table");
  table.append(...answer.classes.map(row));
  return table;
}

function card(file) {
  const item = element("li");
  const image = element("img");
  image.alt = "";
  image.src = URL.createObjectURL(file);
  image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth <= SMALL));
  image.addEventListener("error", () => image.remove());
  const text = element("div", "", "said");
  text.append(element("p", file.name, "file"), element("p", "waits …", "waiting"));
  item.append(image, text);
  byId("answers").prepend(item);
  for (const old of [...byId("answers").children].slice(MOST_SHOWN)) forget(old);
  return text;
}

function forget(item) {
  const image = item.querySelector("img");
  if (image) URL.revokeObjectURL(image.src);
  item.remove();
}

async function ask(file) {
  try {
    const response = await fetch("predict", { method: "POST", body: file });
    const found = await response.json();
    return response.ok ? found.answers[0] : found;
  } catch (error) {
    return { error: "the server does not answer" };
  }
}

async function next() {
  if (underWay >= AT_ONCE || !waiting.length) return;
  const { file, text } = waiting.shift();
  underWay += 1;
  const answer = await ask(file);
  underWay -= 1;
  answered += 1;
  text.querySelector(".waiting").replaceWith(said(answer));
  byId("count").textContent = `${answered} of ${answered + underWay + waiting.length}`;
  next();
}

function take(files) {
  byId("answers-section").hidden = !byId("answers").children.length && !files.length;
  for (const file of files) waiting.push({ file, text: card(file) });
  byId("count").textContent = `${answered} of ${answered + underWay + waiting.length}`;
  for (let number = 0; number < AT_ONCE; number += 1) next();
}

async function describe() {
  const token = new URLSearchParams(location.search).get("token");
  const bearer = token ? `-H 'Authorization: Bearer ${token.replaceAll("'", "'\\''")}' ` : "";
  byId("command").textContent = `curl ${bearer}--data-binary @photo.jpg ${new URL("predict", location.href.split("?")[0])}`;
  try {
    const facts = await (await fetch("health")).json();
    const names = facts.classes;
    byId("network").textContent = facts.network;
    document.title = `${facts.network} – Leyden`;
    const shown = names.slice(0, 12).join(", ") + (names.length > 12 ? ` and ${names.length - 12} more` : "");
    byId("facts").textContent = names.length ? `${names.length.toLocaleString("en")} classes: ${shown}` : "answers with a number";
    byId("note").textContent = facts.probabilities ? `Probabilities are ${facts.probabilities}.` : "";
    byId("note").hidden = !facts.probabilities;
  } catch (error) {
    byId("trouble").textContent = "The server does not answer: is it still running?";
  }
}

const drop = byId("drop");
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  take([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => take([...event.clipboardData.files]));
byId("choose").addEventListener("click", () => byId("files").click());
byId("files").addEventListener("change", (event) => { take([...event.target.files]); event.target.value = ""; });
byId("clear").addEventListener("click", () => {
  waiting.length = 0;
  answered = 0;
  [...byId("answers").children].forEach(forget);
  byId("answers-section").hidden = true;
  byId("choose").focus();
});
describe();
