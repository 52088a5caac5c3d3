// Two runs side by side: searches of this conversation, and traces or receipts from files.

import { byId, element } from "/page/dom.js";
import { explain } from "/page/probabilities.js";
import { takeFiles } from "/page/receipts.js";
import { Search } from "/page/search.js";
import { readRuns, replay } from "/page/traces.js";

export class Compare {
  /** @param runs returns the runs of the current conversation: title, start, nodes, result, outputs, model */
  constructor(runs, model) {
    Object.assign(this, { runs, model, opened: [] });
    for (const side of ["left", "right"]) byId(side).addEventListener("change", () => this.draw(side));
    byId("runs-open").addEventListener("click", () => this.show());
    byId("runs-close").addEventListener("click", () => byId("runs").close());
    takeFiles("run-drop", "run-file", async (file) => {
      byId("runs-problem").textContent = "";
      try {
        this.opened.push(...readRuns(await file.text(), file.name));
        this.offer(this.opened.length - 1);
      } catch (error) {
        byId("runs-problem").textContent = error.message;
      }
    });
  }

  show() {
    this.offer();
    byId("runs").showModal();
  }

  /** Offer all runs on both sides, with the newest selected on the left and the previous one on the right. */
  offer() {
    this.all = [...this.runs(), ...this.opened];
    for (const [side, back] of [["left", 1], ["right", 2]]) {
      const options = this.all.map(({ title }, i) => element("option", { value: String(i) }, title));
      byId(side).replaceChildren(element("option", { value: "" }, "nothing"), ...options);
      byId(side).value = this.all.length >= back ? String(this.all.length - back) : "";
      this.draw(side);
    }
  }

  draw(side) {
    const run = this.all[Number(byId(side).value || -1)];
    const place = byId(`${side}-run`);
    if (!run) {
      place.replaceChildren();
      return;
    }
    const search = new Search();
    place.replaceChildren(search.root);
    replay(search, run);
    explain(search, run.outputs ?? [], run.model ?? this.model());
  }
}
