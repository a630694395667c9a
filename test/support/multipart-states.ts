// A store of upload states in memory, and states to try stores with.
import type { MultipartState, MultipartStateStore } from "../../src/s3.ts";

/** Keeps states as text. */
export function memoryStates(): MultipartStateStore & { readonly states: Map<string, string> } {
  const states = new Map<string, string>();
  const parse = (text: string | undefined): MultipartState | undefined =>
    text === undefined ? undefined : JSON.parse(text);
  return {
    states,
    load: async (uploadId) => parse(states.get(uploadId)),
    async compareAndSwap(uploadId, state, expected) {
      if (parse(states.get(uploadId))?.revision !== expected) return false;
      states.set(uploadId, JSON.stringify(state));
      return true;
    },
    async remove(uploadId) {
      states.delete(uploadId);
    },
  };
}

/** A state as far as stores look at it. */
export function stateOf(uploadId: string, revision: number): MultipartState {
  return {
    version: 2,
    revision,
    bucket: "bucket",
    key: "key",
    uploadId,
    format: "framed",
    object: { header: "" },
    ledger: { parts: [] },
    access: {},
    side: {},
    exported: false,
    mac: "",
  };
}
