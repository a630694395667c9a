// Kernels alone: what is made of the program's lines; and keeping a process on one CPU.
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { pinMainThread } from "../../dist/bench/pinning.js";
import { type Measured, subjectsOf } from "../../dist/bench/run-kernels.js";
import { findProgram } from "../../dist/bench/run-programs.js";
import { listKernelTrials } from "../../dist/bench/trials/kernel-trials.js";

const row = (subject: string, nanoseconds: number, cyclesPer64?: number) => ({
  subject,
  direction: "seal",
  length: 65_536,
  nanoseconds,
  ...(cyclesPer64 === undefined ? {} : { cyclesPer64 }),
});
const measured: Measured = {
  head: { versions: "OpenSSL 3.0", clockHertz: 3e9 },
  rows: [
    row("openssl-evp", 16_000, 52),
    row("vaes512", 4000, 16),
    row("vaes512", 4096, 16.4),
    row("vaes512", 5000, 17),
    { ...row("vaes512", 10), direction: "open" },
    { subject: "vaes512", direction: "setKey", length: 0, nanoseconds: 250 },
  ],
  absent: ["intel-ipsec-mb"],
  javascript: [15e9],
};
const trialOf = (id: string) => {
  for (const { trial } of listKernelTrials()) if (trial.id === id) return trial;
  throw new Error(`no trial ${id}`);
};

describe("what the program of kernels printed", () => {
  it("becomes rates, with their cycles, and JavaScript beside", () => {
    const subjects = subjectsOf(measured, trialOf("kernels/seal/64KiB"));
    expect(subjects.map(({ name }) => name)).toEqual([
      "openssl-evp",
      "vaes512",
      "frameseal native, through JavaScript",
      "intel-ipsec-mb",
    ]);
    expect(subjects[1]).toMatchObject({ kind: "frameseal", figures: { "cycles a 64 bytes": 16.4 } });
    expect(subjects[1]?.median).toBeCloseTo(16e9, -3);
    expect(subjects[1]?.samples).toHaveLength(3);
    expect(subjects[2]?.median).toBe(15e9);
    expect(subjects[3]).toMatchObject({ notRun: expect.stringContaining("not installed") });
  });

  it("counts key set-ups", () => {
    const [first] = subjectsOf(measured, trialOf("kernels/key-set-up"));
    expect(first?.name).toBe("vaes512");
    expect(first?.median).toBeCloseTo(4e6, -2);
    expect(first?.figures).toBeUndefined();
  });
});

describe.skipIf(process.platform !== "linux" || findProgram("taskset") === undefined)("pinning", () => {
  it("keeps the main thread on one CPU, and leaves the others alone", async () => {
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000); console.log('up')"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    try {
      await new Promise((resolve) => child.stdout.once("data", resolve));
      const allowed = (thread: string): string | undefined =>
        /^Cpus_allowed_list:\s+(\S+)$/m.exec(
          readFileSync(`/proc/${child.pid}/task/${thread}/status`, "utf8"),
        )?.[1];
      const before = allowed(String(child.pid));
      pinMainThread(child.pid);
      expect(allowed(String(child.pid))).toMatch(/^\d+$/);
      const others = readdirSync(`/proc/${child.pid}/task`).filter((thread) => thread !== String(child.pid));
      expect(others.length).toBeGreaterThan(0);
      for (const thread of others) expect(allowed(thread)).toBe(before);
    } finally {
      child.kill();
    }
  });
});
