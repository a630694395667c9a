// What `npm run bench:callgrind` makes of counts: within the tolerance, beyond it, not on record, another compiler.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";

const script = path.resolve(import.meta.dirname, "../../bench/native/compare-instructions.mjs");
const record = JSON.parse(
  readFileSync(path.resolve(import.meta.dirname, "../../bench/native/instructions.json"), "utf8"),
) as { compiler: string; tolerance: number; instructions: Record<string, number> };
const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** Compares counts, as callgrind writes them, with the record. */
function compare(counts: Readonly<Record<string, number>>, compiler = record.compiler) {
  const folder = mkdtempSync(path.join(tmpdir(), "frameseal-test-"));
  folders.push(folder);
  const names = Object.keys(counts);
  writeFileSync(
    path.join(folder, "cases.jsonl"),
    names.map((name) => `${JSON.stringify({ name, bytes: 16, calls: 1 })}\n`).join(""),
  );
  for (const [i, name] of names.entries())
    writeFileSync(
      path.join(folder, `counts.${i + 1}`),
      `desc: Trigger: Client Request: ${name}\nevents: Ir\nsummary: ${counts[name]}\ntotals: ${counts[name]}\n`,
    );
  const args = [script, folder, `${compiler.split(" ")[1]}.2.0`];
  return spawnSync(process.execPath, args, { encoding: "utf8" });
}

describe("counted instructions", () => {
  const { instructions, tolerance } = record;

  it("pass within the tolerance", () => {
    const { status, stdout } = compare(instructions);
    expect(stdout).toContain(`${Object.keys(instructions).length} cases within 2 % of the record`);
    expect(status).toBe(0);
  });

  it.each([1 + 1.5 * tolerance, 1 - 1.5 * tolerance])("fail at %f times the record", (factor) => {
    const changed = { ...instructions, "seal/65536": Math.round((instructions["seal/65536"] ?? 0) * factor) };
    const { status, stdout } = compare(changed);
    expect(stdout).toMatch(/^seal\/65536 .* beyond the tolerance$/m);
    expect(status).toBe(1);
  });

  it("fail for a case that is not on record, or no longer counted", () => {
    expect(compare({ ...instructions, "new/case": 5 }).status).toBe(1);
    const { "seal/16": _gone, ...rest } = instructions;
    expect(compare(rest)).toMatchObject({ status: 1, stdout: expect.stringContaining("seal/16: on record") });
  });

  it("are not compared with those of another compiler", () => {
    const { status, stdout } = compare({ ...instructions, "seal/16": 1 }, "g++ 99");
    expect(stdout).toContain("not compared");
    expect(status).toBe(0);
  });
});
