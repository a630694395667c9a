// File to file by a pump of the engine: its threads read, seal or open, and write by themselves.
import { getSystemErrorMap } from "node:util";
import type { Pump, PumpEnds } from "../engine/engine.ts";
import { type FramesealError, notAuthentic } from "../errors.ts";
import type { MessageHeader } from "../format/header.ts";
import { trailingData, truncatedFrames } from "../message/frame-walk.ts";
import { type Input, RUN_LENGTH } from "./input.ts";
import type { Output } from "./output.ts";

/** Longer frames are not worth memory of a fixed size: a hostile header could ask for much of it. */
export const MAX_RUN_FRAME_LENGTH = RUN_LENGTH;

/** The descriptors of both ends, if the engine, the message and they themselves allow a pump. */
export async function pumpEnds(
  input: Input,
  output: Output,
  canPump: boolean,
  header: MessageHeader,
): Promise<Pick<PumpEnds, "input" | "inputAt" | "output" | "outputAt"> | undefined> {
  if (!canPump || header.frameLength > MAX_RUN_FRAME_LENGTH) return undefined;
  const from = await input.pumpEnd();
  const to = from === undefined ? undefined : await output.pumpEnd();
  if (from === undefined || to === undefined) return undefined;
  return { input: from.descriptor, inputAt: from.at, output: to.descriptor, outputAt: to.at };
}

/** The errors for what exceeds a limit: they differ between sealing and opening. */
export interface PumpLimits {
  tooLong(): FramesealError;
  tooManyFrames(): FramesealError;
}

/** Waits for a pump, reports its progress, and throws what stopped it. */
export async function runPump(pump: Pump, input: Input, output: Output, limits: PumpLimits): Promise<void> {
  const result = await input.watch(pump);
  output.length += result.bytesWritten;
  const { status, errorNumber, frameCount } = result;
  // A file that has grown meanwhile looks like many other failures.
  if (status !== "done" && input.length > (input.size ?? Infinity)) await input.checkUnchanged();
  switch (status) {
    case "done":
      return;
    case "not authentic":
      throw notAuthentic();
    case "truncated":
      throw truncatedFrames(frameCount + 1);
    case "trailing data":
      throw trailingData();
    case "too long":
      throw limits.tooLong();
    case "too many frames":
      throw limits.tooManyFrames();
    case "read failed":
      throw systemError(errorNumber, "read");
    case "write failed":
      throw output.writeError(systemError(errorNumber, "write"));
    default:
      throw new Error("internal error: the pump was stopped");
  }
}

/** The error that Node itself would make of a system call that failed. */
function systemError(errorNumber: number, syscall: string): Error {
  const [code, text] = getSystemErrorMap().get(-errorNumber) ?? ["UNKNOWN", "unknown error"];
  return Object.assign(new Error(`${code}: ${text}, ${syscall}`), { code, syscall, errno: -errorNumber });
}
