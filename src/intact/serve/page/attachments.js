// Attaching files to a question: text, code and CSV are read here, the text of PDF files by the server.

import { ask } from "/page/api.js";
import { button, byId, element } from "/page/dom.js";

const MOST_FILES = 16;
const MOST_BYTES = 1 << 20;  // of a text file
const MOST_PDF = 5 << 20;
const CONTROLS = /[\u0000-\u0008\u000e-\u001a\u001c-\u001f]/;

const isPdf = ({ name, type }) => type === "application/pdf" || /\.pdf$/i.test(name);

async function pdfText(file) {
  if (file.size > MOST_PDF) throw new Error(`${file.name} has more than ${MOST_PDF >> 20} MiB, the most for a PDF`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  let binary = "";
  for (let at = 0; at < bytes.length; at += 1 << 15) binary += String.fromCharCode(...bytes.subarray(at, at + (1 << 15)));
  const { text, pages, of, cut } = await ask("/v1/documents/text", { data: btoa(binary) });
  return cut ? `${text}\n[cut: ${pages} of ${of} pages]` : text;
}

/** Return the text of a file; throw an Error that says what is wrong with it. */
async function textOf(file) {
  if (isPdf(file)) return pdfText(file);
  if (file.size > MOST_BYTES) throw new Error(`${file.name} has more than ${MOST_BYTES >> 20} MiB, the most for a text file`);
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    throw new Error(`${file.name} is not text in UTF-8; text, code, CSV and PDF files can be attached`);
  }
  if (CONTROLS.test(text)) throw new Error(`${file.name} is not a text file: it has control characters`);
  if (!text.trim()) throw new Error(`${file.name} is empty`);
  return text.replace(/\r\n?/g, "\n");
}

/** The files attached to the question that is being written. */
export class Attachments {
  constructor() {
    this.files = [];
    const take = (files) => this.take([...files]);
    byId("attach").addEventListener("click", () => byId("attach-file").click());
    byId("attach-file").addEventListener("change", async ({ target }) => {
      await take(target.files);
      target.value = "";
    });
    const form = byId("ask");
    form.addEventListener("dragover", (event) => event.preventDefault());
    form.addEventListener("drop", (event) => {
      event.preventDefault();
      take(event.dataTransfer.files);
    });
    byId("question").addEventListener("paste", (event) => {
      if (!event.clipboardData.files.length) return;
      event.preventDefault();
      take(event.clipboardData.files);
    });
  }

  async take(files) {
    const problems = [];
    for (const file of files) {
      try {
        if (this.files.length >= MOST_FILES) throw new Error(`at most ${MOST_FILES} files can be attached`);
        byId("attached-state").textContent = `Reading ${file.name} …`;
        this.files.push({ name: file.name.slice(0, 200), text: await textOf(file) });
      } catch (error) {
        problems.push(error.message);
      }
    }
    this.draw();
    byId("attached-state").textContent = problems.join("; ");
  }

  draw() {
    byId("attached").replaceChildren(...this.files.map((file) => element(
      "li", {}, `${file.name} `, button("×", () => this.remove(file), { ariaLabel: `Remove ${file.name}` }),
    )));
  }

  remove(file) {
    this.files = this.files.filter((one) => one !== file);
    this.draw();
    byId("question").focus();
  }

  /** Return the files, and detach them. */
  release() {
    const { files } = this;
    this.files = [];
    byId("attached-state").textContent = "";
    this.draw();
    return files;
  }
}
