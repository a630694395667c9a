// The page of `frameseal bench` in a real browser: at three widths, light, dark and printed.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { renderReport } from "../../dist/bench/report.js";
import { run, subject, trial } from "../bench/fixture.ts";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const present = existsSync(executablePath);
if (!present && process.env.CI === "true") throw new Error(`no Chromium at ${executablePath}`);

const lengths = [4096, 65_536, 2 ** 20];
const trials = [
  ...lengths.map((frameLength, i) =>
    trial(
      `frames/seal/${frameLength}`,
      [
        subject("frameseal native", [10e9 + i * 1e9]),
        subject("a peer with quite a long name, Node 24", [1e9 + i * 2e8]),
      ],
      { frameLength },
    ),
  ),
  trial("files/null", [
    subject("frameseal", [3e9]),
    { name: "age", kind: "program", notRun: "age is not installed" },
    subject("openssl enc", [2e9]),
  ]),
  trial(
    "steps/derive",
    [subject("frameseal", [1e5]), subject("a peer with quite a long name, Node 24", [2e4])],
    {
      unit: "calls",
    },
  ),
  trial("memory/stream", [
    subject("frameseal native", [5e9], {
      memory: Array.from({ length: 80 }, (_sample, i) => ({ seconds: i / 10, bytes: 9e7 + 1e6 * (i % 7) })),
    }),
  ]),
];
const claims = [
  {
    id: "a",
    text: "runs of frames",
    bar: 5,
    higher: true,
    unit: "×",
    trials: ["t"],
    measured: 12,
    held: true,
  },
];

describe.skipIf(!present)("the report in a browser", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "frameseal-report-"));
  const url = pathToFileURL(path.join(folder, "report.html")).href;
  let browser: Browser;
  beforeAll(async () => {
    writeFileSync(path.join(folder, "report.html"), renderReport(run(trials, { claims })));
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  });
  afterAll(async () => {
    await browser.close();
    rmSync(folder, { recursive: true });
  });

  async function open(width: number, colorScheme: "light" | "dark" = "light") {
    const page = await browser.newPage({ viewport: { width, height: 800 }, colorScheme });
    const faults: string[] = [];
    const requests: string[] = [];
    page.on("console", (message) => faults.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => faults.push(error.message));
    page.on("request", (request) => requests.push(request.url()));
    await page.goto(url);
    return { page, faults, requests };
  }

  it.each([
    [390, "light"],
    [768, "dark"],
    [1280, "light"],
  ] as const)(
    "draws every chart at %i pixels, %s, without a request, a message or a scroll bar",
    async (width, scheme) => {
      const { page, faults, requests } = await open(width, scheme);
      expect(await page.locator(".chart svg[aria-label]").count()).toBe(5);
      expect(await page.locator(".chart").count()).toBe(5);
      expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(width);
      expect(faults).toEqual([]);
      expect(requests.filter((request) => !request.startsWith("data:"))).toEqual([url]);
      for (const text of await page
        .locator("#chart-steps-derive-time g[aria-label=text] text")
        .allTextContents())
        expect(text).toMatch(/µs|frameseal|a peer/);
      const labels = await page
        .locator("#chart-frames-seal g[aria-label='x-axis tick label'] text")
        .allTextContents();
      expect(labels.length).toBeGreaterThan(1);
      for (const label of labels) expect(label).toMatch(/^\d+ [KM]iB$/);
      for (const chart of await page.locator(".chart").all())
        expect(await chart.getAttribute("aria-label")).toMatch(/\w{3}/);
      await page.close();
    },
  );

  it("paints dark on dark request", async () => {
    const colour = async (scheme: "light" | "dark") => {
      const { page } = await open(800, scheme);
      const value = await page.evaluate("getComputedStyle(document.body).backgroundColor");
      await page.close();
      return value;
    };
    expect(await colour("light")).toBe("rgb(255, 255, 255)");
    expect(await colour("dark")).not.toBe("rgb(255, 255, 255)");
  });

  it("shows the figure of what the pointer is on", async () => {
    const { page } = await open(1000);
    const bar = page.locator("#chart-files-null g[aria-label=bar] rect").first();
    await bar.scrollIntoViewIfNeeded();
    await bar.hover();
    await expect
      .poll(() => page.locator("#chart-files-null g[aria-label=tip]").textContent())
      .toContain("3.00 GB/s");
    const dot = page.locator("#chart-frames-seal g[aria-label=dot] path").first();
    await dot.scrollIntoViewIfNeeded();
    await dot.hover();
    await expect
      .poll(() => page.locator("#chart-frames-seal g[aria-label=tip]").textContent())
      .toContain("GB/s");
    await page.close();
  });

  it("prints", async () => {
    const { page, faults } = await open(1000);
    const pdf = await page.pdf({ format: "A4" });
    expect(pdf.length).toBeGreaterThan(20_000);
    expect(faults).toEqual([]);
    await page.close();
  });

  it("tells absent subjects", async () => {
    const { page } = await open(1000);
    expect(await page.locator("tr.absent").allTextContents()).toEqual([
      expect.stringContaining("age is not installed"),
    ]);
    await page.close();
  });
});
