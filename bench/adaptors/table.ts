// All adaptors by the names that the child process is told.
import type { Adaptor, BufferSubject, StreamSubject } from "../adaptor.ts";
import * as node from "./node.ts";
import * as ours from "./ours.ts";
import * as peers from "./peers.ts";
import * as clientNodeSteps from "./steps-client-node.ts";
import * as nodeSteps from "./steps-node.ts";
import * as steps from "./steps-ours.ts";

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
  "our AES wrap": steps.aesWrap,
  "our RSA wrap": steps.rsaWrap,
  "our header": steps.header,
  "our derivation": steps.derive,
  "node AES wrap": nodeSteps.aesWrap,
  "node RSA wrap": nodeSteps.rsaWrap,
  "node derivation": nodeSteps.derive,
  "webcrypto RSA wrap": nodeSteps.webRsaWrap,
  "webcrypto derivation": nodeSteps.webDerive,
  "client-node AES wrap": clientNodeSteps.aesWrap,
  "client-node RSA wrap": clientNodeSteps.rsaWrap,
  "client-node header": clientNodeSteps.header,
  "client-node derivation": clientNodeSteps.derive,
} satisfies Record<string, Adaptor<BufferSubject>>;

export const streamAdaptors = {
  "our streams": ours.streams,
  "node streams": node.streams,
  "pass-through": node.passThrough,
  "client-node streams": peers.clientNodeStreams,
} satisfies Record<string, Adaptor<StreamSubject>>;

export type BufferAdaptorName = keyof typeof bufferAdaptors;
export type StreamAdaptorName = keyof typeof streamAdaptors;
