// Every bit, every truncation, every extension of a small message of each family. Nothing may be accepted, and what a
// stream releases must be a beginning of the plaintext.
import { describe, expect, test } from "vitest";
import { decrypt } from "../../src/index.ts";
import { FULL } from "../message/fixtures.ts";
import { families, newTally, report, tryAltered } from "./try-message.ts";

/** Alterations of the same kind that go through the slower Transform too. */
const SAMPLE = FULL ? 1 : 61;

describe.each(families().map((family) => [family.name, family] as const))("suite %s", (name, family) => {
  const { bytes, header, footer, frames } = family.message;

  test("the message as it is decrypts", async () => {
    const { plaintext } = await decrypt(bytes, {
      keyring: family.keyring,
      commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT",
    });
    expect(plaintext.equals(family.plaintext)).toBe(true);
  });

  test("one flipped bit anywhere is noticed", { timeout: 120_000 }, async () => {
    const [start, tally] = [performance.now(), newTally()];
    // All bits: header, frame headers, ciphertext, tags and footer alike; two bits of each byte of long signatures.
    for (let at = 0; at < bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        if (!FULL && at >= bytes.length - footer.length + 6 && (at + bit) % 4 !== 0) continue;
        const altered = Buffer.from(bytes);
        altered[at] = (altered[at] ?? 0) ^ (1 << bit);
        const through = (at * 8 + bit) % SAMPLE === 0 ? "transform" : "machine";
        await tryAltered(family, altered, `bit ${bit} of byte ${at}`, tally, { through });
      }
    }
    report(`tampering ${name}, every bit`, tally, start);
    expect(tally.wrong).toEqual([]);
    expect(tally.tried).toBeGreaterThanOrEqual(
      (header.length + frames.reduce((sum, f) => sum + f.length, 0)) * 8,
    );
  });

  test("every byte set to 00, ff and random values is noticed", { timeout: 120_000 }, async () => {
    const [start, tally] = [performance.now(), newTally()];
    for (let at = 0; at < bytes.length; at++)
      for (const value of [0, 0xff, (at * 73 + 11) & 0xff]) {
        if (bytes[at] === value) continue;
        const altered = Buffer.from(bytes);
        altered[at] = value;
        await tryAltered(family, altered, `byte ${at} = ${value}`, tally, { chunkLength: 1000 });
      }
    report(`tampering ${name}, every byte`, tally, start);
    expect(tally.wrong).toEqual([]);
  });

  test("every truncation is noticed", { timeout: 120_000 }, async () => {
    const [start, tally] = [performance.now(), newTally()];
    for (let length = 0; length < bytes.length; length++) {
      const altered = bytes.subarray(0, length);
      const through = length % 7 === 0 || FULL ? "transform" : "machine";
      await tryAltered(family, altered, `cut to ${length}`, tally, { through, chunkLength: 33 });
    }
    for (let length = 1; length < bytes.length; length += FULL ? 1 : 5)
      await tryAltered(family, bytes.subarray(length), `without the first ${length}`, tally);
    report(`tampering ${name}, every truncation`, tally, start);
    expect(tally.wrong).toEqual([]);
  });

  test("bytes behind the message are noticed", { timeout: 60_000 }, async () => {
    const [start, tally] = [performance.now(), newTally()];
    const tails: Buffer[] = [bytes, ...frames, footer, header];
    for (let count = 1; count <= 64; count++)
      tails.push(Buffer.alloc(count), Buffer.alloc(count, 0xff), bytes.subarray(bytes.length - count));
    for (const tail of tails.filter(({ length }) => length > 0))
      for (const chunkLength of FULL || tail.length < 8 ? [1, bytes.length, 10_000] : [bytes.length]) {
        const altered = Buffer.concat([bytes, tail]);
        const through = chunkLength === 1 ? "machine" : "transform";
        await tryAltered(family, altered, `${tail.length} bytes more`, tally, { through, chunkLength });
      }
    report(`tampering ${name}, bytes behind`, tally, start);
    expect(tally.wrong).toEqual([]);
  });

  test("bytes put in between or taken out are noticed", { timeout: 60_000 }, async () => {
    const [start, tally] = [performance.now(), newTally()];
    for (let at = 0; at < bytes.length; at += FULL ? 1 : 3) {
      for (const count of [1, 16]) {
        const inserted = Buffer.concat([bytes.subarray(0, at), Buffer.alloc(count), bytes.subarray(at)]);
        await tryAltered(family, inserted, `${count} bytes put in at ${at}`, tally);
        const removed = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + count)]);
        if (at + count <= bytes.length)
          await tryAltered(family, removed, `${count} bytes taken out at ${at}`, tally);
      }
    }
    report(`tampering ${name}, bytes put in or taken out`, tally, start);
    expect(tally.wrong).toEqual([]);
  });
});
