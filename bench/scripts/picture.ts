// Renders one chart of a run as a picture for the README: npm run bench:picture -- RUN.json [CHART] [OUT.png]
// Needs Chromium (Debian's `chromium`, or CHROMIUM=/path/to/it).
import { readFileSync } from "node:fs";
import process from "node:process";
import { chromium } from "playwright-core";
import { renderReport } from "../report.ts";
import type { BenchResult } from "../result.ts";

const [runFile, chart = "frames-seal", out = "bench/throughput.png"] = process.argv.slice(2);
if (runFile === undefined) throw new Error("usage: bench:picture RUN.json [CHART] [OUT.png]");
const page = renderReport(JSON.parse(readFileSync(runFile, "utf8")) as BenchResult);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
const view = await browser.newPage({ viewport: { width: 860, height: 800 }, deviceScaleFactor: 2 });
await view.setContent(page);
await view.locator(`figure:has(#chart-${chart})`).first().screenshot({ path: out });
await browser.close();
