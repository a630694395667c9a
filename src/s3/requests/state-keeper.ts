// Keeps the state of one upload in step with a store that other clients use too: what is in memory never wins over a
// newer stored state, and nothing that is new in memory counts before it is stored.
import { setTimeout } from "node:timers/promises";
import { equalConstantTime } from "../../bytes.ts";
import { FramesealError } from "../../errors.ts";
import {
  checkState,
  type MultipartState,
  type MultipartStateStore,
  type StateContent,
  type StateKey,
} from "./multipart-state.ts";

/** A change is tried this often when others change the state at the same time. */
const MAX_ATTEMPTS = 100;
/** Attempts that follow at once; later ones wait. */
const PROMPT_ATTEMPTS = 3;
const MAX_PAUSE_MS = 50;

/** What is to be stored before it counts. */
export interface Change<Result> {
  /** The state with the change in it; undefined when the stored one has it already. */
  readonly content: StateContent | undefined;
  /** Makes the change in memory. Called when it is stored. */
  readonly accept: () => void;
  readonly result: Result;
}

/** The state of one upload in memory and in its store, if there is one. */
export class StateKeeper {
  readonly #store: MultipartStateStore | undefined;
  readonly #key: StateKey;
  readonly #uploadId: string;
  readonly #merge: (state: MultipartState) => void;
  /** The newest state that is known to be stored. */
  #kept: { readonly revision: number; readonly mac: string | undefined };
  /** The store may hold a newer one. */
  #stale = false;
  #ended: FramesealError | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  /**
   * @param merge takes over a newer state, which is authentic
   * @param known the state that the upload in memory was made from
   */
  constructor(
    store: MultipartStateStore | undefined,
    key: StateKey,
    uploadId: string,
    merge: (state: MultipartState) => void,
    known: MultipartState | undefined,
  ) {
    this.#store = store;
    this.#key = key;
    this.#uploadId = uploadId;
    this.#merge = merge;
    this.#kept = { revision: known?.revision ?? 0, mac: known?.mac };
  }

  /** Why nothing may be sealed here any more, if that is so. */
  get ended(): FramesealError | undefined {
    return this.#ended;
  }

  /**
   * Makes a change, one at a time.
   * @param plan says what changes, seen from the newest state; called again when the state was changed by others
   * @throws FramesealError POLICY when the upload goes on elsewhere, and what `plan` and the store throw
   */
  change<Result>(plan: () => Change<Result>): Promise<Result> {
    return this.#inTurn(async () => {
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        if (attempt > PROMPT_ATTEMPTS) await setTimeout(Math.random() * Math.min(MAX_PAUSE_MS, 2 ** attempt));
        if (this.#stale) await this.#refresh();
        if (this.#ended !== undefined) throw this.#ended;
        const { content, accept, result } = plan();
        if (content !== undefined && !(await this.#swap(content))) continue;
        accept();
        return result;
      }
      throw new FramesealError(
        "POLICY",
        `state of the upload could not be stored in ${MAX_ATTEMPTS} attempts: others change it all the time`,
      );
    });
  }

  /** Takes over what others have stored. */
  refresh(): Promise<void> {
    return this.#inTurn(() => this.#refresh());
  }

  /**
   * Takes over an upload that was handed over: the first who stores its next state has it.
   * @param isStored whether the store holds the exported state
   * @throws FramesealError POLICY when somebody else was first
   */
  adopt(content: StateContent, isStored: boolean): Promise<void> {
    return this.#inTurn(async () => {
      const { revision } = this.#kept;
      const state = this.#key.sign(content, revision + 1);
      const expected = isStored ? revision : undefined;
      const swapped = (await this.#store?.compareAndSwap(this.#uploadId, state, expected)) ?? true;
      if (swapped !== true) throw new FramesealError("POLICY", "state of the upload was imported before");
      this.#kept = { revision: state.revision, mac: state.mac };
    });
  }

  /** Ends the upload here: its state goes elsewhere. Resolves to what is to be imported there. */
  async export(content: () => StateContent): Promise<MultipartState> {
    return this.change(() => {
      const exported = { ...content(), exported: true };
      const result = this.#key.sign(exported, this.#kept.revision + 1);
      return { content: exported, result, accept: () => this.#end(exportedElsewhere()) };
    });
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  async #swap(content: StateContent): Promise<boolean> {
    const { revision } = this.#kept;
    const state = this.#key.sign(content, revision + 1);
    if (this.#store !== undefined) {
      this.#stale = true; // if this fails, it may have had its effect
      const expected = revision === 0 ? undefined : revision;
      const swapped: unknown = await this.#store.compareAndSwap(this.#uploadId, state, expected);
      if (typeof swapped !== "boolean")
        throw new TypeError(`"compareAndSwap" expected to resolve to true or false, got ${typeof swapped}`);
      if (!swapped) return false;
      this.#stale = false;
    }
    this.#kept = { revision: revision + 1, mac: state.mac };
    return true;
  }

  async #refresh(): Promise<void> {
    if (this.#store === undefined || this.#ended !== undefined) return;
    const state = await this.#store.load(this.#uploadId);
    if (state === undefined) {
      if (this.#kept.revision === 0) return; // not stored yet
      this.#end(new FramesealError("POLICY", "upload has ended, or its state was removed: it cannot go on"));
      return;
    }
    checkState(state);
    this.#key.verify(state);
    const { revision, mac } = this.#kept;
    const isOther = mac !== undefined && !equalConstantTime(Buffer.from(mac), Buffer.from(state.mac));
    if (
      state.uploadId !== this.#uploadId ||
      state.revision < revision ||
      (state.revision === revision && isOther)
    )
      throw new FramesealError(
        "POLICY",
        "store returned an older state of the upload than it had before: going on would repeat nonces",
      );
    this.#merge(state);
    this.#kept = { revision: state.revision, mac: state.mac };
    this.#stale = false;
    if (state.exported) this.#end(exportedElsewhere());
  }

  #end(error: FramesealError): void {
    this.#ended ??= error;
  }
}

/** The error for an upload that was handed over. */
export function exportedElsewhere(): FramesealError {
  return new FramesealError("POLICY", "the state of this upload was exported: go on where it was imported");
}
