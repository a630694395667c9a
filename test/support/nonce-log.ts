// Every nonce that a server ever saw, of framed messages in whole bodies and in parts: under one message id, which stands
// for one key, a nonce may come back only with the same bytes.
import { createHash } from "node:crypto";
import { inspectHeader } from "../../src/index.ts";
import type { S3Call } from "./s3-objects.ts";

const FINAL_MARK = 0xffff_ffff;
const IV_LENGTH = 12;
const TAG_LENGTH = 16;

/** The message that the parts of one upload make. */
interface Message {
  id: string;
  readonly frameLength: number;
}

export class NonceLog {
  /** Message id and nonce -> digest of frame and tag. */
  readonly #seen = new Map<string, string>();
  readonly #uploads = new Map<string, Message>();
  /** Parts that came before the first one of their upload. */
  readonly #early = new Map<string, Buffer[]>();
  readonly repeats: string[] = [];
  /** Bodies that are no messages. */
  readonly unknown: string[] = [];

  get frames(): number {
    return this.#seen.size;
  }

  /** For `onBody` of the server. */
  take(call: S3Call, body: Buffer): void {
    if (call.method !== "PUT" || body.length === 0) return;
    const uploadId = call.query.get("uploadId");
    const number = Number(call.query.get("partNumber") ?? 1);
    if (uploadId === null) {
      this.#takeMessage(call.key, body);
      return;
    }
    if (number > 1) {
      const message = this.#uploads.get(uploadId);
      if (message === undefined) this.#early.set(uploadId, [...(this.#early.get(uploadId) ?? []), body]);
      else this.#takeFrames(message, body);
      return;
    }
    const message = this.#takeMessage(call.key, body);
    if (message === undefined) return;
    this.#uploads.set(uploadId, message);
    for (const early of this.#early.get(uploadId) ?? []) this.#takeFrames(message, early);
    this.#early.delete(uploadId);
  }

  /** Parts whose first one never came: they are told apart by their upload. */
  finish(frameLength: number): void {
    for (const [id, bodies] of this.#early)
      for (const body of bodies) this.#takeFrames({ id, frameLength }, body);
    this.#early.clear();
  }

  #takeMessage(key: string, body: Buffer): Message | undefined {
    let header: ReturnType<typeof inspectHeader>;
    try {
      header = inspectHeader(body);
    } catch {
      this.unknown.push(key);
      return undefined;
    }
    const message = { id: Buffer.from(header.messageId).toString("hex"), frameLength: header.frameLength };
    this.#takeFrames(message, body.subarray(header.headerLength));
    return message;
  }

  #takeFrames({ id, frameLength }: Message, body: Buffer): void {
    for (let at = 0; at < body.length; ) {
      const isFinal = body.readUInt32BE(at) === FINAL_MARK;
      const nonceAt = at + (isFinal ? 8 : 4);
      const contentAt = nonceAt + IV_LENGTH + (isFinal ? 4 : 0);
      const length = isFinal ? body.readUInt32BE(nonceAt + IV_LENGTH) : frameLength;
      const end = contentAt + length + TAG_LENGTH;
      if (end > body.length) throw new Error(`a frame of ${id} ends behind its part`);
      const nonce = body.toString("hex", nonceAt, nonceAt + IV_LENGTH);
      const digest = createHash("sha256").update(body.subarray(contentAt, end)).digest("base64");
      const name = `${id} ${nonce}`;
      const known = this.#seen.get(name);
      if (known !== undefined && known !== digest) this.repeats.push(name);
      this.#seen.set(name, digest);
      at = end;
    }
  }
}
