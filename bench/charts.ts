// Which pictures a run makes: data only, drawn in the page by page/draw.ts.
import type { BenchResult, ClaimResult, SubjectResult, TrialResult } from "./result.ts";
import { durationText, rateText } from "./text.ts";
import { lengthText } from "./trials/subjects.ts";

/** One mark. `label` is the figure in words, for tooltips. */
export interface Point {
  readonly x: number;
  readonly y: number;
  readonly subject: string;
  readonly label: string;
}

/** Lines over a number, or bars of subjects. */
export interface Chart {
  readonly id: string;
  readonly kind: "lines" | "bars";
  readonly title: string;
  /** One sentence on what to see, for people who do not see it too. */
  readonly description: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly xScale: "log" | "linear";
  readonly yScale: "log" | "linear";
  /** What is written at positions of x, where numbers would not say it. */
  readonly ticks?: readonly { readonly x: number; readonly text: string }[];
  readonly points: readonly Point[];
  /** Subjects that are ours, drawn stronger. */
  readonly ours: readonly string[];
}

const overX: Readonly<
  Record<string, { readonly x: (trial: TrialResult) => number | undefined; readonly label: string }>
> = {
  kernels: { x: ({ size }) => size, label: "bytes of one message" },
  calls: { x: ({ size }) => size, label: "bytes of one call" },
  frames: { x: ({ frameLength }) => frameLength, label: "frame length" },
  messages: { x: ({ size }) => size, label: "length of the message" },
  lengths: { x: ({ size }) => size, label: "length of the stream" },
  scaling: { x: ({ threads }) => threads, label: "threads" },
};

/** The pictures of one group of trials. */
export function chartsOf(group: string, trials: readonly TrialResult[]): Chart[] {
  if (group === "memory") return trials.flatMap(memoryChart);
  const across = overX[group];
  if (across === undefined || trials.length < 2) return trials.flatMap(barChart);
  return [...new Set(trials.map(({ operation }) => operation))].flatMap((operation) => {
    const some = trials.filter((trial) => trial.operation === operation);
    const charts = some.length < 2 ? some.flatMap(barChart) : [lineChart(group, operation, some, across)];
    const [smallest] = some;
    return group === "calls" && smallest !== undefined ? [...charts, ...latencyChart(smallest)] : charts;
  });
}

function lineChart(
  group: string,
  operation: string,
  trials: readonly TrialResult[],
  { x, label }: { readonly x: (trial: TrialResult) => number | undefined; readonly label: string },
): Chart {
  const points = trials.flatMap((trial) =>
    trial.subjects.flatMap((subject): Point[] => {
      const at = x(trial);
      if (at === undefined || subject.median === undefined) return [];
      return [{ x: at, y: subject.median / 1e9, subject: subject.name, label: figureText(trial, subject) }];
    }),
  );
  const places = [...new Set(points.map((point) => point.x))].toSorted((a, b) => a - b);
  const bytes = group !== "scaling";
  return {
    id: `${group}-${operation}`,
    kind: "lines",
    title: `${operation === "open" ? "Opening" : "Sealing"}, throughput against ${label}`,
    description: `Lines of throughput in GB/s of ${new Set(points.map(({ subject }) => subject)).size} subjects over ${label}; the table below has the same figures.`,
    xLabel: label,
    yLabel: "GB/s",
    xScale: "log",
    yScale: group === "calls" || group === "messages" ? "log" : "linear",
    ticks: places.map((place) => ({ x: place, text: bytes ? lengthText(place) : String(place) })),
    points,
    ours: oursOf(trials),
  };
}

function barChart(trial: TrialResult): Chart[] {
  if (trial.unit === "calls" || trial.unit === "starts") return timeChart(trial);
  const points = trial.subjects.flatMap((subject, at): Point[] =>
    subject.median === undefined
      ? []
      : [
          {
            x: trial.unit === "bytes" ? subject.median / 1e9 : subject.median,
            y: at,
            subject: subject.name,
            label: figureText(trial, subject),
          },
        ],
  );
  if (points.length === 0) return [];
  return [
    {
      id: trial.id.replaceAll("/", "-"),
      kind: "bars",
      title: trial.title,
      description: `Bars of ${points.map(({ subject, label }) => `${subject}: ${label}`).join("; ")}.`,
      xLabel: trial.unit === "bytes" ? "GB/s" : `${trial.unit} per second`,
      yLabel: "",
      xScale: "linear",
      yScale: "linear",
      points,
      ours: oursOf([trial]),
    },
  ];
}

// What one call takes, for the smallest input.
function latencyChart(trial: TrialResult): Chart[] {
  return trial.size === undefined || trial.size > 64 ? [] : timeChart(trial);
}

// Time of one call: lower is better.
function timeChart(trial: TrialResult): Chart[] {
  const perCall = trial.unit === "bytes" ? (trial.size ?? 0) : 1;
  const timed = trial.subjects.flatMap(({ name, median }) =>
    median === undefined ? [] : [{ name, seconds: perCall / median }],
  );
  if (timed.length === 0) return [];
  const [unit, factor] = timeUnit(Math.max(...timed.map(({ seconds }) => seconds)));
  const reference = timed.find(({ name }) => name === trial.reference)?.seconds;
  const points = timed.map(
    ({ name, seconds }, at): Point => ({
      x: seconds * factor,
      y: at,
      subject: name,
      label: `${durationText(seconds)}${reference === undefined || name === trial.reference ? "" : `, ${(reference / seconds).toFixed(2)}× ${trial.reference}`}`,
    }),
  );
  return [
    {
      id: `${trial.id.replaceAll("/", "-")}-time`,
      kind: "bars",
      title: `${trial.title}: time of one, less is better`,
      description: `Bars of ${points.map(({ subject, label }) => `${subject}: ${label}`).join("; ")}.`,
      xLabel: unit,
      yLabel: "",
      xScale: "linear",
      yScale: "linear",
      points,
      ours: oursOf([trial]),
    },
  ];
}

function timeUnit(seconds: number): readonly [unit: string, factor: number] {
  if (seconds < 1e-6) return ["nanoseconds", 1e9];
  return seconds < 1e-3 ? ["microseconds", 1e6] : ["milliseconds", 1e3];
}

function memoryChart(trial: TrialResult): Chart[] {
  const points = trial.subjects.flatMap(({ name, memory = [] }) =>
    memory.map(({ seconds, bytes }) => ({
      x: seconds,
      y: bytes / 2 ** 20,
      subject: name,
      label: `${(bytes / 2 ** 20).toFixed(0)} MiB after ${seconds.toFixed(1)} s`,
    })),
  );
  if (points.length === 0) return [];
  const most = Math.max(...points.map(({ y }) => y));
  return [
    {
      id: trial.id.replaceAll("/", "-"),
      kind: "lines",
      title: trial.title,
      description: `A line of resident memory over time, at most ${most.toFixed(0)} MiB.`,
      xLabel: "seconds",
      yLabel: "MiB",
      xScale: "linear",
      yScale: "linear",
      points,
      ours: oursOf([trial]),
    },
  ];
}

const oursOf = (trials: readonly TrialResult[]): readonly string[] => [
  ...new Set(
    trials.flatMap(({ subjects }) =>
      subjects.filter(({ kind }) => kind === "frameseal").map(({ name }) => name),
    ),
  ),
];

function figureText(trial: TrialResult, subject: SubjectResult): string {
  const { median = Number.NaN } = subject;
  const reference = trial.subjects.find(({ name }) => name === trial.reference)?.median;
  const ratio =
    reference === undefined || subject.name === trial.reference
      ? ""
      : `, ${(median / reference).toFixed(2)}× ${trial.reference}`;
  return `${rateText(median, trial.unit)}${ratio}`;
}

/** How many times as fast as its peer each promise found us; those that hold are drawn as ours. */
export function ratioChart(claims: readonly ClaimResult[]): Chart[] {
  const ratios = claims.flatMap(({ id, text, bar, higher, unit, measured, held }) =>
    measured === undefined || unit !== "×" || !higher || bar < 1 ? [] : [{ id, text, bar, measured, held }],
  );
  if (ratios.length === 0) return [];
  return [
    {
      id: "ratios",
      kind: "bars",
      title: "Times as fast as the peer",
      description: `Bars of ${ratios.map(({ text, measured }) => `${text}: ${measured.toFixed(2)} times`).join("; ")}.`,
      xLabel: "times as fast",
      yLabel: "",
      xScale: "linear",
      yScale: "linear",
      points: ratios.map(({ text, bar, measured }, at) => ({
        x: measured,
        y: at,
        subject: text,
        label: `${measured.toFixed(2)}×, promised ${bar}×`,
      })),
      ours: ratios.filter(({ held }) => held === true).map(({ text }) => text),
    },
  ];
}

/** Trials by group, in the order in which they were run. */
export function groupsOf(result: BenchResult): ReadonlyMap<string, readonly TrialResult[]> {
  const groups = new Map<string, TrialResult[]>();
  for (const trial of result.trials) groups.set(trial.group, [...(groups.get(trial.group) ?? []), trial]);
  return groups;
}
