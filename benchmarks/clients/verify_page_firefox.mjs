// The page that verifies receipts in Firefox, by puppeteer-core: verdicts, a prompt, a wide and a narrow window.
//
//     npm install puppeteer-core && intact page --out page
//     node verify_page_firefox.mjs file://$PWD/page/index.html RECEIPTS [MODEL RECEIPT] [--shots FOLDER]
//
// RECEIPTS is the folder conformance/receipts. With MODEL and RECEIPT the seconds of a first verification are printed too.
// Prints a line for each thing that it checked; ends with status 1 if one of them does not hold.

import { check, checkWidth, count, end, page, patience, version } from "./firefox.mjs";

const words = process.argv.slice(2);
const at = words.indexOf("--shots");
const [, folder] = at < 0 ? [] : words.splice(at, 2);
const [url, receipts, model, receipt] = words;
console.log(version);

const text = (id) => page.evaluate((name) => document.getElementById(name).textContent, id);

async function open() {
  await page.goto(url);
  await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("Choose"), patience);
}

async function verify(receiptFile, modelFile) {
  const began = performance.now();
  await (await page.$("#receipt-file")).uploadFile(receiptFile);
  await (await page.$("#model-file")).uploadFile(modelFile);
  await page.waitForFunction(
    () => document.getElementById("work").hidden && /^[✓✗?]/.test(document.getElementById("status").textContent), patience,
  );
  await new Promise((done) => setTimeout(done, 300)); // a frame, in which the tokens are marked
  return (performance.now() - began) / 1000;
}

await page.setViewport({ width: 1280, height: 900 });
await open();
check("the module runs", true);
await verify(`${receipts}/true-chat.receipt`, `${receipts}/model.gguf`);
check("a true receipt is true, and all tokens are green", (await text("outcome")) === "✓ True" && (await count(".token.checked")) === 12);
await page.click("#write");
await page.waitForFunction(() => / a second/.test(document.getElementById("try-state").textContent), patience);
check("a prompt is answered", (await text("written")).length > 0);
await open();
await verify(`${receipts}/token-5.receipt`, `${receipts}/model.gguf`);
check(`a forged one is false: ${await text("outcome")}`, (await text("outcome")).startsWith("✗ False at token 6 of 12") && (await count(".token.false")) === 1);
await open();
await verify(`${receipts}/other-weights.receipt`, `${receipts}/model.gguf`);
check("one of another model cannot be verified", (await text("outcome")).includes("another model than this file"));
if (model) {
  await open();
  const seconds = await verify(receipt, model);
  check(`first verification: ${seconds.toFixed(1)} s; ${await text("status")}; ${await text("model-state")}`, (await text("outcome")) === "✓ True");
}
for (const width of [1280, 390]) {
  await page.setViewport({ width, height: 900 });
  await checkWidth(width, folder, `firefox-verify-${width}`);
}
await end();
