// One run as one page: no other file, no network. Tables are plain HTML; the script in it only draws the charts.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { type Chart, chartsOf, groupsOf, ratioChart } from "./charts.ts";
import type { BenchResult, ClaimResult, SubjectResult, TrialResult } from "./result.ts";
import { durationText, figureText, noiseText, rateText } from "./text.ts";

/** Text for HTML, in elements and in quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** JSON for a script element: nothing in it ends the element or starts a comment. */
export function escapeJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

const groupTexts: Readonly<Record<string, readonly [title: string, text: string]>> = {
  calls: [
    "Single calls",
    "One AES-256-GCM call on one buffer, the key expanded beforehand where the library can do that.",
  ],
  steps: [
    "Steps of a message",
    "What a message costs besides its body, one step at a time. Subjects without a format do the bare cryptography of the step.",
  ],
  kernels: [
    "Kernels",
    "The native kernels alone, at the level of C++, one thread, beside OpenSSL and Intel's library: thread CPU time, and cycles of the core's own clock.",
  ],
  s3: [
    "S3 transfers",
    "Objects through the AWS SDK from memory to a server in a process beside, and back; the ratio to the same transfer without encryption is what encryption costs.",
  ],
  frames: [
    "Frames",
    "One megabyte and more, cut into frames with a nonce, additional data and a tag each: what every message consists of.",
  ],
  scaling: ["Threads", "Runs of frames shared by several threads."],
  messages: [
    "Whole messages",
    "From a plaintext to a complete message and back, data key and header included. Other formats than the AWS Encryption SDK's have other features; they are shown for scale.",
  ],
  streams: ["Streams", "From memory through a Transform to a sink that drops everything."],
  suites: ["Algorithm suites", "With and without a signature over the whole message."],
  lengths: ["Length of a stream", "Throughput should not depend on it."],
  concurrent: ["Many streams", "All share the cores; the sum should stay the same."],
  memory: ["Memory", "Resident memory of the whole process, as the operating system accounts it."],
  ranges: ["Ranges", "Random places of a large message on disk, verified frame by frame."],
  files: ["Files", "Whole programs, their start included."],
  pipes: ["Pipes", "Whole programs between pipes."],
  starts: ["Start", "What starting the program costs."],
};

/** Renders the page. All names in `result` are taken for untrusted text. */
export function renderReport(result: BenchResult): string {
  const script = readFileSync(new URL("./page.js", import.meta.url), "utf8");
  const ratios = ratioChart(result.claims);
  const charts: Chart[] = [...ratios];
  const sections = [...groupsOf(result)].map(([group, trials]) => {
    const drawn = chartsOf(group, trials);
    charts.push(...drawn);
    return section(group, trials, drawn);
  });
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${createHash("sha256").update(script).digest("base64")}'; img-src data:`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>frameseal bench, ${escapeHtml(result.date.slice(0, 10))}</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<main>
${head(result)}
${claims(result.claims, ratios)}
${sections.join("\n")}
<footer><p>Ratios are of medians within this run: subjects take turns, so noise hits all alike. GB are 10<sup>9</sup> bytes; CPU is processor seconds per second; memory is the peak of the subject's whole process. Within one format, every subject opened what the others made before it was timed.</p></footer>
</main>
<script type="application/json" id="charts">${escapeJson(charts)}</script>
<script>${script}</script>
</body>
</html>
`;
}

function head(result: BenchResult): string {
  const { machine, versions, commit, version, command, date } = result;
  const facts: readonly (readonly [string, string])[] = [
    [
      "Machine",
      `${machine.cpu}, ${machine.cores} cores${machine.virtual ? " (virtual)" : ""}, ${(machine.memoryBytes / 2 ** 30).toFixed(0)} GiB`,
    ],
    ["System", `${machine.system}, Node ${machine.node}, OpenSSL ${machine.openssl}`],
    [
      "frameseal",
      `${version}${commit === undefined ? "" : `, commit ${commit}`}; engine ${machine.engine}, kernel ${machine.kernel}`,
    ],
    [
      "Compared with",
      Object.entries(versions)
        .map(([name, number]) => `${name} ${number}`)
        .join(", ") || "nothing that has to be installed",
    ],
    ["Time and noise", noiseText(result)],
    ["Command", command],
  ];
  const rows = facts
    .map(([name, text]) => `<div><dt>${name}</dt><dd>${escapeHtml(text)}</dd></div>`)
    .join("\n");
  return `<header>
<h1>How fast is AES-256-GCM here?</h1>
<p>Measured by frameseal on <time datetime="${escapeHtml(date)}">${escapeHtml(date.slice(0, 16).replace("T", " "))} UTC</time>.</p>
<dl>${rows}</dl>
</header>`;
}

function claims(list: readonly ClaimResult[], ratios: readonly Chart[]): string {
  const measured = list.filter(({ held }) => held !== undefined);
  if (measured.length === 0) return "";
  const rows = list.map(({ text, bar, higher, unit, measured: figure, held, notRun }) => {
    const state = held === undefined ? "not run" : held ? "✓ held" : "✗ missed";
    const shown =
      figure === undefined
        ? `<span class="absent">${escapeHtml(notRun ?? "")}</span>`
        : `${figureText(figure)} ${escapeHtml(unit)}`;
    return `<tr class="${held === undefined ? "absent" : held ? "held" : "missed"}"><th scope="row">${escapeHtml(text)}</th><td class="number">${higher ? "≥" : "≤"} ${bar} ${escapeHtml(unit)}</td><td class="number">${shown}</td><td>${state}</td></tr>`;
  });
  const held = measured.filter((claim) => claim.held).length;
  return `<section aria-labelledby="claims"><h2 id="claims">Promises</h2>
<p>What the project set out to reach, and what this run says: ${held} of ${measured.length} measured ones hold.</p>
${ratios.map(figure).join("\n")}
<div class="scroll" tabindex="0" role="region" aria-label="Promises"><table><thead><tr><th scope="col">Promise</th><th scope="col" class="number">Bar</th><th scope="col" class="number">Measured</th><th scope="col">Outcome</th></tr></thead>
<tbody>${rows.join("\n")}</tbody></table></div></section>`;
}

const figure = ({ id, title, description }: Chart): string =>
  `<figure><figcaption>${escapeHtml(title)}</figcaption><div class="chart" id="chart-${escapeHtml(id)}" role="group" aria-label="${escapeHtml(description)}"></div></figure>`;

function section(group: string, trials: readonly TrialResult[], charts: readonly Chart[]): string {
  const [title, text] = groupTexts[group] ?? [group, ""];
  return `<section aria-labelledby="group-${escapeHtml(group)}"><h2 id="group-${escapeHtml(group)}">${escapeHtml(title)}</h2>
<p>${escapeHtml(text)}</p>
${charts.map(figure).join("\n")}
<details><summary>All figures</summary>
${trials.map(table).join("\n")}
</details></section>`;
}

function table(trial: TrialResult): string {
  const reference = trial.subjects.find(({ name }) => name === trial.reference)?.median;
  const rows = trial.subjects.map((subject) => row(trial, subject, reference));
  const timer = trial.timer === undefined ? "" : `, timed by ${trial.timer}`;
  const caption = escapeHtml(`${trial.title} (${trial.operation}${timer})`);
  return `<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table><caption>${caption}</caption><thead><tr><th scope="col">Subject</th><th scope="col" class="number">Median</th><th scope="col" class="number">Worst to best tenth</th><th scope="col" class="number">Ratio to ${escapeHtml(trial.reference)}</th><th scope="col" class="number">CPU</th><th scope="col" class="number">Peak memory</th></tr></thead>
<tbody>${rows.join("\n")}</tbody></table></div>`;
}

function row(trial: TrialResult, subject: SubjectResult, reference: number | undefined): string {
  const { name, kind, median, best, worst, notRun, cpuSeconds, wallSeconds, peakBytes } = subject;
  const others = Object.entries(subject.figures ?? {}).map(
    ([text, value]) => `, ${figureText(value)} ${text}`,
  );
  const speed = (rate: number): string =>
    trial.unit === "calls" || trial.unit === "starts" ? durationText(1 / rate) : rateText(rate, trial.unit);
  const heading = `<th scope="row"${kind === "frameseal" ? ' class="ours"' : ""}>${escapeHtml(name)}</th>`;
  if (median === undefined || best === undefined || worst === undefined)
    return `<tr class="absent">${heading}<td colspan="5">not run: ${escapeHtml(notRun ?? "")}</td></tr>`;
  const cells = [
    `${speed(median)}${escapeHtml(others.join(""))}`,
    `${speed(worst)} to ${speed(best)}`,
    reference === undefined ? "" : `${(median / reference).toFixed(2)}×`,
    cpuSeconds === undefined || wallSeconds === undefined ? "" : (cpuSeconds / wallSeconds).toFixed(1),
    peakBytes === undefined ? "" : `${(peakBytes / 2 ** 20).toFixed(0)} MiB`,
  ];
  return `<tr>${heading}${cells.map((cell) => `<td class="number">${cell}</td>`).join("")}</tr>`;
}

const style = `
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --soft: #59636e; --line: #d1d9e0; --ours: #0060a0; --good: #116329; --bad: #a40e26 }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e6e9ed; --soft: #9aa4af; --line: #38404a; --ours: #6cb6ff; --good: #57c06d; --bad: #ff8a80 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 3rem }
h1 { font-size: 1.8rem; line-height: 1.2; margin: .5rem 0 }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .25rem; border-top: 1px solid var(--line); padding-top: 1.5rem }
p, dd, footer { color: var(--soft); max-width: 44rem }
dl { display: grid; gap: .25rem; margin: 1rem 0; font-size: .9rem }
dl div { display: grid; grid-template-columns: 8rem 1fr; gap: .75rem }
dt { font-weight: 600 } dd { margin: 0; overflow-wrap: anywhere }
figure { margin: 1.25rem 0 }
figcaption { font-weight: 600; font-size: .95rem }
.chart { width: 100%; min-height: 6rem; color: var(--ink) }
.chart figure { margin: 0; max-width: none }
.chart [class*="swatches"] { color: var(--ink) }
.scroll { overflow-x: auto; margin: 1rem 0 }
table { border-collapse: collapse; width: 100%; font-size: .875rem }
caption { text-align: left; font-weight: 600; padding: .5rem 0; color: var(--ink) }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th { font-weight: 500 } thead th { color: var(--soft) }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
.ours { color: var(--ours); font-weight: 600 }
.held td:last-child { color: var(--good); white-space: nowrap } .missed td:last-child { color: var(--bad); font-weight: 600; white-space: nowrap }
.absent, .absent th { color: var(--soft) } .absent .number { white-space: normal }
summary { cursor: pointer; padding: .4rem 0; font-weight: 600 }
@media (max-width: 30rem) { dl div { grid-template-columns: 1fr; gap: 0 } }
@media print { :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #333 } figure, tr { break-inside: avoid } .scroll { overflow: visible } body { font-size: 11pt } }
`;
