// Identifiers and lengths: of all values only the right one opens, and no value makes the reader crash or hang.
import { describe, expect, test } from "vitest";
import { decrypt } from "../../src/index.ts";
import { codeOf } from "../message/fixtures.ts";
import { FULL } from "../support/full.ts";
import { families, lengthFields, newTally, report, tryAltered } from "./try-message.ts";

/** Not in full: from 0x600 on, where none is assigned, one id in so many. */
const IDS_STEP = 101;

describe.each(families().map((family) => [family.name, family] as const))("suite %s", (name, family) => {
  const { bytes, header, suite } = family.message;
  const options = {
    keyring: family.keyring,
    engine: "node",
    commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT",
  } as const;
  const suiteAt = suite.version === 1 ? 2 : 1;

  test.runIf(family.message.frames.length > 1)(
    FULL ? "of all 65,536 algorithm suite ids only its own opens" : "of many suite ids only its own opens",
    { timeout: 120_000 },
    async () => {
      const [start, tally] = [performance.now(), newTally()];
      for (let id = 0; id < 65_536; id++) {
        if (id === suite.id || (!FULL && id % IDS_STEP !== 0 && id >= 0x600)) continue;
        const altered = Buffer.from(bytes);
        altered.writeUInt16BE(id, suiteAt);
        // Ids of other suites and their neighbours take every way; the others are looked up and refused at once.
        if (id >= 0x600) {
          tally.tried += 1;
          tally.executions += 1;
          if ((await codeOf(() => decrypt(altered, options))) !== "UNSUPPORTED") tally.wrong.push(String(id));
          continue;
        }
        await tryAltered(family, altered, `suite ${id.toString(16)}`, tally, { chunkLength: 10_000 });
      }
      report(`tampering ${name}, suite ids`, tally, start);
      expect(tally.wrong).toEqual([]);
      expect(tally.tried).toBeGreaterThan(FULL ? 65_534 : 0x600);
    },
  );

  test("of all values of version, type, content type and nonce length only its own opens", async () => {
    const [start, tally] = [performance.now(), newTally()];
    const contentTypeAt = header.length - 16 - (suite.version === 1 ? 12 + 4 + 1 + 4 + 1 : 32 + 4 + 1);
    expect(bytes[contentTypeAt]).toBe(family.message.frames.length > 1 ? 2 : 1);
    const places = suite.version === 1 ? [0, 1, contentTypeAt, contentTypeAt + 5] : [0, contentTypeAt];
    for (const at of places)
      for (let value = 0; value < 256; value++) {
        if (bytes[at] === value) continue;
        const altered = Buffer.from(bytes);
        altered[at] = value;
        await tryAltered(family, altered, `byte ${at} = ${value}`, tally, { through: "transform" });
      }
    report(`tampering ${name}, version, type, content type`, tally, start);
    expect(tally.wrong).toEqual([]);
    expect(tally.tried).toBe(places.length * 255);
  });

  test("no other value of a count or length opens", async () => {
    const [start, tally] = [performance.now(), newTally()];
    const fields = lengthFields(family.message);
    for (const { name: field, offset, size } of fields) {
      const original = bytes.readUIntBE(offset, size);
      const max = 256 ** size - 1;
      const half = Math.floor(max / 2);
      const values = [0, 1, 2, 12, 16, 255, 256, half, half + 1, max - 1, max, original - 1, original + 1];
      for (const value of new Set(values)) {
        if (value < 0 || value > max || value === original) continue;
        const altered = Buffer.from(bytes);
        altered.writeUIntBE(value, offset, size);
        for (const chunkLength of [1, 1000])
          await tryAltered(family, altered, `${field} at ${offset} = ${value}`, tally, {
            chunkLength,
            through: "transform",
          });
      }
    }
    report(`tampering ${name}, ${fields.length} counts and lengths`, tally, start);
    expect(tally.wrong).toEqual([]);
    expect(fields.length).toBeGreaterThan(8);
  });
});
