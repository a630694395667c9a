// Checks that a store of upload states keeps the promises that the nonces of uploads rest on.
import { isDeepStrictEqual } from "node:util";
import { callback } from "../../check-options.ts";
import { messageOf } from "../../errors.ts";
import { checkStateStore, type MultipartState, type MultipartStateStore } from "./multipart-state.ts";

/**
 * Checks an implementation of `MultipartStateStore` and returns the names of the checks. What a check keeps, it removes.
 * @param open opens the same store again: as another client would, best of all from another connection
 * @throws AggregateError with what each failed check said
 */
export async function checkMultipartStateStore(
  open: () => MultipartStateStore | Promise<MultipartStateStore>,
): Promise<readonly string[]> {
  callback("open", open);
  const [one, other] = [await open(), await open()];
  checkStateStore(one);
  const failures: Error[] = [];
  for (const [name, check] of checks) {
    const uploadId = `check ${Math.random()}`;
    try {
      await check(one, other, uploadId);
    } catch (error) {
      failures.push(new Error(`${name}: ${messageOf(error)}`, { cause: error }));
    } finally {
      await one.remove(uploadId).catch(() => {});
    }
  }
  if (failures.length === 0) return checks.map(([name]) => name);
  const texts = failures.map(({ message }) => message).join("\n");
  throw new AggregateError(
    failures,
    `store violates ${failures.length} of ${checks.length} checks:\n${texts}`,
  );
}

type Check = (one: MultipartStateStore, other: MultipartStateStore, uploadId: string) => Promise<void>;

const checks: readonly (readonly [string, Check])[] = [
  ["knows nothing of an upload that was never kept", knowsNothing],
  ["returns what was kept last, through every client", returnsNewest],
  ["keeps the first state only where there is none", createsOnce],
  ["changes nothing when another revision is there", refusesOthers],
  ["lets one of many swaps win", letsOneWin],
  ["keeps a copy", keepsCopies],
  ["forgets what was removed", forgets],
  ["takes any upload id", takesAnyId],
];

async function knowsNothing(one: MultipartStateStore, _: MultipartStateStore, id: string): Promise<void> {
  require((await one.load(id)) === undefined, "it returns a state");
  require(!(await one.compareAndSwap(id, stateOf(id, 2), 1)), "it swaps what is not there");
  await one.remove(id);
}

async function returnsNewest(
  one: MultipartStateStore,
  other: MultipartStateStore,
  id: string,
): Promise<void> {
  for (let revision = 1; revision <= 20; revision++) {
    const state = stateOf(id, revision);
    const store = revision % 2 === 0 ? other : one;
    require(await store.compareAndSwap(
      id,
      state,
      revision === 1 ? undefined : revision - 1,
    ), "it does not swap");
    for (const reader of [one, other])
      require(isDeepStrictEqual(await reader.load(id), state), "it returns another state than was kept");
  }
}

async function createsOnce(one: MultipartStateStore, other: MultipartStateStore, id: string): Promise<void> {
  const [first, second] = [stateOf(id, 5), stateOf(id, 7)];
  const kept = await Promise.all([
    one.compareAndSwap(id, first, undefined),
    other.compareAndSwap(id, second, undefined),
  ]);
  require(kept.filter((yes) => yes === true).length ===
    1, "two clients were told that theirs is the first state");
  require(isDeepStrictEqual(
    await one.load(id),
    kept[0] ? first : second,
  ), "it keeps what it said it had not");
  require(!(await other.compareAndSwap(id, stateOf(id, 1), undefined)), "it replaces a state unasked");
}

async function refusesOthers(
  one: MultipartStateStore,
  other: MultipartStateStore,
  id: string,
): Promise<void> {
  await one.compareAndSwap(id, stateOf(id, 1), undefined);
  await one.compareAndSwap(id, stateOf(id, 2), 1);
  for (const expected of [1, 3, 0])
    require(!(await other.compareAndSwap(
      id,
      stateOf(id, expected + 1),
      expected,
    )), "it swaps another revision");
  require((await other.load(id))?.revision === 2, "it changed the state all the same");
}

async function letsOneWin(one: MultipartStateStore, other: MultipartStateStore, id: string): Promise<void> {
  await one.compareAndSwap(id, stateOf(id, 1), undefined);
  for (let revision = 2; revision < 10; revision++) {
    const tried = [one, other, one, other].map((store, index) =>
      store.compareAndSwap(id, { ...stateOf(id, revision), mac: `by ${index}` }, revision - 1),
    );
    const won = (await Promise.all(tried)).flatMap((yes, index) => (yes ? [`by ${index}`] : []));
    require(won.length === 1, `${won.length} of ${tried.length} swaps were told that they won`);
    require((await one.load(id))?.mac === won[0], "it keeps the state of a swap that lost");
  }
}

async function keepsCopies(one: MultipartStateStore, _: MultipartStateStore, id: string): Promise<void> {
  const state = { ...stateOf(id, 1) } as { -readonly [Name in keyof MultipartState]: MultipartState[Name] };
  await one.compareAndSwap(id, state, undefined);
  state.mac = "changed";
  require((await one.load(id))?.mac !== "changed", "a change of the caller's object changes what is kept");
}

async function forgets(one: MultipartStateStore, other: MultipartStateStore, id: string): Promise<void> {
  await one.compareAndSwap(id, stateOf(id, 1), undefined);
  await other.remove(id);
  await one.remove(id);
  require((await one.load(id)) === undefined, "it still returns a state");
  require(!(await one.compareAndSwap(id, stateOf(id, 2), 1)), "it swaps what was removed");
}

async function takesAnyId(one: MultipartStateStore, _: MultipartStateStore, id: string): Promise<void> {
  const ids = [
    `${id}/../x`,
    `${id}?`,
    `${id}'; --`,
    `${id} ${"x".repeat(1000)}`,
    id.toUpperCase(),
    `${id}ß\u{1f600}`,
  ];
  for (const [index, name] of ids.entries())
    await one.compareAndSwap(name, stateOf(name, index + 1), undefined);
  for (const [index, name] of ids.entries()) {
    require((await one.load(name))?.revision === index + 1, "it mixes uploads up");
    await one.remove(name);
  }
}

function stateOf(uploadId: string, revision: number): MultipartState {
  const ledger = { partLength: 16, parts: [[1, 16, "more", "AAAAAAAAAAAAAAAAAAAAAA=="]] } as const;
  const object = { header: "AA==", größe: "\u{1f600}" };
  const fields = {
    version: 2,
    bucket: "b",
    key: "k",
    format: "framed",
    access: {},
    side: {},
    exported: false,
  } as const;
  return { ...fields, revision, uploadId, object, ledger, mac: `mac ${revision}` };
}

function require(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}
