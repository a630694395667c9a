// Rows for keys that are asked for in the order of their bytes, as a walk does: read page by page, and not one by one.
import type { StoredRow } from "./journal/journal.ts";
import { compareKeys } from "./key-order.ts";
import type { StoredRows } from "./stored-rows.ts";

/** Rows as they were when they were read; of one key at most once. */
export class RowsInOrder {
  readonly #rows: StoredRows;
  readonly #iterator: Iterator<StoredRow>;
  #next: StoredRow | undefined;
  #isAtEnd = false;
  #last: string | undefined;

  /** @param rows whose `allStored` is in the order of the keys */
  constructor(rows: StoredRows) {
    this.#rows = rows;
    this.#iterator = rows.allStored()[Symbol.iterator]();
  }

  /** The row of a key; one by one for those out of order. */
  at(key: string): StoredRow | undefined {
    if (this.#last !== undefined && compareKeys(key, this.#last) <= 0) return this.#rows.stored(key);
    this.#last = key;
    while (!this.#isAtEnd && (this.#next === undefined || compareKeys(this.#next.key, key) < 0)) {
      const next = this.#iterator.next();
      this.#isAtEnd = next.done === true;
      this.#next = next.done === true ? undefined : next.value;
    }
    return this.#next?.key === key ? this.#next : undefined;
  }
}
