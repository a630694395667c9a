// Frame surgery: frames dropped, repeated, swapped, moved and taken from a sibling under the same data key, as they are
// and with sequence numbers and nonces rewritten to fit. The keys that authenticate them are the attacker's only lack.
import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { sealFrame, sequenceNonce, uint32 } from "../message/reference.ts";
import { FULL } from "../support/full.ts";
import { type Family, makeFamily, newTally, report, tryAltered } from "./try-message.ts";

const COUNT = 8;
const FRAME = 16;
const plaintext = Buffer.from(Array.from({ length: FRAME * (COUNT - 1) + 5 }, (_, i) => (i * 7 + 3) & 0xff));

type Rewrite = "as it is" | "numbers" | "numbers and nonces";

/** `frames` with their sequence numbers rewritten to their places. */
function rewrite(frames: readonly Buffer[], how: Rewrite): Buffer[] {
  if (how === "as it is") return [...frames];
  return frames.map((frame, index) => {
    const copy = Buffer.from(frame);
    const at = copy.readUInt32BE(0) === 0xffffffff ? 4 : 0;
    copy.writeUInt32BE(index + 1, at);
    if (how === "numbers and nonces") sequenceNonce(index + 1).copy(copy, at + 4);
    return copy;
  });
}

/** Every operation on the list of frames, by name. */
function* operations(frames: readonly Buffer[], sibling: readonly Buffer[]): Generator<[string, Buffer[]]> {
  const last = frames.length - 1;
  const copy = (): Buffer[] => [...frames];
  for (let i = 0; i <= last; i++) {
    yield [`drop ${i}`, copy().toSpliced(i, 1)];
    for (let j = 0; j <= last + 1; j++)
      yield [`repeat ${i} at ${j}`, copy().toSpliced(j, 0, pick(frames, i))];
    for (let j = i + 1; j <= last; j++) {
      const swapped = copy();
      [swapped[i], swapped[j]] = [pick(frames, j), pick(frames, i)];
      yield [`swap ${i} and ${j}`, swapped];
      yield [`drop ${i} to ${j}`, copy().toSpliced(i, j - i + 1)];
      yield [
        `reverse ${i} to ${j}`,
        [...frames.slice(0, i), ...frames.slice(i, j + 1).reverse(), ...frames.slice(j + 1)],
      ];
      yield [`rotate ${i} to ${j}`, copy().toSpliced(j, 0, ...copy().splice(i, 1))];
    }
    yield [`sibling's ${i}`, copy().with(i, pick(sibling, i))];
    yield [`sibling from ${i} on`, [...frames.slice(0, i), ...sibling.slice(i)]];
    yield [`sibling up to ${i}`, [...sibling.slice(0, i + 1), ...frames.slice(i + 1)]];
    yield [`sibling's ${i} put in`, copy().toSpliced(i, 0, pick(sibling, i))];
    yield [`final at ${i}`, [...frames.slice(0, i), pick(frames, last), ...frames.slice(i, last)]];
    yield [`final at ${i} and at the end`, copy().toSpliced(i, 0, pick(frames, last))];
    yield [`cut after ${i}`, frames.slice(0, i)];
  }
  yield ["none", []];
  yield ["final alone", [pick(frames, last)]];
  yield ["sibling's frames", [...sibling]];
}

function pick(frames: readonly Buffer[], index: number): Buffer {
  const frame = frames[index];
  if (frame === undefined) throw new Error("no such frame");
  return frame;
}

function siblings(): [string, Family, Family][] {
  return [0x0478, 0x0178, 0x0578].map((suite) => {
    const options = { suite, plaintext, frameLength: FRAME, context: {} };
    const name = `0x0${suite.toString(16)}`;
    const other = Buffer.from(plaintext.map((byte) => byte ^ 0xa5));
    return [name, makeFamily(name, options), makeFamily(name, { ...options, plaintext: other })];
  });
}

describe.each(siblings())("suite %s", (name, family, sibling) => {
  test("no rearrangement of frames is accepted", { timeout: 120_000 }, async () => {
    const [start, tally] = [performance.now(), newTally()];
    const { header, frames, footer, bytes } = family.message;
    for (const [what, arranged] of operations(frames, sibling.message.frames))
      for (const how of ["as it is", "numbers", "numbers and nonces"] as const) {
        const altered = Buffer.concat([header, ...rewrite(arranged, how), footer]);
        if (altered.equals(bytes)) continue;
        const through =
          tally.tried % (FULL ? 5 : 50) === 0 ? "files" : tally.tried % 5 === 0 ? "transform" : "machine";
        await tryAltered(family, altered, `${what}, ${how}`, tally, { through, chunkLength: 100 });
      }
    report(`frame surgery ${name}`, tally, start);
    expect(tally.wrong).toEqual([]);
    expect(tally.tried).toBeGreaterThan(500);
  });

  test("headers and footers of a sibling are not accepted", async () => {
    const tally = newTally();
    const [own, other] = [family.message, sibling.message];
    for (const [header, frames, footer] of [
      [other.header, own.frames, own.footer],
      [own.header, other.frames, other.footer],
      [other.header, own.frames, other.footer],
    ] as const)
      await tryAltered(family, Buffer.concat([header, ...frames, footer]), "mixed", tally);
    if (own.footer.length > 0) {
      await tryAltered(family, Buffer.concat([own.header, ...own.frames, other.footer]), "footer", tally);
      await tryAltered(family, Buffer.concat([own.header, ...own.frames]), "no footer", tally);
    }
    expect(tally.wrong).toEqual([]);
  });

  // What only a writer who has the key can make: sealed frames that break the rules of the body.
  test("sealed frames that break the rules are not accepted", async () => {
    const [start, tally] = [performance.now(), newTally()];
    const { header, frames, keys, messageId, sign } = family.message;
    const last = frames.length;
    const seal = (sequence: number, length: number, isFinal: boolean, number = sequence): Buffer => {
      const at = Math.min(plaintext.length, (sequence - 1) * FRAME);
      const part = Buffer.concat([plaintext.subarray(at, at + length), randomBytes(64)]).subarray(0, length);
      const frame = sealFrame(keys.messageKey, messageId, { sequence: number, plaintext: part, isFinal });
      return frame;
    };
    const cases: [string, Buffer[]][] = [
      ["final frame longer than a frame", [...frames.slice(0, -1), seal(last, FRAME + 1, true)]],
      ["first frame numbered 0", [seal(1, FRAME, false, 0), ...frames.slice(1)]],
      ["first frame numbered 2", [seal(1, FRAME, false, 2), ...frames.slice(1)]],
      ["a gap in the numbers", [...frames.slice(0, -1), seal(last, 5, true, last + 1)]],
      ["final number repeated", [...frames.slice(0, -1), seal(last, 5, true, last - 1)]],
      ["a frame numbered ffffffff", [seal(1, FRAME, false, 0xffffffff), ...frames.slice(1)]],
      ["two final frames", [...frames, seal(last + 1, 5, true)]],
      ["a regular frame behind the final one", [...frames, seal(last + 1, FRAME, false)]],
      ["a short regular frame", [seal(1, FRAME - 1, false), ...frames.slice(1)]],
      ["no final frame", [...frames.slice(0, -1), seal(last, FRAME, false)]],
      ["only a marker behind the frames", [...frames.slice(0, -1), uint32(0xffffffff)]],
    ];
    for (const [what, arranged] of cases)
      for (const chunkLength of [1, 48, 1000]) {
        const altered = Buffer.concat([header, ...arranged, sign(arranged)]);
        await tryAltered(family, altered, what, tally, { chunkLength, through: "files" });
      }
    // These frames are authentic, so a stream may have released them before the rule was broken.
    const accepted = tally.wrong.filter((text) => !text.includes("not of the plaintext"));
    report(`rule breaking ${name}`, { ...tally, wrong: accepted }, start);
    expect(accepted).toEqual([]);
  });
});
