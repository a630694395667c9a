import type { BenchResult } from "./result.ts";

export function renderReport(_result: BenchResult): string {
  throw new Error("not yet");
}
