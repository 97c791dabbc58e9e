// The page in a browser, with a daemon that streams: what people see in each state, and what they can do.
//
//   node browser.js UPLINKD CHROMIUM PICTURES
//
// Leaves a picture of each state in the folder PICTURES. Prints a line for each check; fails if any did.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

import { chromium } from "playwright-core";

import { Daemon, endAll, receiver, until } from "./daemon.js";
import { Link } from "./link.js";

const [program, browserPath, pictures] = process.argv.slice(2);
const axe = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const results = { passed: 0, failed: 0 };

/** What the browser complained of, and what it asked for. */
const complaints = [];
const asked = new Set();

async function main() {
  fs.mkdirSync(pictures, { recursive: true });
  const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
  try {
    await part("signing in", () => signIn(browser));
    await part("streams", () => streams(browser));
  } finally {
    await browser.close();
    endAll();
  }
  check("nothing is loaded from elsewhere", [...asked].every((url) => /^(blob:)?http:\/\/127\.0\.0\.1:\d+\//.test(url)));
  check(`the browser had nothing to complain of ${complaints.join("; ")}`, complaints.length === 0);
  console.log(`${results.passed} passed, ${results.failed} failed; pictures in ${pictures}`);
  process.exitCode ||= results.failed ? 1 : 0;
}

async function streams(browser) {
  const link = await Link.to(await receiver());
  const other = await receiver();
  const noCamera = 'source = "v4l2"\ndevice = "/dev/video99"';
  const daemon = await Daemon.start(program, () => stream("main", link.port, TEST) + stream("lectern", other, noCamera));
  const desktop = await open(browser, daemon, DESKTOP);
  const phone = await open(browser, daemon, PHONE);
  const pages = { desktop, phone };
  link.rate = 4e6;

  await daemon.waitFor("streaming");
  await says(desktop, "#state", /^Streaming$/);
  await says(phone, "#state", /^Streaming$/);
  await says(desktop, "#note", /studio receives .*bit\/s/);
  await until("there is a picture", 20_000, () => desktop.isVisible(".picture img"));
  check("the picture is one", (await desktop.locator(".picture img").evaluate((image) => image.naturalWidth)) > 0);
  check("there are two meters", (await desktop.locator("#meters [role=meter]").count()) === 2);
  await until("events are told", 20_000, async () => (await desktop.locator("#events li").count()) > 3);
  await desktop.waitForTimeout(20_000); // a chart worth looking at
  await look("streaming", pages);

  await part("the link's step", () => followsLink(daemon, link, desktop));
  await part("keyboard", () => keyboard(desktop));
  await part("bounds", () => bounds(daemon, desktop));
  await part("zoom", () => zoom(browser, daemon));

  link.rate = 100e3; // less than the stream can do with: it stays connected, and leaves pictures out
  await daemon.waitFor("degraded");
  await says(desktop, "#state", /^On air, with a problem$/);
  await says(desktop, "#reasons", /output studio: /i);
  await says(phone, "#state", /^On air, with a problem$/);
  await look("degraded", pages);
  link.rate = 4e6;

  await part("slate", () => slate(daemon, pages));
  await part("a daemon that goes", () => gone(daemon, pages));
  link.close();
}

/** What fails in one part leaves the others to be judged. */
async function part(name, run) {
  try {
    await run();
  } catch (error) {
    check(`${name}: ${error.message}`, false);
  }
}

/** The rate's step is seen in the chart as soon as the API tells it. */
async function followsLink(daemon, link, page) {
  const target = async () => (await daemon.status()).rate.target_bps;
  await until("there is something to step down from", 60_000, async () => (await target()) > 1.4e6 && (await shownTarget(page)) > 1.2e6);
  link.rate = 500e3;
  await until("the target follows the link", 30_000, async () => (await target()) < 800e3);
  const ms = await until("the chart follows the target", 10_000, async () => (await shownTarget(page)) < 900e3);
  check(`the chart follows a step of the link ${Math.round(ms)} ms after the API tells it`, ms < 2000);
  link.rate = 4e6;
}

/** Bits per second of the newest point of the target's line, by the chart's own axis. */
function shownTarget(page) {
  return page.evaluate(() => {
    const ticks = [...document.querySelectorAll("#rates .grid text[text-anchor=end]")];
    const [bottom, top] = [ticks[0], ticks.at(-1)].map((tick) => Number(tick.getAttribute("y")));
    const [, number, unit] = ticks.at(-1).textContent.match(/([\d.]+) (\w)/);
    const d = document.querySelector("#rates .plot path.series-target").getAttribute("d");
    const offset = 0.3 * parseFloat(getComputedStyle(document.querySelector("#rates .plot")).fontSize);
    const y = Number(d.match(/V([\d.]+)$/)[1]) + offset;
    return ((bottom - y) / (bottom - top)) * number * { M: 1e6, k: 1e3 }[unit];
  });
}

async function keyboard(page) {
  await page.evaluate(() => document.activeElement?.blur());
  const reached = [];
  for (let step = 0; step < 30; step++) {
    await page.keyboard.press("Tab");
    const focus = await page.evaluate(() => {
      const node = document.activeElement;
      const outline = getComputedStyle(node);
      const isVisible = outline.outlineStyle !== "none" && parseFloat(outline.outlineWidth) >= 2;
      const name = node.id || node.dataset.action || node.className || node.getAttribute("href") || node.textContent.trim();
      return { name: node === document.body ? null : name, isVisible };
    });
    if (focus.name === null) break;
    reached.push(focus);
  }
  const names = reached.map(({ name }) => name);
  const wanted = ["start", "stop", "restart", "keyframe", "plot", "min_kbps", "max_kbps", "events"];
  check(`the keyboard reaches everything (${names.join(" ")})`, wanted.every((name) => names.includes(name)));
  check("what has the focus is seen to", reached.every(({ isVisible }) => isVisible));

  await page.focus("#rates .plot");
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowLeft");
  await says(page, "#rates .time", /10 s ago/);
  await page.keyboard.press("Escape");
  await says(page, "#rates .time", /^now$/);

  await page.focus("[data-action=stop]");
  await page.keyboard.press("Enter");
  await says(page, "#confirm-title", /^Stop main\?$/);
  await page.keyboard.press("Enter");
  check("Enter on the question leaves it on air", !(await page.isVisible("#confirm")));
  await page.focus("[data-action=keyframe]");
  await page.keyboard.press("Enter");
  await says(page, "#action-message", /Asked for a key frame/);
}

/** A plan before the change, and the chart within 2 s of it. */
async function bounds(daemon, page) {
  await page.fill("#max_kbps", "9x");
  await page.click("#bounds form button");
  await says(page, "#max_kbps-error", /whole number/);
  check("the wrong field has the focus", (await page.evaluate(() => document.activeElement.id)) === "max_kbps");
  await page.fill("#max_kbps", "700");
  await page.fill("#start_kbps", "500");
  await page.click("#bounds form button");
  await says(page, "#bounds .plan", /Highest rate: 3000 becomes 700\./);
  await look("plan", { desktop: page });
  const { config } = await daemon.status();
  check("a plan changes nothing", config.rate.max_kbps === 3000);
  await page.click("#bounds .apply");
  await until("the change is made", 20_000, async () => (await daemon.status()).rate.target_bps <= 700e3);
  const ms = await until("the chart follows the bounds", 10_000, async () => (await shownTarget(page)) < 750e3);
  check(`the chart follows a change of the bounds after ${Math.round(ms)} ms`, ms < 2000);
  await says(page, "#bounds .message", /^Changed\./);
  await until("the event is told", 10_000, async () => /Configuration taken/.test(await page.textContent("#events")));
}

/** 1280 pixels at 200 %, and the narrowest that WCAG asks for. */
async function zoom(browser, daemon) {
  for (const [name, width, scale] of [
    ["200 %", 640, 2],
    ["320 pixels", 320, 1],
  ]) {
    const page = await open(browser, daemon, { viewport: { width, height: 512 }, deviceScaleFactor: scale });
    await says(page, "#state", /./);
    await page.waitForTimeout(1000);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    check(`nothing is cut off at ${name}`, overflow <= 0);
    await page.screenshot({ path: path.join(pictures, `zoom-${width}.png`), fullPage: true });
    await page.context().close();
  }
  const calm = await open(browser, daemon, { ...PHONE, reducedMotion: "reduce" });
  await until("there are meters", 20_000, async () => (await calm.locator("#meters .rms").count()) > 0);
  const moves = await calm.locator("#meters .rms").first().evaluate((bar) => getComputedStyle(bar).transitionDuration);
  check("nothing glides for those who want less motion", moves === "0s");
  await calm.context().close();
}

/** The second stream has no camera. */
async function slate(daemon, pages) {
  await daemon.waitFor("degraded", "lectern");
  for (const page of Object.values(pages)) {
    await page.click('#streams a[href="#/lectern"]');
    await says(page, "#state", /^Slate on air$/);
    await says(page, "#reasons", /slate: /i);
  }
  await until("the slate is seen", 20_000, () => pages.desktop.isVisible(".picture img"));
  await says(pages.desktop, ".caption", /^Slate/);
  await look("slate", pages);
}

async function gone(daemon, pages) {
  daemon.signal("SIGSTOP");
  await says(pages.desktop, "#warning-title", /These numbers are \d+ s old|No contact with uplinkd since/);
  daemon.signal("SIGCONT");
  await until("contact is back", 20_000, () => pages.desktop.isHidden("#warning"));
  complaints.length = 0;
  const expected = complaints.length;
  daemon.signal("SIGKILL");
  for (const page of Object.values(pages)) {
    await says(page, "#warning-title", /^No contact with uplinkd since \d\d:\d\d:\d\d/);
    await says(page, "#state", /^Was: Slate on air$/);
  }
  await pages.desktop.waitForTimeout(3000);
  await look("gone", pages);
  check("actions wait for the daemon", (await pages.desktop.locator("#actions [aria-disabled=true]").count()) === 4);
  await daemon.run();
  await until("contact is back", 20_000, () => pages.desktop.isHidden("#warning"));
  complaints.length = expected; // a daemon that is gone is a failed request each
  check("a daemon that comes back is taken up again", true);
}

async function signIn(browser) {
  const token = "correct-horse-battery-staple";
  const daemon = await Daemon.start(program, (folder) => {
    const file = path.join(folder, "token");
    fs.writeFileSync(file, `${token}\n`, { mode: 0o600 });
    return `token_file = "${file}"\n${stream("main", NOBODY, TEST).replace("enabled = true", "enabled = false")}`;
  });
  const page = await open(browser, daemon, PHONE);
  await until("the token is asked for", 20_000, () => page.isVisible("#sign-in"));
  await look("sign-in", { phone: page });
  await page.fill("#token", "not-the-token-but-another");
  await page.keyboard.press("Enter");
  await says(page, "#sign-in-message", /^That is not the token\.$/);
  await page.fill("#token", token);
  await page.keyboard.press("Enter");
  await says(page, "#state", /^Stopped$/);
  check("no script can read the session", (await page.evaluate(() => document.cookie)) === "");
  check("the token is kept nowhere", (await page.inputValue("#token")) === "");
  await page.reload();
  await says(page, "#state", /^Stopped$/);
  await page.click("#sign-out");
  await until("the token is asked for again", 20_000, () => page.isVisible("#sign-in"));
  check("signed out, nothing is seen", !(await page.isVisible("#stream")));
  complaints.length = 0; // answers 401 are complained of, and are the point
}

async function open(browser, daemon, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on("request", (request) => asked.add(request.url()));
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`${message.text()} ${message.location().url}`);
  });
  await page.goto(`${daemon.url}/#/main`); // streams are listed by name, and the first is shown without this
  return page;
}

async function says(page, selector, pattern) {
  const text = async () => (await page.textContent(selector)).trim();
  try {
    await until(`${selector} says ${pattern}`, 30_000, async () => pattern.test(await text()));
    check(`${selector} says ${pattern}`, true);
  } catch (error) {
    check(`${error.message}; it says "${await text()}"`, false);
  }
}

/** Pictures in light and dark, and what axe says. */
async function look(state, pages) {
  for (const [name, page] of Object.entries(pages)) {
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await page.waitForTimeout(300);
      await page.screenshot({ path: path.join(pictures, `${state}-${name}-${colorScheme}.png`), fullPage: true });
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      const found = violations.map(({ id, nodes }) => `${id} (${nodes.map(({ target }) => target).join(", ")})`);
      check(`axe: ${state}, ${name}, ${colorScheme} ${found.join("; ")}`, found.length === 0);
    }
  }
}

function check(what, isTrue) {
  results[isTrue ? "passed" : "failed"] += 1;
  console.log(`${isTrue ? "ok" : "FAILED"}  ${what}`);
}

function stream(name, port, source) {
  return `
[streams.${name}]
enabled = true
[streams.${name}.video]
${source}
width = 320
height = 180
framerate = 15
encoder = "software"
[streams.${name}.audio]
source = "test"
[streams.${name}.rate]
min_kbps = 200
start_kbps = 1500
max_kbps = 3000
[[streams.${name}.outputs]]
name = "studio"
url = "srt://127.0.0.1:${port}"
latency_ms = 1000
`;
}

const TEST = 'source = "test"';

/** A port that nobody listens at. */
const NOBODY = 9;

const DESKTOP = { viewport: { width: 1366, height: 900 } };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true };

await main();
