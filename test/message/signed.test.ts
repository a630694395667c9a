// Signed messages whose hash runs beside the frames: same format, same refusals, and nobody can change what is being
// hashed. Engines with a hash that the test holds back show the order of events.
import { createHash, createVerify, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { buildClient, RawAesKeyringNode, RawAesWrappingSuiteIdentifier } from "@aws-crypto/client-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { BackgroundHash, Engine } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/engine.ts";
import { selectEngine } from "../../src/engine/select-engine.ts";
import {
  createDecryptStream,
  createEncryptStream,
  decrypt,
  decryptFile,
  encrypt,
  encryptFile,
  inspectHeader,
  RawAesKeyring,
} from "../../src/index.ts";
import { codeOf, cut, engineNames } from "./fixtures.ts";

const wrappingKey = randomBytes(32);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey });
const theirs = new RawAesKeyringNode({
  keyName: "k",
  keyNamespace: "n",
  unencryptedMasterKey: new Uint8Array(wrappingKey),
  wrappingSuite: RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
});
const suite = 0x0578;
const data = randomBytes(3_500_001);
const MiB = 2 ** 20;

const sealByStream = (
  plaintext: Uint8Array,
  engine: Engine | string,
  chunkLength: number,
  frameLength: number,
) =>
  buffer(
    Readable.from(cut(plaintext, chunkLength), { objectMode: false }).pipe(
      createEncryptStream({ keyring, suite, engine, frameLength }),
    ),
  );
const openByStream = (message: Uint8Array, engine: Engine | string, chunkLength: number) =>
  buffer(
    Readable.from(cut(message, chunkLength), { objectMode: false }).pipe(
      createDecryptStream({ keyring, engine }),
    ),
  );

describe.each(engineNames)("signed messages, engine %s", (engine) => {
  test.each([0, 1, 4_096, 65_536, MiB, MiB + 1, data.length])(
    "%d bytes: whole, as stream, and through AWS's client, in both directions",
    async (length) => {
      const plaintext = data.subarray(0, length);
      for (const frameLength of [4_096, 65_536]) {
        const whole = await encrypt(plaintext, { keyring, suite, engine, frameLength });
        const streamed = await sealByStream(plaintext, engine, 100_000, frameLength);
        expect(streamed.length).toBe(whole.length);
        for (const message of [whole, streamed]) {
          for (const reader of engineNames) {
            expect((await decrypt(message, { keyring, engine: reader })).plaintext.equals(plaintext)).toBe(
              true,
            );
            expect((await openByStream(message, reader, 70_001)).equals(plaintext)).toBe(true);
          }
          if (frameLength <= 4_096 || length > 0) {
            const { plaintext: opened } = await buildClient().decrypt(theirs, message);
            expect(opened.equals(plaintext)).toBe(true);
          }
        }
      }
      const { result } = await buildClient().encrypt(theirs, plaintext, { frameLength: 8_192 });
      expect((await decrypt(result, { keyring, engine })).plaintext.equals(plaintext)).toBe(true);
      expect((await openByStream(result, engine, 65_536)).equals(plaintext)).toBe(true);
    },
    120_000,
  );

  test("one changed byte anywhere is refused, and the final frame is never released", async () => {
    const message = await encrypt(data, { keyring, suite, engine, frameLength: 65_536 });
    const { headerLength } = inspectHeader(message);
    const finalLength = data.length % 65_536;
    const places = [
      headerLength + 3,
      headerLength + 500_000,
      MiB + 77,
      message.length - 700,
      message.length - 150,
    ];
    for (const at of [...places, message.length - 103, message.length - 50, message.length - 1]) {
      const changed = Buffer.from(message);
      changed[at] = (changed[at] ?? 0) ^ 0x10;
      expect(await codeOf(() => decrypt(changed, { keyring, engine })), `byte ${at}`).toBe(
        "AUTHENTICATION_FAILED",
      );
      const released: Buffer[] = [];
      const opener = Readable.from(cut(changed, 65_536), { objectMode: false }).pipe(
        createDecryptStream({ keyring, engine }),
      );
      opener.on("data", (chunk) => released.push(chunk));
      const [error] = await once(opener, "error");
      expect(error.code, `byte ${at}`).toBe("AUTHENTICATION_FAILED");
      const plaintext = Buffer.concat(released);
      expect(plaintext.length).toBeLessThanOrEqual(data.length - finalLength);
      expect(data.subarray(0, plaintext.length).equals(plaintext)).toBe(true);
    }
  });

  test("cut or extended", async () => {
    const message = await encrypt(data, { keyring, suite, engine });
    for (const [bytes, code] of [
      [message.subarray(0, -1), "TRUNCATED"],
      [message.subarray(0, -105), "TRUNCATED"],
      [message.subarray(0, 2 * MiB), "TRUNCATED"],
      [Buffer.concat([message, Buffer.of(0)]), "TRAILING_DATA"],
    ] as const) {
      expect(await codeOf(() => decrypt(bytes, { keyring, engine }))).toBe(code);
      expect(await codeOf(() => openByStream(bytes, engine, 65_536))).toBe(code);
    }
  });

  test("a chunk that is overwritten as soon as it is read leaves the signature whole", async () => {
    const read: Buffer[] = [];
    const sealer = Readable.from(cut(data, 65_536), { objectMode: false }).pipe(
      createEncryptStream({ keyring, suite, engine }),
    );
    for await (const chunk of sealer) {
      read.push(Buffer.from(chunk));
      chunk.fill(0xaa);
    }
    expect((await decrypt(Buffer.concat(read), { keyring, engine })).plaintext.equals(data)).toBe(true);
    const message = Buffer.concat(read);
    const opener = Readable.from(cut(Buffer.from(message), 65_536), { objectMode: false }).pipe(
      createDecryptStream({ keyring, engine }),
    );
    const opened: Buffer[] = [];
    for await (const chunk of opener) {
      opened.push(Buffer.from(chunk));
      chunk.fill(0xaa);
    }
    expect(Buffer.concat(opened).equals(data)).toBe(true);
  });

  test("destroyed after any number of chunks, or aborted while a hash is in work", async () => {
    const message = await encrypt(data, { keyring, suite, engine });
    for (const make of [
      (signal: AbortSignal) => [data, createEncryptStream({ keyring, suite, engine, signal })] as const,
      (signal: AbortSignal) => [message, createDecryptStream({ keyring, engine, signal })] as const,
    ])
      for (let count = 0; count < 8; count++)
        for (const how of ["destroy", "abort"]) {
          const abort = new AbortController();
          const [input, stream] = make(abort.signal);
          stream.on("error", () => {});
          for (const chunk of cut(input, 400_000).slice(0, count)) stream.write(chunk);
          if (count % 2 === 1) await once(stream, "data");
          const closed = new Promise((resolve) => stream.once("close", resolve));
          if (how === "destroy") stream.destroy();
          else abort.abort();
          await closed;
          expect(stream.readable).toBe(false);
        }
  });

  test("a reader that is slow holds the message back", async () => {
    const sealer = createEncryptStream({ keyring, suite, engine });
    expect(sealer.write(Buffer.alloc(64 * MiB))).toBe(false);
    await once(sealer, "readable");
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(sealer.readableLength).toBeLessThan(16 * MiB);
    const closed = once(sealer, "close");
    sealer.destroy();
    await closed;
  });

  describe("files", () => {
    let folder: string;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "signed-"));
      await writeFile(join(folder, "plain"), data);
    });
    afterAll(() => rm(folder, { recursive: true }));

    test("to a file and back; a forged one leaves nothing behind", async () => {
      const [plain, sealed, opened] = ["plain", "sealed", "opened"].map((name) => join(folder, name)) as [
        string,
        string,
        string,
      ];
      await encryptFile(plain, sealed, { keyring, suite, engine });
      await decryptFile(sealed, opened, { keyring, engine });
      expect((await readFile(opened)).equals(data)).toBe(true);
      const forged = await readFile(sealed);
      forged[forged.length - 2] = (forged.at(-2) ?? 0) ^ 1;
      await writeFile(`${sealed}.forged`, forged);
      expect(await codeOf(() => decryptFile(`${sealed}.forged`, `${opened}.2`, { keyring, engine }))).toBe(
        "AUTHENTICATION_FAILED",
      );
      await expect(readFile(`${opened}.2`)).rejects.toThrow("ENOENT");
    });
  });
});

/** A hash whose pieces the test lets through one by one. */
class HeldHash implements BackgroundHash {
  readonly pieces: { readonly bytes: Uint8Array; readonly release: () => void }[] = [];
  disposed = 0;

  update(bytes: Uint8Array): Promise<void> {
    return new Promise((release) => this.pieces.push({ bytes, release }));
  }
  #bytes(): Buffer {
    return Buffer.concat(this.pieces.map(({ bytes }) => bytes));
  }
  async digest(): Promise<Uint8Array> {
    return createHash("sha384").update(this.#bytes()).digest();
  }
  async sign(): Promise<Uint8Array> {
    throw new Error("not asked for here");
  }
  async verify(spki: Uint8Array, signature: Uint8Array): Promise<boolean> {
    const key = { key: Buffer.from(spki), format: "der", type: "spki" } as const;
    return createVerify("sha384").update(this.#bytes()).verify(key, signature);
  }
  dispose(): void {
    this.disposed += 1;
  }
}

function heldEngine(): { engine: Engine; hash: HeldHash } {
  const hash = new HeldHash();
  return { hash, engine: { ...selectEngine("node"), startHash: () => hash } };
}
const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
};

describe("the order of events", () => {
  test("a sealed chunk is released when it has been hashed, not before", async () => {
    const { engine, hash } = heldEngine();
    const stream = createEncryptStream({ keyring, suite, engine });
    stream.write(data.subarray(0, 200_000));
    await turns(20);
    expect(hash.pieces.length).toBe(1);
    expect(stream.readableLength).toBe(0);
    hash.pieces[0]?.release();
    await turns(20);
    expect(stream.readableLength).toBe(hash.pieces[0]?.bytes.length);
    stream.destroy();
    await once(stream, "close");
    expect(hash.disposed).toBe(1);
  });

  test("what waits for its hash is bounded", async () => {
    const { engine, hash } = heldEngine();
    const stream = createEncryptStream({ keyring, suite, engine });
    for (const chunk of cut(Buffer.alloc(64 * MiB), MiB)) stream.write(chunk);
    await turns(100);
    const waiting = hash.pieces.reduce((sum, { bytes }) => sum + bytes.length, 0);
    expect(waiting).toBeGreaterThan(0);
    expect(waiting).toBeLessThan(10 * MiB);
    for (const { release } of hash.pieces) release();
    stream.destroy();
  });

  test("plaintext is released when its ciphertext has been hashed, and what is hashed is not the caller's", async () => {
    const message = await encrypt(data.subarray(0, 500_000), { keyring, suite });
    const { engine, hash } = heldEngine();
    const stream = createDecryptStream({ keyring, engine });
    const given = Buffer.from(message.subarray(0, 300_000));
    let accepted = false;
    stream.write(given, () => {
      accepted = true;
    });
    await turns(20);
    expect(hash.pieces.length).toBeGreaterThan(0);
    expect(stream.readableLength).toBe(0);
    if (accepted) given.fill(0);
    for (const { bytes, release } of hash.pieces) {
      expect(bytes.buffer).not.toBe(given.buffer);
      release();
    }
    await turns(20);
    expect(stream.readableLength).toBe(262_144);
    const hashed = Buffer.concat(hash.pieces.map(({ bytes }) => bytes));
    expect(hashed.equals(message.subarray(0, hashed.length))).toBe(true);
    stream.destroy();
  });

  test("a whole message is copied before another thread reads it", async () => {
    const original = await encrypt(data.subarray(0, 500_000), { keyring, suite });
    const message = Buffer.from(original);
    const hash = new HeldHash();
    const update = hash.update.bind(hash);
    hash.update = (bytes) => {
      // Whoever owns the message writes to it while the hash is on its way.
      queueMicrotask(() => message.fill(0, 2_000));
      const done = update(bytes);
      for (const { release } of hash.pieces) release();
      return done;
    };
    const engine: Engine = { ...nodeEngine, startHash: () => hash };
    const { plaintext } = await decrypt(message, { keyring, engine });
    expect(plaintext.equals(data.subarray(0, 500_000))).toBe(true);
    for (const { bytes } of hash.pieces) expect(bytes.buffer).not.toBe(message.buffer);
  });

  test("a short message is verified on the calling thread", async () => {
    const message = await encrypt(data.subarray(0, 10_000), { keyring, suite });
    const { engine, hash } = heldEngine();
    expect((await decrypt(message, { keyring, engine })).plaintext.length).toBe(10_000);
    expect(hash.pieces.length).toBe(0);
  });
});
