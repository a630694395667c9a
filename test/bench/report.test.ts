// The page as text: complete in itself, names taken for untrusted, absent subjects said.
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { escapeJson, renderReport } from "../../dist/bench/report.js";
import { run, subject, trial } from "./fixture.ts";

const hostile = `</script><script>alert(1)</script>"'&\u2028`;

describe("the page", () => {
  const page = renderReport(
    run(
      [
        trial("frames/seal/64KiB", [subject("frameseal native", [12e9]), subject(hostile, [1e9])], {
          frameLength: 65_536,
        }),
        trial(
          "frames/seal/1MiB",
          [
            subject("frameseal native", [12e9]),
            { name: "absent peer", kind: "library", notRun: "the package is not installed" },
            subject(hostile, [1e9]),
          ],
          { frameLength: 2 ** 20 },
        ),
        trial("memory/stream", [
          subject("frameseal native", [1e9], { memory: [{ seconds: 1, bytes: 2 ** 26 }] }),
        ]),
      ],
      {
        claims: [
          {
            id: "a",
            text: hostile,
            bar: 2,
            higher: true,
            unit: "×",
            trials: ["t"],
            measured: 12,
            held: true,
          },
          { id: "b", text: "other", bar: 2, higher: false, unit: "ns", trials: ["t"], notRun: "no figure" },
        ],
      },
    ),
  );

  it("runs no script but its own, which the policy names by its hash", () => {
    const scripts = [...page.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(([, text]) => text ?? "");
    expect(scripts).toHaveLength(1);
    const hash = createHash("sha256")
      .update(scripts[0] ?? "")
      .digest("base64");
    expect(page).toContain(`script-src 'sha256-${hash}'`);
    expect(page).toContain("default-src 'none'");
  });

  it("writes names as text", () => {
    expect(page).not.toContain("<script>alert");
    expect(page).toContain("&#60;script&#62;alert(1)");
    const json = /<script type="application\/json" id="charts">(.*?)<\/script>/s.exec(page)?.[1] ?? "";
    expect(JSON.stringify(JSON.parse(json))).toContain("alert(1)");
  });

  it("says what was not run, and what holds", () => {
    expect(page).toContain("not run: the package is not installed");
    expect(page).toContain("✓ held");
    expect(page).toContain("no figure");
    expect(page).toContain("1 of 1 measured ones hold");
  });

  it("loads nothing", () => {
    const outside = page.replace(/<script>[\s\S]*?<\/script>/g, "");
    expect(outside).not.toMatch(/https?:\/\//);
    expect(outside).not.toMatch(/ src=/);
  });

  it("gives every chart a place and a description", () => {
    const json = /<script type="application\/json" id="charts">(.*?)<\/script>/s.exec(page)?.[1] ?? "";
    const charts = JSON.parse(json) as { id: string; description: string; points: unknown[] }[];
    expect(charts.map(({ id }) => id)).toEqual(["ratios", "frames-seal", "memory-stream"]);
    for (const { id, description, points } of charts) {
      expect(page).toContain(`id="chart-${id}"`);
      expect(description.length).toBeGreaterThan(20);
      expect(points.length).toBeGreaterThan(0);
    }
  });
});

it("escapes JSON so that it cannot end its element", () => {
  const value = { text: "</script><!--\u2028" };
  expect(escapeJson(value)).not.toMatch(/[<\u2028]/);
  expect(JSON.parse(escapeJson(value))).toEqual(value);
});
