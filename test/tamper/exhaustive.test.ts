// Every byte, every truncation, every extension of a small message of each family; in full every bit. Nothing may be
// accepted, what a stream releases must be a beginning of the plaintext, and all readers must say the same.
import { describe, expect, test } from "vitest";
import { decrypt } from "../../src/index.ts";
import { FULL } from "../support/full.ts";
import { families, newTally, report, tryAltered, type Way } from "./try-message.ts";

/** Slower ways are for some of the alterations of a kind: a prime step, so that all places come to it. */
const wayOf = (count: number): Way =>
  count % (FULL ? 11 : 97) === 0 ? "files" : count % 61 === 0 ? "transform" : "machine";

describe.each(families().map((family) => [family.name, family] as const))("suite %s", (name, family) => {
  const { bytes, header, footer, frames } = family.message;

  test("the message as it is decrypts", async () => {
    const { plaintext } = await decrypt(bytes, {
      keyring: family.keyring,
      commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT",
    });
    expect(plaintext.equals(family.plaintext)).toBe(true);
  });

  test("one flipped bit anywhere is noticed", { timeout: 240_000 }, async () => {
    const [start, tally] = [performance.now(), newTally()];
    // Header, frame headers, ciphertext, tags and footer alike; two bits of each byte of long signatures.
    for (let at = 0; at < bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        if (!FULL && bit !== at % 8) continue;
        if (at >= bytes.length - footer.length + 6 && (at + bit) % 4 !== 0) continue;
        const altered = Buffer.from(bytes);
        altered[at] = (altered[at] ?? 0) ^ (1 << bit);
        await tryAltered(family, altered, `bit ${bit} of byte ${at}`, tally, { through: wayOf(tally.tried) });
      }
    }
    report(`tampering ${name}, ${FULL ? "every bit" : "a bit of every byte"}`, tally, start);
    expect(tally.wrong).toEqual([]);
    expect(tally.tried).toBeGreaterThanOrEqual(
      (header.length + frames.reduce((sum, f) => sum + f.length, 0)) * (FULL ? 8 : 1),
    );
  });

  test("every byte set to 00, ff and random values is noticed", { timeout: 240_000 }, async () => {
    const [start, tally] = [performance.now(), newTally()];
    for (let at = 0; at < bytes.length; at++)
      for (const [index, value] of [0, 0xff, (at * 73 + 11) & 0xff].entries()) {
        if (bytes[at] === value || (!FULL && index !== at % 3)) continue;
        const altered = Buffer.from(bytes);
        altered[at] = value;
        const through = wayOf(tally.tried);
        await tryAltered(family, altered, `byte ${at} = ${value}`, tally, { chunkLength: 1000, through });
      }
    report(`tampering ${name}, every byte`, tally, start);
    expect(tally.wrong).toEqual([]);
  });

  test("every truncation is noticed", { timeout: 240_000 }, async () => {
    const [start, tally] = [performance.now(), newTally()];
    for (let length = 0; length < bytes.length; length++) {
      const altered = bytes.subarray(0, length);
      const through = length % (FULL ? 3 : 29) === 0 ? "files" : wayOf(length);
      await tryAltered(family, altered, `cut to ${length}`, tally, { through, chunkLength: 33 });
    }
    for (let length = 1; length < bytes.length; length += FULL ? 5 : 23)
      await tryAltered(family, bytes.subarray(length), `without the first ${length}`, tally);
    report(`tampering ${name}, every truncation`, tally, start);
    expect(tally.wrong).toEqual([]);
  });

  test("bytes behind the message are noticed", { timeout: 60_000 }, async () => {
    const [start, tally] = [performance.now(), newTally()];
    const tails: Buffer[] = [bytes, ...frames, footer, header];
    for (let count = 1; count <= 64; count += FULL ? 1 : 9)
      tails.push(Buffer.alloc(count), Buffer.alloc(count, 0xff), bytes.subarray(bytes.length - count));
    for (const tail of tails.filter(({ length }) => length > 0))
      for (const chunkLength of tail.length < 8 ? [1, bytes.length, 10_000] : [bytes.length]) {
        const altered = Buffer.concat([bytes, tail]);
        const through = chunkLength === 1 ? "machine" : "files";
        await tryAltered(family, altered, `${tail.length} bytes more`, tally, { through, chunkLength });
      }
    report(`tampering ${name}, bytes behind`, tally, start);
    expect(tally.wrong).toEqual([]);
  });

  test("bytes put in between or taken out are noticed", { timeout: 60_000 }, async () => {
    const [start, tally] = [performance.now(), newTally()];
    for (let at = 0; at < bytes.length; at += FULL ? 3 : 17) {
      for (const count of [1, 16]) {
        const inserted = Buffer.concat([bytes.subarray(0, at), Buffer.alloc(count), bytes.subarray(at)]);
        const through = wayOf(tally.tried);
        await tryAltered(family, inserted, `${count} bytes put in at ${at}`, tally, { through });
        const removed = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + count)]);
        if (at + count <= bytes.length)
          await tryAltered(family, removed, `${count} bytes taken out at ${at}`, tally);
      }
    }
    report(`tampering ${name}, bytes put in or taken out`, tally, start);
    expect(tally.wrong).toEqual([]);
  });
});
