// Whatever is called, repeated, replayed or crashes, in whatever order, on uploads that several clients and processes
// share: no nonce is used twice, and what is completed opens to what was sent. Stores that break their promises make
// this test find repeats, so it would find them here.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MultipartState, MultipartStateStore } from "../../../src/s3.ts";
import { FULL } from "../../support/full.ts";
import type { memoryStates } from "../../support/multipart-states.ts";
import {
  contentOf,
  loadProcess,
  type ModelClient,
  type Process,
  VARIANTS,
  World,
  type WorldOptions,
} from "../../support/upload-model.ts";

const RUNS = Number(process.env.FRAMESEAL_RUNS ?? (FULL ? 24_000 : 1000));
const SEED = Number(process.env.FRAMESEAL_SEED ?? 20_261_127);
const CLIENTS = 3;
const MAX_PARTS = 4;
const formats = ["framed", "s3ec-v3", "s3ec-v2"] as const;

let processes: Process[] = [];
const counts = {
  runs: 0,
  calls: 0,
  accepted: 0,
  crashes: 0,
  replays: 0,
  imported: 0,
  nonces: 0,
  completed: 0,
};
beforeAll(async () => {
  processes = [await loadProcess(), await loadProcess()];
});
afterAll(() => console.log(`upload model: ${JSON.stringify(counts)}`));

/** One run: what went wrong, if anything did. */
class Run {
  readonly world: World;
  readonly faults: string[] = [];
  readonly #clients: ModelClient[] = [];
  readonly #exported: MultipartState[] = [];
  readonly #kept: MultipartState[] = [];
  /** Calls under way, by client. */
  readonly #calls = new Map<Promise<void>, ModelClient>();
  readonly #eTags = new Map<number, string>();
  readonly #partLength: number;
  readonly #withStore: boolean;

  constructor(seed: number, options: WorldOptions) {
    this.world = new World(seed, options);
    const { chance } = this.world;
    this.#partLength = chance.pick([16, 32, 48]);
    this.#withStore = !chance.oneIn(6);
    for (let i = 0; i < CLIENTS; i++) this.#clients.push(this.#newClient());
  }

  // In a world without a store, uploads are handed over by export and import alone.
  #newClient(): ModelClient {
    const { chance } = this.world;
    return this.world.client(this.#withStore && !chance.oneIn(12), chance.pick([undefined, 32, 48]));
  }

  async play(): Promise<void> {
    const { world } = this;
    const { chance } = world;
    for (let attempt = 0; world.uploadId === undefined && attempt < 20; attempt++) {
      this.#call(this.#clients[0] as ModelClient, (client) => client.request("CreateMultipartUpload"));
      await this.#drain();
    }
    for (let left = 6 + chance.below(24); left > 0; left--) {
      this.#act();
      for (let steps = chance.below(8); steps > 0; steps--) await this.#step();
    }
    await this.#drain();
    await this.#finish();
    await this.#checkObject();
    for (const repeat of world.repeats) this.faults.push(`repeated: ${repeat}`);
    counts.runs += 1;
    counts.nonces += world.entries;
  }

  #call(client: ModelClient, work: (client: ModelClient) => Promise<unknown>): void {
    counts.calls += 1;
    const call = work(client)
      .then(
        () => {
          counts.accepted += 1;
        },
        (error) => {
          if (/internal error/.test(String(error))) this.faults.push(String(error));
        },
      )
      .finally(() => this.#calls.delete(call));
    this.#calls.set(call, client);
  }

  async #step(): Promise<void> {
    await new Promise(setImmediate);
    this.world.step();
  }
  async #drain(): Promise<void> {
    for (let idle = 0; this.#calls.size > 0; ) {
      if (this.world.isWaiting) {
        idle = 0;
        await this.#step();
      } else if (++idle > 500) {
        this.faults.push("a call does not settle");
        return;
      } else
        await new Promise<void>((resolve) => (idle > 20 ? setTimeout(resolve, 1) : setImmediate(resolve)));
    }
  }

  #act(): void {
    const { world } = this;
    const { chance } = world;
    const index = chance.below(CLIENTS);
    const client = this.#clients[index] as ModelClient;
    const text = world.store.states.get(world.uploadId ?? "");
    if (text !== undefined) this.#kept.push(JSON.parse(text));
    const action = chance.below(100);
    if (action < 62) this.#call(client, (one) => this.#sendPart(one));
    else if (action < 72) this.#call(client, (one) => this.#complete(one));
    else if (action < 75) this.#call(client, (one) => one.request("ListParts"));
    else if (action < 84) this.#call(client, (one) => this.#export(one));
    else if (action < 92)
      this.#call(client, (one) => this.#import(one, chance.pick([...this.#exported, ...this.#kept])));
    else if (action < 99) this.#crash(index);
    else this.#call(client, (one) => one.request("AbortMultipartUpload"));
  }

  #crash(index: number): void {
    const client = this.#clients[index] as ModelClient;
    client.alive = false;
    counts.crashes += 1;
    for (const [call, owner] of this.#calls) if (owner === client) this.#calls.delete(call);
    this.#clients[index] = this.#newClient();
  }

  async #sendPart(client: ModelClient): Promise<void> {
    const { chance } = this.world;
    const PartNumber = 1 + chance.below(MAX_PARTS);
    const length = chance.oneIn(8) ? chance.pick([0, 16, 32, 48]) : this.#partLength;
    const Body = contentOf(PartNumber, chance.oneIn(2) ? 0 : chance.below(VARIANTS), length);
    const { ETag } = await client.request("UploadPart", { PartNumber, Body });
    this.#eTags.set(PartNumber, String(ETag));
  }

  // With the tags that callers know, of which others may have made some old.
  async #complete(client: ModelClient): Promise<void> {
    const count = this.world.chance.oneIn(4) ? 1 + this.world.chance.below(MAX_PARTS) : this.#eTags.size;
    const Parts = Array.from({ length: count }, (_, i) => ({
      PartNumber: i + 1,
      ETag: this.#eTags.get(i + 1),
    }));
    await client.request("CompleteMultipartUpload", { MultipartUpload: { Parts } });
  }

  async #export(client: ModelClient): Promise<void> {
    const state = await client.exportUpload();
    if (state !== undefined) this.#exported.push(state);
  }
  async #import(client: ModelClient, state: MultipartState | undefined): Promise<void> {
    if (state === undefined) return;
    counts.replays += 1;
    const { chance } = this.world;
    await client.importUpload(chance.oneIn(3) ? this.world.tampered(state) : state);
    counts.imported += 1;
  }

  // The rest without faults, by a client that knows nothing: what was sent is sent again, and the object is completed.
  async #finish(): Promise<void> {
    const { world } = this;
    world.faults = false;
    const client = world.client(true, undefined);
    const state = world.store.states.get(world.uploadId ?? "");
    if (world.upload === undefined || state === undefined) return;
    if ((JSON.parse(state) as MultipartState).exported)
      this.#call(client, (one) => one.importUpload(JSON.parse(state)));
    await this.#drain();
    const { ledger } = JSON.parse(world.store.states.get(world.uploadId ?? "") ?? state) as MultipartState;
    const parts = [...ledger.parts].sort(([a], [b]) => a - b);
    const isWhole = parts.length > 0 && parts.every(([number], index) => number === index + 1);
    if (!isWhole) return;
    // It may have been entered by an attempt to complete, whose caller does not list it.
    if (parts.length > 1 && parts.at(-1)?.[1] === 0 && world.chance.oneIn(2)) parts.pop();
    // What a crash kept from leaving is known by its digest alone: one of what callers have tried must be it.
    const again = async (number: number, length: number): Promise<void> => {
      for (let variant = 0; variant < VARIANTS; variant++) {
        const Body = contentOf(number, variant, length);
        const sent = await client.request("UploadPart", { PartNumber: number, Body }).catch(() => undefined);
        if (sent !== undefined) {
          this.#eTags.set(number, String(sent.ETag));
          return;
        }
      }
      this.faults.push(`part ${number} cannot be sent again`);
    };
    for (const [number, length] of parts) {
      this.#call(client, () => again(number, length));
      await this.#drain();
    }
    const Parts = parts.map(([PartNumber]) => ({ PartNumber, ETag: this.#eTags.get(PartNumber) }));
    this.#call(client, async (one) => {
      await one.request("CompleteMultipartUpload", { MultipartUpload: { Parts } }).catch((error) => {
        this.faults.push(`cannot be completed: ${error}`);
      });
    });
    await this.#drain();
  }

  async #checkObject(): Promise<void> {
    const { object, left } = this.world;
    if (object === undefined) return;
    counts.completed += 1;
    const bytes = await this.world.read().catch((error) => Buffer.from(String(error)));
    const parts = [...left].sort(([a], [b]) => a - b).map(([, part]) => part);
    // A part that leaves one client while another completes the upload without it is not in the object.
    const isSent = parts.some((_, last) => bytes.equals(Buffer.concat(parts.slice(0, last + 1))));
    if (!isSent && bytes.length > 0)
      this.faults.push(`object is not what was sent: ${bytes.subarray(0, 80)}`);
  }
}

/** Runs until something that is looked for goes wrong: after how many runs, and what. */
async function firstFault(
  runs: number,
  wanted: RegExp,
  breakStore?: (store: ReturnType<typeof memoryStates>) => MultipartStateStore,
): Promise<{ run: number; seed: number; faults: string[] } | undefined> {
  for (let run = 1; run <= runs; run++) {
    const options: WorldOptions = {
      format: formats[run % formats.length] ?? "framed",
      processes,
      breakStore,
    };
    const played = new Run(SEED + run, options);
    await played.play();
    if (played.faults.some((fault) => wanted.test(fault)))
      return { run, seed: SEED + run, faults: played.faults };
  }
  return undefined;
}

test("no call, replay or crash makes two ciphertexts under one nonce", { timeout: 3_600_000 }, async () => {
  expect(await firstFault(RUNS, /./)).toBeUndefined();
  for (const [name, count] of Object.entries(counts)) expect(count, name).toBeGreaterThan(RUNS / 100);
});

describe("a store that breaks its promise is found out", () => {
  const broken: Record<string, (store: ReturnType<typeof memoryStates>) => MultipartStateStore> = {
    "keeps whatever comes last": (store) => ({
      ...store,
      async compareAndSwap(uploadId, state) {
        store.states.set(uploadId, JSON.stringify(state));
        return true;
      },
    }),
    "returns to an older state": (store) => {
      const old = new Map<string, string>();
      return {
        ...store,
        async compareAndSwap(uploadId, state, expected) {
          const before = store.states.get(uploadId);
          const swapped = await store.compareAndSwap(uploadId, state, expected);
          if (before !== undefined && state.revision % 3 === 0) old.set(uploadId, before);
          return swapped;
        },
        async load(uploadId) {
          const text = old.get(uploadId);
          if (text !== undefined) store.states.set(uploadId, text);
          old.delete(uploadId);
          return store.load(uploadId);
        },
      };
    },
  };
  test.each(Object.keys(broken))("%s", { timeout: 600_000 }, async (name) => {
    const found = await firstFault(3000, /^repeated/, broken[name]);
    console.log(`a store that ${name}: found in run ${found?.run}: ${found?.faults[0]}`);
    expect(found).toBeDefined();
  });
});
