// Whole buffers: seal or open one again and again, one call at a time or several in flight.

import { isBytes, isThenable } from "#frameseal/shapes.js";
import { Absent, type Adaptor, type BufferSubject } from "../adaptor.ts";
import { bufferAdaptors } from "../adaptors/table.ts";
import type { ChildTask } from "../child-protocol.ts";
import type { Workload } from "../workload.ts";
import { createCallTimer } from "./benchmark.ts";
import { callsFor, repeat } from "./repeat.ts";
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
  const call = callOf(task, subject, plaintext, sealed);
  const isAsync = await isAsynchronous(call);
  let calls = 1;
  const round = async (): Promise<number> => {
    if (task.inFlight > 1) await inFlight(subject, call, calls, task.inFlight);
    else await repeat(call, calls);
    return calls * task.unitsPerCall;
  };
  const timer = task.byBenchmark ? await createCallTimer(call, isAsync, task.roundSeconds) : undefined;
  if (timer === undefined)
    calls = await callsFor(task.roundSeconds, async (count) => {
      calls = count;
      await round();
    });
  return {
    synchronous: !isAsync,
    ...(timer === undefined
      ? { round }
      : {
          timer: timer.name,
          round: async () => ({ perSecond: (await timer.measure()) * task.unitsPerCall }),
        }),
    produce: async (size) => (await subjectOf(size)).seal(agreementBytes(size)),
    accept: async (size, bytes) =>
      mustBeEqual(await (await subjectOf(size)).open(bytes), agreementBytes(size)),
  };
}

function callOf(
  { operation }: ChildTask,
  subject: BufferSubject,
  plaintext: Uint8Array,
  sealed: Uint8Array,
): () => unknown {
  if (operation === "seal") return () => subject.seal(plaintext);
  if (operation === "open") return () => subject.open(sealed);
  const { setUp } = subject;
  if (setUp === undefined) throw new Absent("it has no such step of its own");
  return () => setUp.call(subject);
}

async function isAsynchronous(call: () => unknown): Promise<boolean> {
  const result = call();
  if (!isThenable(result)) return false;
  await result;
  return true;
}

async function inFlight(
  { recycle }: BufferSubject,
  call: () => unknown,
  calls: number,
  lanes: number,
): Promise<void> {
  let left = calls;
  const lane = async (): Promise<void> => {
    while (left-- > 0) {
      const result = await call();
      if (isBytes(result)) recycle?.(result);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}
