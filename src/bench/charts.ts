// Which pictures a run makes: data only, drawn in the page by page/draw.ts.
import type { BenchResult, SubjectResult, TrialResult } from "./result.ts";
import { rateText } from "./text.ts";
import { lengthText } from "./trials.ts";

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
  calls: { x: ({ size }) => size, label: "bytes of one call" },
  frames: { x: ({ frameLength }) => frameLength, label: "frame length" },
  messages: { x: ({ size }) => size, label: "length of the message" },
  lengths: { x: ({ size }) => size, label: "length of the stream" },
  scaling: { x: ({ threads }) => threads, label: "threads" },
  concurrent: { x: ({ threads }) => threads, label: "streams at a time" },
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
  const bytes = group !== "scaling" && group !== "concurrent";
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

// What one call takes, for the smallest input: lower is better.
function latencyChart(trial: TrialResult): Chart[] {
  const { size } = trial;
  if (size === undefined || size > 64) return [];
  const points = trial.subjects.flatMap((subject, at): Point[] => {
    if (subject.median === undefined) return [];
    const nanoseconds = (size / subject.median) * 1e9;
    return [{ x: nanoseconds, y: at, subject: subject.name, label: `${nanoseconds.toFixed(0)} ns` }];
  });
  return [
    {
      id: `latency-${trial.operation}`,
      kind: "bars",
      title: `One call of ${lengthText(size)} (${trial.operation}): shorter is better`,
      description: `Bars of ${points.map(({ subject, label }) => `${subject}: ${label}`).join("; ")}.`,
      xLabel: "nanoseconds",
      yLabel: "",
      xScale: "linear",
      yScale: "linear",
      points,
      ours: oursOf([trial]),
    },
  ];
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

/** Trials by group, in the order in which they were run. */
export function groupsOf(result: BenchResult): ReadonlyMap<string, readonly TrialResult[]> {
  const groups = new Map<string, TrialResult[]>();
  for (const trial of result.trials) groups.set(trial.group, [...(groups.get(trial.group) ?? []), trial]);
  return groups;
}
