// The state of a multipart upload: what it says, what proves that it is authentic, and what keeps it.
import { createHmac } from "node:crypto";
import { equalConstantTime, wipe } from "../../bytes.ts";
import { notAuthentic } from "../../errors.ts";
import { hkdf } from "../../hkdf.ts";
import type { LedgerState } from "./part-ledger.ts";

/**
 * The state of an upload as JSON: wrapped keys and keyed digests, nothing secret. It is authenticated under a key that
 * follows from the data key, so nobody without that key can change it.
 */
export interface MultipartState {
  readonly version: 2;
  /** Counts the changes of the state, from 1. */
  readonly revision: number;
  readonly bucket: string;
  readonly key: string;
  readonly uploadId: string;
  readonly format: string;
  readonly object: unknown;
  readonly ledger: LedgerState;
  /** Fields that requests about the upload repeat. */
  readonly access: Readonly<Record<string, unknown>>;
  /** How what stands next to the object is stored. */
  readonly side: Readonly<Record<string, unknown>>;
  /** Handed over: nobody goes on with the upload until one client imports this state. */
  readonly exported: boolean;
  readonly mac: string;
}

/** What one change of a state says. */
export type StateContent = Omit<MultipartState, "version" | "revision" | "mac">;

/**
 * Keeps states of uploads for several clients, processes and restarts. Clients that share a store share their uploads.
 * A store must be trusted not to return to an older state: with one, the nonces of the parts that were sent since would
 * be used again. It needs no secrecy, and what it changes is found out. (With RSA keyrings, whoever can write to it can
 * also choose the key of an upload, since anybody can wrap one.)
 */
export interface MultipartStateStore {
  /** Resolves to the newest state. It must see every `compareAndSwap` that has resolved, whoever called it. */
  load(uploadId: string): Promise<MultipartState | undefined>;
  /**
   * Keeps `state` in place of the one with the revision `expected`; undefined means that there must be none. Resolves to
   * true when it did, and to false, having changed nothing, when something else was there. Must be atomic among all
   * who use the store, and durable when it resolves: bytes are sent only then. When it fails, either may have happened.
   */
  compareAndSwap(uploadId: string, state: MultipartState, expected: number | undefined): Promise<boolean>;
  /** Forgets an upload that has ended. */
  remove(uploadId: string): Promise<void>;
}

/** @throws TypeError for what cannot keep states safely, such as a store that can only overwrite */
export function checkStateStore(store: unknown): void {
  for (const name of ["load", "compareAndSwap", "remove"]) {
    const method = (store as Record<string, unknown> | null)?.[name];
    if (typeof method !== "function")
      throw new TypeError(`"multipartStates" expected a method ${name}, got ${typeof method}`);
  }
}

/** @throws TypeError for what is no state of this version */
export function checkState(state: unknown): asserts state is MultipartState {
  const fields = state as Partial<Record<keyof MultipartState, unknown>> | null;
  const texts = [fields?.bucket, fields?.key, fields?.uploadId, fields?.format, fields?.mac];
  const ledger = fields?.ledger as Partial<LedgerState> | null | undefined;
  const valid =
    fields?.version === 2 &&
    Number.isSafeInteger(fields.revision) &&
    texts.every((text) => typeof text === "string") &&
    typeof fields.exported === "boolean" &&
    isRecord(fields.access) &&
    isRecord(fields.side) &&
    Array.isArray(ledger?.parts);
  if (!valid) throw new TypeError('"state" expected what exportMultipartUpload returned');
}

function isRecord(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}

/** The key under which states of one upload are authenticated. Wipes `ledgerKey`. */
export class StateKey {
  readonly #key: Uint8Array;

  constructor(ledgerKey: Uint8Array) {
    this.#key = hkdf("sha256", ledgerKey, NO_SALT, [INFO], 32);
    wipe(ledgerKey);
  }

  /** Makes a state that is authentic. */
  sign(content: StateContent, revision: number): MultipartState {
    const state = { version: 2, revision, ...content } as const;
    return { ...state, mac: this.#mac(state).toString("base64") };
  }

  /** @throws FramesealError AUTHENTICATION_FAILED */
  verify(state: MultipartState): void {
    const { mac, ...signed } = state;
    // As text: Base64 has several spellings for the same bytes, and a state is known by this one.
    const expected = this.#mac(signed).toString("base64");
    if (!equalConstantTime(Buffer.from(mac), Buffer.from(expected))) throw notAuthentic();
  }

  #mac(state: Omit<MultipartState, "mac">): Buffer {
    return createHmac("sha256", this.#key).update(canonicalJson(state)).digest();
  }

  dispose(): void {
    wipe(this.#key);
  }
}

const NO_SALT = new Uint8Array(0);
const INFO = Buffer.from("frameseal upload state", "ascii");

// One text for one value: stores may sort the members of objects and drop those that are undefined.
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    typeof member === "object" && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}
