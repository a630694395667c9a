// Limits of frames: what comes before one is exceeded is opened first, and every reader says the same.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { NO_FINAL_FRAME } from "../../src/engine/engine.ts";
import { MAX_FRAME_COUNT_READ } from "../../src/format/limits.ts";
import {
  createDecryptStream,
  decrypt,
  decryptFile,
  encrypt,
  openMessage,
  verifyFile,
} from "../../src/index.ts";
import { bodyBytes, FrameWalk } from "../../src/message/frame-walk.ts";
import { cut, engineNames, errorCode, runStream, staticKeyring } from "./fixtures.ts";

const folder = mkdtempSync(path.join(tmpdir(), "frameseal-walk-"));
afterAll(() => rmSync(folder, { recursive: true }));

const FRAME = 64;
const keyring = staticKeyring(Buffer.alloc(32, 9));
const plaintext = randomBytes(FRAME * 5 + 7);

/** What every reader says of a message: code and text, as often as there are readers. */
async function outcomes(message: Buffer, plaintextLength: number): Promise<string[]> {
  const said: string[] = [];
  const note = (error: unknown): void => {
    said.push(`${errorCode(error)}: ${error instanceof Error ? error.message : ""}`);
  };
  const file = path.join(folder, "message");
  writeFileSync(file, message);
  for (const engine of engineNames)
    for (const concurrency of [1, 2]) {
      const options = { keyring, engine, concurrency, plaintextLength };
      await decrypt(message, options).then(() => note(undefined), note);
      for (const chunkLength of [1, FRAME, 10_000])
        note((await runStream(createDecryptStream(options), cut(message, chunkLength))).error);
      await verifyFile(file, options).then(() => note(undefined), note);
      await decryptFile(file, path.join(folder, "out"), { ...options, overwrite: "replace" }).then(
        () => note(undefined),
        note,
      );
    }
  return said;
}

describe("limits of the plaintext", async () => {
  const message = await encrypt(plaintext, { keyring, frameLength: FRAME });

  test.each([0, 1, FRAME - 1, FRAME, FRAME + 1, FRAME * 5, FRAME * 5 + 6])(
    "%i bytes: every reader refuses with one text",
    async (limit) => {
      const said = await outcomes(message, limit);
      expect(new Set(said)).toEqual(
        new Set([`LIMIT_EXCEEDED: plaintext is longer than the allowed ${limit} bytes`]),
      );
      const reader = openMessage(message, { keyring, plaintextLength: limit });
      await expect(reader).rejects.toMatchObject({ code: "LIMIT_EXCEEDED", message: said[0]?.slice(16) });
    },
  );

  test("the exact length is no limit", async () => {
    expect(new Set(await outcomes(message, plaintext.length))).toEqual(new Set(["none: "]));
  });

  test("an altered frame before the limit is what counts, and behind it is not", async () => {
    const header = message.length - (FRAME + 32) * 5 - 40 - 7;
    for (const [frame, code] of [
      [0, "AUTHENTICATION_FAILED"],
      [1, "AUTHENTICATION_FAILED"],
      [3, "LIMIT_EXCEEDED"],
    ] as const) {
      const altered = Buffer.from(message);
      const at = header + frame * (FRAME + 32) + 40;
      altered[at] = (altered[at] ?? 0) ^ 1;
      const codes = (await outcomes(altered, FRAME * 2)).map((text) => text.split(":")[0]);
      expect(new Set(codes)).toEqual(new Set([code]));
    }
  });
});

describe("numbers of frames", () => {
  const regular = Buffer.alloc(FRAME + 32);
  const final = Buffer.alloc(40 + 3);
  final.writeUInt32BE(0xffffffff, 0);
  final.writeUInt32BE(3, 20);
  const at = (sequence: number): FrameWalk => {
    const walk = new FrameWalk(FRAME);
    walk.take({ frameCount: sequence - 1, finalLength: NO_FINAL_FRAME });
    return walk;
  };

  test("the last number is for a final frame only", () => {
    const last = at(MAX_FRAME_COUNT_READ);
    expect(last.find(bodyBytes(final))).toMatchObject({ finalLength: 3, fault: undefined });
    expect(last.find(bodyBytes(regular))).toMatchObject({
      frameCount: 0,
      fault: { code: "LIMIT_EXCEEDED", message: "message has more than 4294967295 frames" },
    });
  });

  test("frames up to the last number come first", () => {
    const bytes = Buffer.concat([regular, regular, regular]);
    expect(at(MAX_FRAME_COUNT_READ - 2).find(bodyBytes(bytes))).toMatchObject({
      frameCount: 2,
      length: 2 * regular.length,
      fault: { code: "LIMIT_EXCEEDED" },
    });
  });

  test("no more than were asked for are found, and the final frame with them", () => {
    const walk = new FrameWalk(FRAME);
    const bytes = Buffer.concat([regular, regular, final]);
    expect(walk.find(bodyBytes(bytes), 1)).toMatchObject({ frameCount: 1, finalLength: NO_FINAL_FRAME });
    expect(walk.find(bodyBytes(bytes), 2)).toMatchObject({ frameCount: 2, finalLength: 3 });
    expect(walk.find(bodyBytes(bytes.subarray(0, bytes.length - 1)))).toMatchObject({
      frameCount: 2,
      finalLength: NO_FINAL_FRAME,
      fault: undefined,
    });
  });
});
