// A page in Firefox, by puppeteer-core: a line for each thing that is checked, and what the console said at the end.

import { mkdirSync } from "node:fs";
import puppeteer from "puppeteer-core";

export const patience = { timeout: 300_000 };
const browser = await puppeteer.launch({ browser: "firefox", executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr", headless: true });
export const version = await browser.version();
export const page = await browser.newPage();
const said = [];
let failed = 0;
page.on("pageerror", (error) => said.push(String(error)));
page.on("console", (message) => {
  if (message.type() === "error") said.push(message.text());
});

export function check(name, holds) {
  console.log(`${holds ? "ok  " : "FAIL"} ${name}`);
  if (!holds) failed += 1;
}

export const count = (selector) => page.evaluate((one) => document.querySelectorAll(one).length, selector);

// Checks that nothing sticks out of the window at its width; with a folder, takes a screenshot.
export async function checkWidth(label, folder, file) {
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check(`nothing is cut at ${label}`, overflow <= 0);
  if (folder) {
    mkdirSync(folder, { recursive: true });
    await page.screenshot({ path: `${folder}/${file}.png` });
  }
}

export async function end() {
  check(`nothing is said in the console: ${JSON.stringify(said)}`, said.length === 0);
  await browser.close();
  process.exit(failed ? 1 : 0);
}
