// All adaptors by the names that the child process is told.
import type { Adaptor, BufferSubject, StreamSubject } from "../adaptor.ts";
import * as node from "./node.ts";
import * as ours from "./ours.ts";
import * as peers from "./peers.ts";

export const bufferAdaptors = {
  "our messages": ours.messages,
  "our frame runs": ours.frameRuns,
  "our frame runs, threads": ours.frameRunsOnThreads,
  "our gcm calls": ours.gcmCalls,
  "node gcm calls": node.gcmCalls,
  "node frame runs": node.frameRuns,
  webcrypto: node.webCrypto,
  "client-node messages": peers.clientNodeMessages,
  noble: peers.noble,
  sodium: peers.sodium,
  age: peers.age,
} satisfies Record<string, Adaptor<BufferSubject>>;

export const streamAdaptors = {
  "our streams": ours.streams,
  "node streams": node.streams,
  "pass-through": node.passThrough,
  "client-node streams": peers.clientNodeStreams,
} satisfies Record<string, Adaptor<StreamSubject>>;

export type BufferAdaptorName = keyof typeof bufferAdaptors;
export type StreamAdaptorName = keyof typeof streamAdaptors;
