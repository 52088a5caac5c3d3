// Results of `intact eval`: two runs beside each other, with filters, samples and trees, and the report of the server.

import { ask } from "/page/api.js";
import { button, byId, count, element, save } from "/page/dom.js";
import { takeFiles } from "/page/receipts.js";
import { FILTERS, mentions, pairs, readFiles } from "/page/results.js";
import { Search } from "/page/search.js";
import { replay, runOfTrace } from "/page/traces.js";

const SIDES = ["report-left", "report-right"];
const PAGE = 100;  // problems drawn at once
const MOST_SENT = 7 << 20;  // characters of result files, and of traces besides, that a request may have

const percent = (value) => `${(100 * value).toFixed(1)}%`;
const verdict = (correct) => (correct === true ? "✓ right" : correct === false ? "✗ wrong" : "? undecided");
const kind = (correct) => (correct === true ? "true" : correct === false ? "wrong" : "quiet");
const cells = (tag, values) => element("tr", {}, ...values.map((value) => element(tag, tag === "th" ? { scope: "col" } : {}, value)));

function table(head, rows, fields = {}) {
  return element("div", { className: "wide", tabIndex: 0 }, element("table", { className: "results", ...fields }, element("thead", {}, cells("th", head)), element("tbody", {}, ...rows)));
}

export class Report {
  constructor() {
    Object.assign(this, { runs: [], limit: PAGE });
    byId("report-filter").append(...Object.entries(FILTERS).map(([value, [words]]) => element("option", { value }, words)));
    for (const id of [...SIDES, "report-filter"]) byId(id).addEventListener("change", () => this.drawAll());
    byId("report-find").addEventListener("input", () => this.drawProblems());
    byId("report-open").addEventListener("click", () => byId("report").showModal());
    byId("report-close").addEventListener("click", () => byId("report").close());
    byId("report-make").addEventListener("click", () => this.makeReport());
    takeFiles("report-drop", "report-file", null, (files) => this.take(files));
    this.drawAll();
  }

  async take(files) {
    byId("report-problem").textContent = "";
    try {
      const read = await readFiles(files);
      const names = new Set(read.map(({ name }) => name));
      this.runs = [...this.runs.filter(({ name }) => !names.has(name)), ...read];
      this.offer();
    } catch (error) {
      byId("report-problem").textContent = error.message;
    }
  }

  /** Offer the opened runs on both sides: the last two, the older one on the left. */
  offer() {
    const last = this.runs.length - 1;
    SIDES.forEach((id, side) => {
      byId(id).replaceChildren(element("option", { value: "" }, "nothing"), ...this.runs.map(({ name }, i) => element("option", { value: String(i) }, name)));
      const chosen = this.runs.length > 1 ? last - 1 + side : side === 0 ? last : -1;
      byId(id).value = chosen >= 0 ? String(chosen) : "";
    });
    this.drawAll();
  }

  get sides() {
    return SIDES.map((id) => this.runs[Number(byId(id).value || -1)] ?? null);
  }

  drawAll() {
    this.limit = PAGE;
    const shown = this.sides.filter(Boolean);
    byId("report-body").hidden = !shown.length;
    byId("report-sections").replaceChildren();
    if (!shown.length) return;
    byId("report-scores").replaceChildren(table(
      ["run", "model", "method", "task", "metric", "score", "95% interval", "problems"],
      shown.flatMap((run) => run.scores.map((one) => cells("td", [
        run.name, run.manifest.models.map(({ name }) => name).join(", "), run.manifest.method.name.replaceAll("_", " "), run.manifest.tasks[one.task].label, one.metric,
        one.value.toPrecision(4), one.low === null || one.low === undefined ? "none" : `${one.low.toPrecision(4)} to ${one.high.toPrecision(4)}`, count(one.problems),
      ]))),
    ));
    this.drawProblems();
  }

  drawProblems() {
    const runs = this.sides;
    const [, fits] = FILTERS[byId("report-filter").value];
    const all = pairs(runs);
    const found = all.filter((pair) => fits(pair) && mentions(pair, byId("report-find").value));
    byId("report-count").textContent = `${count(found.length)} of ${count(all.length)} problems`;
    const rows = found.slice(0, this.limit).map((pair) => this.row(runs, pair));
    const sides = runs.map((run, side) => run && ["left", "right"][side]).filter(Boolean);
    byId("report-problems").replaceChildren(table(["problem", "seed", "reference", ...sides.flatMap((side) => [`answer, ${side}`, `verdict, ${side}`])], rows));
    if (found.length <= this.limit) return;
    byId("report-problems").append(button(`Show ${count(Math.min(PAGE, found.length - this.limit))} more`, () => {
      this.limit += PAGE;
      this.drawProblems();
    }));
  }

  row(runs, pair) {
    const { record: { id, seed, right } } = pair.find(Boolean);
    const open = button(id, () => this.drawProblem(runs, pair), { className: "problem" });
    const sides = pair.filter((_, side) => runs[side]).flatMap((one) => (one === null
      ? [element("td", {}, "not run"), element("td")]
      : [element("td", {}, one.record.answer ?? "none"), element("td", { className: kind(one.record.correct) }, verdict(one.record.correct))]));
    return element("tr", {}, element("td", {}, open), element("td", {}, String(seed)), element("td", {}, right), ...sides);
  }

  /** Show the samples and the tree of a problem, side by side. */
  drawProblem(runs, pair) {
    const sides = pair.map((one, side) => (one ? this.side(runs[side], one) : null)).filter(Boolean);
    const { record: { id } } = pair.find(Boolean);
    const title = element("h3", { tabIndex: -1 }, id);
    byId("report-problem-view").replaceChildren(title, element("div", { className: "sides" }, ...sides));
    title.focus();
  }

  side(run, { record, index }) {
    const { samples, cost, why, error, confidence, chosen } = record;
    const facts = [`${count(cost.tokens ?? 0)} tokens`, `ended: ${why}`, ...(confidence === null || confidence === undefined ? [] : [`confidence ${percent(confidence)}`])];
    const rows = samples.map((one, i) => element(
      "tr", { className: i === chosen ? "chosen" : "" },
      element("td", {}, one.branch + (i === chosen ? " ★" : "")), element("td", {}, one.answer ?? "none"), element("td", { className: kind(one.correct) }, verdict(one.correct)),
      element("td", {}, count(one.tokens)), element("td", {}, one.logprob.toFixed(2)), element("td", {}, one.why),
      element("td", {}, Object.entries(one.rewards ?? {}).map(([name, value]) => `${name} ${value.toPrecision(3)}`).join(", ")),
    ));
    const made = element(
      "div", {}, element("h4", {}, run.name), element("p", { className: "figures" }, ...facts.map((words) => element("span", {}, words))),
      ...(error ? [element("p", { className: "wrong" }, error)] : []), table(["sample", "answer", "verdict", "tokens", "log-probability", "ended", "rewards"], rows),
    );
    made.append(this.tree(run, index));
    return made;
  }

  tree(run, index) {
    if (!run.traces) return element("p", { className: "quiet" }, `Open ${run.name.replace(/\.jsonl$/, ".traces.jsonl")} together with the result to see the texts.`);
    try {
      const search = new Search();
      replay(search, runOfTrace(JSON.parse(run.traces[index])));
      return search.root;
    } catch (error) {
      return element("p", { className: "wrong" }, `The trace of this problem is damaged: ${error.message}`);
    }
  }

  /** Have the server make the report on the shown runs. */
  async makeReport() {
    const shown = [...new Set(this.sides.filter(Boolean))];
    const place = byId("report-sections");
    place.replaceChildren(element("p", { role: "status" }, "Making the report …"));
    byId("report-make").disabled = true;
    try {
      const length = shown.reduce((sum, { source }) => sum + source.length, 0);
      if (length > MOST_SENT) throw new Error(`these files are too large for the server (more than ${MOST_SENT >> 20} MiB): use intact report on the command line`);
      const withTraces = length + shown.reduce((sum, { tracesSource }) => sum + (tracesSource?.length ?? 0), 0) <= MOST_SENT;
      const runs = shown.map(({ name, source, tracesSource }) => ({ name, result: source, traces: withTraces ? tracesSource ?? null : null }));
      const made = await ask("/v1/reports", { runs });
      const keep = button("Save the report with its pictures", () => save(made.html, "report.html", "text/html"), { className: "main" });
      place.replaceChildren(element("h3", {}, made.title), keep, ...made.sections.map(section));
    } catch (error) {
      place.replaceChildren(element("p", { className: "wrong", role: "alert" }, error.message));
    }
    byId("report-make").disabled = false;
  }
}

/** Return a section of a report as an element that opens. */
function section({ title, shown, because, tables = [], paragraphs = [] }) {
  if (!shown) return element("p", { className: "quiet" }, `${title}: not shown, because ${because}`);
  const drawn = tables.map(({ head, rows }) => table(head, rows.map((row) => cells("td", row))));
  return element("details", {}, element("summary", {}, title), ...drawn, ...paragraphs.map((words) => element("p", {}, words)));
}
