// The server's page in Firefox, by puppeteer-core: a conversation, branches, a search, an export, wide and narrow, light and dark.
//
//     npm install puppeteer-core && intact serve MODEL --port 8123 &
//     node page_firefox.mjs http://127.0.0.1:8123 [FOLDER]      # FOLDER: where screenshots go
//
// Prints a line for each thing that it checked; ends with status 1 if one of them does not hold.

import { check, checkWidth, count, end, page, patience } from "./firefox.mjs";

const [url, folder] = process.argv.slice(2);

const set = (id, value) => page.evaluate((name, text) => { document.getElementById(name).value = text; }, id, value);
const answered = (number) => page.waitForFunction(
  (wanted) => document.querySelectorAll("article.assistant:not([aria-busy])").length === wanted, patience, number,
);

async function ask(question, method = "") {
  await page.select("#method", method);
  if (method) await set("n", "3");
  await set("max_tokens", "16");
  await page.type("#question", question);
  await page.keyboard.press("Enter");
}

await page.setViewport({ width: 1280, height: 900 });
await page.goto(url);
await page.waitForFunction(() => document.querySelectorAll("#method option").length > 30, patience);
await ask("What is 17 + 5?");
await answered(1);
check("an answer is drawn", (await page.evaluate(() => document.querySelector("article.assistant > .text").textContent)).length > 0);
await page.click("article.assistant .again");
await page.waitForSelector("article.assistant .branches", patience);
await answered(1);
check("asking again makes a branch", (await page.evaluate(() => document.querySelector(".branches").textContent)).includes("2 of 2"));
await ask("And 17 * 5?", "best_of_n");
await answered(2);
check("a search has three texts and a winner", await count(".tree > li") === 3 && await count(".winner") === 1);
await page.click(".explain");
await page.waitForSelector(".tree .token", patience);
check("its tokens have probabilities", await count(".tree .token") > 0);
await page.click(".verify");
await page.waitForSelector("#verdicts .true", patience);
check("its receipt is true", true);
const drawn = await page.evaluate(async () => {
  const { render } = await import("/page/render.js");
  const target = document.createElement("div");
  render(target, "**b** $x^2$\n\n```python\ndef f(): pass\n```");
  return [target.querySelectorAll("strong").length, target.querySelectorAll("math").length, target.querySelectorAll(".hljs-keyword").length];
});
check("Markdown, formulas and code are drawn", drawn.every((number) => number > 0));
await page.reload();
await page.waitForSelector("#conversations .title", patience);
await page.click("#conversations .title");
check("the conversation is kept", await count("article") === 4);
for (const width of [1280, 390]) {
  for (const theme of ["light", "dark"]) {
    await page.setViewport({ width, height: 900 });
    await page.evaluate((name, narrow) => {
      document.documentElement.dataset.theme = name;
      document.getElementById("side").hidden = narrow;
    }, theme, width < 600);
    await checkWidth(`${width}, ${theme}`, folder, `firefox-${width}-${theme}`);
  }
}
await end();
