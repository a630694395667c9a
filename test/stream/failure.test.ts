// A failure is final, however the chunks were queued. Node hands chunks that were written before a stream was ready to
// it in one loop, also when the first of them has failed.
import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { createDecryptStream } from "../../src/index.ts";
import { cut, engineNames, errorCode, runStream, staticKeyring } from "../message/fixtures.ts";
import { writeMessage } from "../message/reference.ts";

const dataKey = randomBytes(32);
const keyring = staticKeyring(dataKey);

describe.each(engineNames)("a failure is final, engine %s", (engine) => {
  test("a header that is refused ends the stream although more chunks wait", { timeout: 5_000 }, async () => {
    for (const bad of [Buffer.from("0199", "hex"), Buffer.from("02047700", "hex"), Buffer.from("AYAA")]) {
      const chunks = cut(Buffer.concat([bad, Buffer.alloc(200)]), 1);
      const log = await runStream(createDecryptStream({ keyring, engine }), chunks);
      expect(["INVALID_HEADER", "UNSUPPORTED"]).toContain(errorCode(log.error));
      expect(log.events).toEqual(["error", "close"]);
    }
  });

  test("no frame behind a bad one is released although its chunk waits", async () => {
    const plaintext = randomBytes(16 * 8);
    const { bytes, header } = writeMessage({ suite: 0x0478, dataKey, plaintext, frameLength: 16 });
    for (const bad of [0, 1, 2, 5, 7])
      for (const size of [1, 16, 48, 96, 1000]) {
        const forged = Buffer.from(bytes);
        const at = header.length + bad * 48 + 30;
        forged[at] = (forged[at] ?? 0) ^ 1;
        for (const prelude of [header.length, header.length + 48, bytes.length]) {
          const chunks = [forged.subarray(0, prelude), ...cut(forged.subarray(prelude), size)];
          const log = await runStream(createDecryptStream({ keyring, engine }), chunks);
          expect(errorCode(log.error)).toBe("AUTHENTICATION_FAILED");
          expect(log.ended).toBe(false);
          expect(plaintext.subarray(0, log.output.length).equals(log.output)).toBe(true);
          expect(log.output.length).toBeLessThanOrEqual(16 * bad);
        }
      }
  });
});
