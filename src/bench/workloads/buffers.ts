// Whole buffers: seal or open one again and again, one call at a time or several in flight.
import { Absent, type Adaptor, type BufferSubject } from "../adaptor.ts";
import { bufferAdaptors } from "../adaptors/table.ts";
import type { ChildTask, Workload } from "../child.ts";
import { agreementBytes, benchBytes, mustBeEqual } from "./source.ts";

export async function createBuffers(task: ChildTask): Promise<Workload> {
  const adaptor = (bufferAdaptors as Readonly<Record<string, Adaptor<BufferSubject>>>)[task.adaptor];
  if (adaptor === undefined) throw new Absent(`no such adaptor: ${task.adaptor}`);
  const subjectOf = (size: number): Promise<BufferSubject> => adaptor.create({ ...task.options, size });
  const subject = await subjectOf(task.options.size);
  const plaintext = benchBytes(task.options.size);
  // Copied: the subject may use the memory of its result again.
  const sealed = Uint8Array.from(await subject.seal(plaintext));
  mustBeEqual(await subject.open(sealed), plaintext);
  const call = task.operation === "seal" ? () => subject.seal(plaintext) : () => subject.open(sealed);
  let calls = 1;
  const round = async (): Promise<number> => {
    if (task.inFlight > 1) await inFlight(subject, call, calls, task.inFlight);
    else {
      const first = call();
      if (first instanceof Promise) {
        await first;
        for (let n = 1; n < calls; n++) await call();
      } else for (let n = 1; n < calls; n++) call();
    }
    return calls * task.options.size;
  };
  calls = await callsFor(task.roundSeconds, async (count) => {
    calls = count;
    await round();
  });
  return {
    round,
    produce: async (size) => (await subjectOf(size)).seal(agreementBytes(size)),
    accept: async (size, bytes) =>
      mustBeEqual(await (await subjectOf(size)).open(bytes), agreementBytes(size)),
  };
}

async function inFlight(
  { recycle }: BufferSubject,
  call: () => Uint8Array | Promise<Uint8Array>,
  calls: number,
  lanes: number,
): Promise<void> {
  let left = calls;
  const lane = async (): Promise<void> => {
    while (left-- > 0) {
      const result = await call();
      recycle?.(result);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/**
 * How many calls fill a round, after a warm-up of `warmSeconds`: until then code is compiled, memory is touched for the
 * first time and the garbage collector finds its pace.
 */
export async function callsFor(
  roundSeconds: number,
  run: (count: number) => Promise<unknown>,
  warmSeconds = 0.1,
): Promise<number> {
  const warm = performance.now() + warmSeconds * 1000;
  do await run(1);
  while (performance.now() < warm);
  for (let count = 1; ; ) {
    const start = performance.now();
    await run(count);
    const seconds = (performance.now() - start) / 1000;
    if (seconds >= roundSeconds / 2) return Math.max(1, Math.round((count * roundSeconds) / seconds));
    count = Math.max(count + 1, Math.ceil(Math.min(count * 10, (count * roundSeconds * 0.7) / seconds)));
  }
}
