// Frames that are opened while they arrive: same plaintext, same errors, and nothing of a frame before its tag.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { createDecryptStream, createEncryptStream, encrypt, RawAesKeyring } from "../../src/index.ts";

const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 6) });
const frameLength = 400_000;
const data = randomBytes(3 * frameLength + 123_456);

function* pieces(bytes: Uint8Array, length: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield Uint8Array.from(bytes.subarray(at, at + length));
}

/** What came out before the error, if there was one. */
async function open(message: Uint8Array, pieceLength: number, engine: string | undefined) {
  const stream = createDecryptStream({ keyring, engine });
  const chunks: Buffer[] = [];
  stream.on("data", (chunk) => chunks.push(chunk));
  const ended = once(stream, "end");
  Readable.from(pieces(message, pieceLength), { objectMode: false }).pipe(stream);
  const code = await ended.then(
    () => "",
    (error) => error.code,
  );
  return { plaintext: Buffer.concat(chunks), code };
}

describe.each([undefined, "node"])("long frames, engine %s", (engine) => {
  test.each([1_000, 65_536, 65_541, 400_032, 1_000_000, 5_000_000])(
    "in pieces of %i",
    async (pieceLength) => {
      for (const suite of [0x0478, 0x0578]) {
        const sealer = createEncryptStream({ keyring, frameLength, suite, engine });
        const message = await buffer(
          Readable.from(pieces(data, pieceLength), { objectMode: false }).pipe(sealer),
        );
        const { plaintext, code } = await open(message, pieceLength, engine);
        expect(code).toBe("");
        expect(plaintext.equals(data)).toBe(true);
      }
    },
  );

  test("a change anywhere in a frame keeps all of it back", async () => {
    const message = await encrypt(data, { keyring, frameLength });
    const stored = frameLength + 32;
    const headerLength = message.length - 3 * stored - 123_456 - 40;
    // Sequence number, nonce, first, middle and last byte of the text, tag.
    for (const frame of [0, 1, 2])
      for (const at of [0, 3, 4, 15, 16, 200_000, stored - 17, stored - 16, stored - 1])
        for (const pieceLength of [65_536, 250_000]) {
          const forged = Buffer.from(message);
          const index = headerLength + frame * stored + at;
          forged[index] = (forged[index] ?? 0) ^ 1;
          const { plaintext, code } = await open(forged, pieceLength, engine);
          expect(code).toBe("AUTHENTICATION_FAILED");
          expect(plaintext.equals(data.subarray(0, frame * frameLength))).toBe(true);
        }
  });

  test("a message that ends inside a frame is truncated", async () => {
    const message = await encrypt(data, { keyring, frameLength });
    const stored = frameLength + 32;
    const headerLength = message.length - 3 * stored - 123_456 - 40;
    for (const frame of [0, 2])
      for (const length of [0, 3, 16, 30_000, 70_000, 200_001, stored - 16, stored - 1]) {
        const cut = message.subarray(0, headerLength + frame * stored + length);
        const { plaintext, code } = await open(cut, 65_536, engine);
        expect(code).toBe("TRUNCATED");
        expect(plaintext.equals(data.subarray(0, frame * frameLength))).toBe(true);
      }
  });

  test("a stream that is destroyed inside a frame closes", async () => {
    const message = await encrypt(data, { keyring, frameLength });
    const stream = createDecryptStream({ keyring, engine });
    stream.write(message.subarray(0, 300_000));
    await new Promise((resolve) => setTimeout(resolve, 5));
    stream.destroy();
    await once(stream, "close");
    expect(stream.readableLength).toBe(0);
  });
});
