// Two answers to one question, from other models, methods or seeds, side by side.

import { button, byId, element } from "/page/dom.js";

export class Pair {
  /**
   * @param node the answer that the conversation continues with
   * @param messages both answers (message.js), the earlier one on the left
   * @param does `keep`: called with the answer to continue with, which ends the comparison
   */
  constructor(node, messages, { keep }) {
    Object.assign(this, { node, messages, branches: messages[0].branches });
    const columns = messages.map((message) => {
      message.actions.prepend(button("Keep this one", () => keep(message.node), { className: "keep main" }));
      return message.root;
    });
    this.root = element("div", { className: "pair", role: "group", ariaLabel: "Two answers side by side" }, ...columns);
  }

  /** Return the message of one of the answers. */
  of(node) {
    return this.messages.find((message) => message.node === node);
  }
}

/** Ask for the model and method of another answer; return them, or null if cancelled. */
export function chooseAnother({ model, method }) {
  const dialog = byId("another");
  for (const [id, source, value] of [["another-model", "model", model], ["another-method", "method", method]]) {
    byId(id).replaceChildren(...[...byId(source).children].map((one) => one.cloneNode(true)));
    byId(id).value = value ?? "";
    if (byId(id).selectedIndex < 0) byId(id).selectedIndex = 0;
  }
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const isChosen = dialog.returnValue === "answer";
      resolve(isChosen ? { model: byId("another-model").value, method: byId("another-method").value } : null);
    }, { once: true });
  });
}
