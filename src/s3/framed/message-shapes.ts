// How long the headers of framed objects are. The metadata of an object repeats it as a hint that anybody can change who
// may write to the bucket, so a hint counts only where it agrees with a header that was written or read here: all
// headers of one writer have the same length, but for the key that the object is bound to.
import { type MessageShape, plaintextLengthOf } from "../../format/frame.ts";
import { DEFAULT_MAX_HEADER_LENGTH, MAX_FRAME_LENGTH } from "../../format/limits.ts";
import { formatSuiteId, suites } from "../../format/suite.ts";
import type { KeyBinding, ObjectLocation, ObjectMetadata, SizeRule } from "../object-format.ts";
import { framedNames } from "../object-metadata.ts";
import { boundLength } from "./key-binding.ts";

/** Shapes that are remembered. One writer has one. */
const MAX_SHAPES = 4;

/** The shapes that one client has seen. */
export class MessageShapes {
  readonly #bind: KeyBinding | undefined;
  readonly #names = new Set<string>();

  constructor(bind: KeyBinding | undefined) {
    this.#bind = bind;
  }

  /** Remembers the shape of a message that stands, or will stand, at `location`. */
  learn(shape: MessageShape, location: ObjectLocation): void {
    const name = this.#nameOf(shape, location);
    this.#names.delete(name);
    this.#names.add(name);
    if (this.#names.size <= MAX_SHAPES) return;
    for (const oldest of this.#names) {
      this.#names.delete(oldest);
      return;
    }
  }

  /** True if messages of this shape were seen. */
  knows(shape: MessageShape, location: ObjectLocation): boolean {
    return this.#names.has(this.#nameOf(shape, location));
  }

  /** The rule for objects that were stored like the one at `location`. */
  rule(shape: MessageShape, location: ObjectLocation): SizeRule {
    const unbound = shape.headerLength - boundLength(this.#bind, location);
    return {
      name: this.#nameOf(shape, location),
      isExact: true,
      lengthOf: (other, storedLength) =>
        plaintextLengthOf(storedLength, {
          ...shape,
          headerLength: unbound + boundLength(this.#bind, other),
        }),
    };
  }

  #nameOf({ headerLength, frameLength, suite }: MessageShape, location: ObjectLocation): string {
    const unbound = headerLength - boundLength(this.#bind, location);
    return `framed ${unbound} ${frameLength} ${formatSuiteId(suite.id)}`;
  }
}

/** The shape that the metadata of an object tells; undefined if it tells none, or an impossible one. */
export function hintedShape(metadata: ObjectMetadata): MessageShape | undefined {
  const headerLength = hintNumber(metadata[framedNames.headerLength], DEFAULT_MAX_HEADER_LENGTH);
  const frameLength = hintNumber(metadata[framedNames.frameLength], MAX_FRAME_LENGTH);
  const suite = suites.find(({ id }) => formatSuiteId(id) === metadata[framedNames.suite]);
  if (headerLength === undefined || frameLength === undefined || suite === undefined) return undefined;
  return { headerLength, frameLength, suite };
}

function hintNumber(value: string | undefined, max: number): number | undefined {
  if (value === undefined || !/^[1-9]\d{0,9}$/.test(value)) return undefined;
  const number = Number(value);
  return number <= max ? number : undefined;
}
