// Runs in the page: draws every chart with Observable Plot. Figures come from the JSON in the page itself.
import * as Plot from "@observablehq/plot";
import type { Chart, Point } from "../charts.ts";

// Okabe and Ito's colours that all can tell apart, without yellow, which is too light on white.
const palette = [
  "#0072b2",
  "#d55e00",
  "#009e73",
  "#cc79a7",
  "#56b4e9",
  "#e69f00",
  "#7f7f7f",
  "#8c564b",
  "#332288",
  "#882255",
  "#117733",
  "#999933",
];

function colours(chart: Chart): Plot.ScaleOptions {
  const subjects = [...new Set(chart.points.map(({ subject }) => subject))];
  return { domain: subjects, range: subjects.map((_subject, i) => palette[i % palette.length] ?? "#7f7f7f") };
}

/** One chart as an element. @param width of the place it is for, in CSS pixels */
export function draw(chart: Chart, width: number): Element {
  return chart.kind === "bars" ? drawBars(chart, width) : drawLines(chart, width);
}

const tip = { fontSize: 13, fill: "var(--paper)", stroke: "var(--line)" } as const;

function drawLines(chart: Chart, width: number): Element {
  const isOurs = ({ subject }: Point): boolean => chart.ours.includes(subject);
  const dense = chart.points.length > 60;
  const ticks = chart.ticks?.map(({ x }) => x);
  const textOf = new Map(chart.ticks?.map(({ x, text }) => [x, text]));
  const shown = width < 480 ? ticks?.filter((_tick, i) => i % 2 === 0) : ticks;
  return Plot.plot({
    width,
    height: Math.min(380, Math.max(260, width * 0.5)),
    marginLeft: 56,
    marginBottom: 44,
    ariaLabel: chart.title,
    ariaDescription: chart.description,
    style: { fontSize: "12px", background: "transparent", overflow: "visible" },
    x: {
      type: chart.xScale,
      // Lengths are powers of two; with base 10 the labels of some are left out.
      ...(chart.xScale === "log" ? { base: 2 } : {}),
      label: chart.xLabel,
      ...(shown === undefined ? {} : { ticks: shown, tickFormat: (x: number) => textOf.get(x) ?? String(x) }),
    },
    y: {
      type: chart.yScale,
      label: chart.yLabel,
      grid: true,
      zero: chart.yScale === "linear",
      ...(chart.yScale === "log" ? { ticks: 5, tickFormat: "~g" } : {}),
    },
    color: colours(chart),
    symbol: { domain: colours(chart).domain as string[], legend: !dense },
    marks: [
      Plot.lineY(chart.points, {
        x: "x",
        y: "y",
        stroke: "subject",
        strokeWidth: dense ? 1.5 : 2,
        filter: (point: Point) => dense || isOurs(point),
      }),
      Plot.lineY(chart.points, {
        x: "x",
        y: "y",
        stroke: "subject",
        strokeWidth: 1.2,
        strokeDasharray: "5 3",
        filter: (point: Point) => !dense && !isOurs(point),
      }),
      ...(dense
        ? []
        : [
            Plot.dot(chart.points, {
              x: "x",
              y: "y",
              stroke: "subject",
              symbol: "subject",
              fill: "var(--paper)",
              r: 4,
            }),
          ]),
      Plot.tip(chart.points, Plot.pointer({ x: "x", y: "y", title: titleOf, maxRadius: 60, ...tip })),
    ],
  });
}

function drawBars(chart: Chart, width: number): Element {
  const narrow = width < 480;
  const left = narrow
    ? 12
    : Math.min(0.48 * width, 16 + 6.6 * Math.max(...chart.points.map(({ subject }) => subject.length)));
  return Plot.plot({
    width,
    height: 60 + chart.points.length * (narrow ? 44 : 30),
    marginLeft: left,
    marginRight: 24,
    marginBottom: 40,
    ariaLabel: chart.title,
    ariaDescription: chart.description,
    style: { fontSize: "12px", background: "transparent", overflow: "visible" },
    x: { label: chart.xLabel, grid: true, insetRight: narrow ? 90 : 170, zero: true },
    y: {
      type: "band",
      domain: chart.points.map(({ subject }) => subject),
      label: null,
      axis: narrow ? null : "left",
      padding: narrow ? 0.5 : 0.25,
    },
    marks: [
      Plot.barX(chart.points, {
        x: "x",
        y: "subject",
        fill: ({ subject }: Point) => (chart.ours.includes(subject) ? "#0072b2" : "#8a8f98"),
      }),
      Plot.text(chart.points, {
        x: "x",
        y: "subject",
        text: ({ label }: Point) => (narrow ? (label.split(",")[0] ?? label) : label),
        textAnchor: "start",
        dx: 6,
        fill: "currentColor",
      }),
      ...(narrow
        ? [
            Plot.text(chart.points, {
              x: 0,
              y: "subject",
              text: "subject",
              lineWidth: (width - 40) / 12,
              textOverflow: "ellipsis",
              textAnchor: "start",
              dy: -19,
              fill: "currentColor",
            }),
          ]
        : []),
      Plot.ruleX([0]),
      Plot.tip(chart.points, Plot.pointerY({ x: "x", y: "subject", title: titleOf, ...tip })),
    ],
  });
}

const titleOf = ({ subject, label }: Point): string => `${subject}\n${label}`;
