// Whether a listing that comes page by page gets on. A server that goes round in a circle, or has nothing to say and never
// ends, would be followed for ever; and a page of a proxy or a portal would be taken for an empty bucket.
import { FramesealError } from "../../errors.ts";

/** Pages without anything in them that may follow each other: what was deleted may leave some. */
const MAX_EMPTY_PAGES = 100;

/** Watches one listing. It keeps the marks of one page, however many pages there are. */
export class Onward {
  readonly #what: string;
  #empty = 0;
  #pages = 0;
  #nextMark = 1;
  #first: string | undefined;
  #token: string | undefined;

  /** @param what is listed, for the text of the error */
  constructor(what: string) {
    this.#what = what;
  }

  /**
   * Call it for each page.
   * @param isTruncated what the server says of that; all servers say it
   * @param first what is first in the page; undefined for one without anything in it
   * @param token where the next page begins
   * @returns `token`, or undefined at the end
   * @throws FramesealError UNSUPPORTED for a listing that is none, or does not get on
   */
  next(
    isTruncated: boolean | undefined,
    first: string | undefined,
    token: string | undefined,
  ): string | undefined {
    if (isTruncated === undefined) throw this.#fault("is no listing: look at the endpoint");
    if (!isTruncated) return undefined;
    if (token === undefined) throw this.#fault("does not say how it goes on");
    this.#empty = first === undefined ? this.#empty + 1 : 0;
    if (this.#empty > MAX_EMPTY_PAGES) throw this.#fault("has nothing in it, and does not end");
    if (token === this.#token || (first !== undefined && first === this.#first))
      throw this.#fault("goes round in a circle");
    // The marks are those of the pages 1, 2, 4, 8 and so on: a circle of any length comes to them again.
    this.#pages += 1;
    if (this.#pages < this.#nextMark) return token;
    this.#nextMark *= 2;
    [this.#first, this.#token] = [first, token];
    return token;
  }

  #fault(text: string): FramesealError {
    return new FramesealError("UNSUPPORTED", `the server's listing of ${this.#what} ${text}`);
  }
}
