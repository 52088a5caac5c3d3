// Evaluates a function in a page of a headless Firefox, by puppeteer-core over WebDriver BiDi.
//
//     node firefox.mjs PUPPETEER < job.json       # PUPPETEER: the folder of puppeteer-core
//
// Reads {"firefox", "address", "ready", "files", "script", "given"} in JSON: the browser's file, the page, the text of a
// function that is true once files can be chosen, these by the selectors of their inputs, the text of a function, and what
// it is given. Writes {"version", "result", "said"}: `said` has errors and warnings of the page's console.

import { createRequire } from "node:module";
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";

const folder = process.argv[2];
const entry = createRequire(`${folder}/package.json`).resolve("puppeteer-core");
const { default: puppeteer } = await import(pathToFileURL(entry));
const { firefox, address, ready, files, script, given } = JSON.parse(await text(process.stdin));
const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath: firefox,
  headless: true,
  timeout: 300_000,
  protocolTimeout: 1_200_000,
});
try {
  const page = await browser.newPage();
  const said = [];
  page.on("pageerror", (error) => said.push(String(error)));
  page.on("console", (message) => {
    if (["error", "warn", "warning"].includes(message.type())) said.push(message.text());
  });
  await page.goto(address, { timeout: 300_000 });
  await page.waitForFunction(`(${ready})()`, { timeout: 300_000 });
  for (const [selector, file] of Object.entries(files)) {
    await (await page.waitForSelector(selector)).uploadFile(file);
  }
  const result = await page.evaluate(`(${script})(${JSON.stringify(given)})`);
  console.log(JSON.stringify({ version: await browser.version(), result, said }));
} finally {
  await browser.close();
}
