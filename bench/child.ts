// One subject in a process of its own. Commands come as JSON lines on standard input, answers go as JSON lines to
// standard output: that works in Node, Bun and Deno alike.
import { readFileSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { Absent } from "./adaptor.ts";
import type { ChildCommand, ChildTask, Ready, Round } from "./child-protocol.ts";
import type { Workload } from "./workload.ts";

const workloads: Readonly<
  Record<ChildTask["workload"], () => Promise<(task: ChildTask) => Promise<Workload>>>
> = {
  buffers: async () => (await import("./workloads/buffers.ts")).createBuffers,
  streams: async () => (await import("./workloads/streams.ts")).createStreams,
  "concurrent streams": async () => (await import("./workloads/streams.ts")).createConcurrentStreams,
  ranges: async () => (await import("./workloads/ranges.ts")).createRanges,
  "ranges over HTTP": async () => (await import("./workloads/ranges.ts")).createHttpRanges,
  "small S3 objects": async () => (await import("./workloads/small-objects.ts")).createSmallObjects,
  "S3 transfers": async () => (await import("./workloads/s3-transfers.ts")).createTransfers,
};

let workload: Workload | undefined;

async function answer(command: ChildCommand): Promise<object> {
  if (command.do === "start") {
    const create = await workloads[command.task.workload]();
    workload = await create(command.task);
    const { synchronous = false, timer } = workload;
    return { ready: { synchronous, ...(timer === undefined ? {} : { timer }) } satisfies Ready };
  }
  if (workload === undefined) throw new Error("internal error: not started");
  if (command.do === "produce")
    return { sealed: Buffer.from(await workload.produce(command.size)).toString("base64") };
  if (command.do === "accept") {
    await workload.accept(command.size, Buffer.from(command.sealed, "base64"));
    return { accepted: true };
  }
  if (command.do === "round") return { round: await measured(workload) };
  return { peakBytes: peakBytes(), figures: await workload.figures?.() };
}

// Not ru_maxrss where there is another way: Linux starts it at what the parent held when it forked.
function peakBytes(): number {
  try {
    const kibibytes = /^VmHWM:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    if (kibibytes !== undefined) return Number(kibibytes) * 1024;
  } catch {}
  return process.resourceUsage().maxRSS * 1024;
}

async function measured(work: Workload): Promise<Round> {
  const before = process.cpuUsage();
  const start = performance.now();
  const done = await work.round();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(before);
  const rate = typeof done === "number" ? done / seconds : done.perSecond;
  return { rate, seconds, cpuSeconds: (user + system) / 1e6 };
}

const lines = createInterface({ input: process.stdin });
for await (const line of lines) {
  const command = JSON.parse(line) as ChildCommand;
  let reply: object;
  try {
    reply = await answer(command);
  } catch (error) {
    const { message } = error as Error;
    reply = error instanceof Absent ? { absent: message } : { failed: message };
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
  if (command.do === "end") break;
}
process.exit(0);
