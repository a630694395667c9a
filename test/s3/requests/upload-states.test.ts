// States of uploads that a store keeps or that are handed over: one ledger for an upload whoever works on it, no part
// leaves before its state is kept, and only authentic states are gone on from.
import { randomBytes } from "node:crypto";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  ListPartsCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import {
  type EncryptS3ClientOptions,
  encryptS3Client,
  exportMultipartUpload,
  importMultipartUpload,
  type MultipartState,
  setDefaultEncryption,
  sseS3,
} from "../../../src/s3.ts";
import { readObject } from "../../support/s3-outcome.ts";
import { S3Server } from "../../support/s3-server.ts";

const target = { Bucket: "bucket", Key: "object" };
const P = 5 * 2 ** 20;
const data = randomBytes(2 * P + 5);
const wrappingKey = randomBytes(32);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey });
let server: S3Server;
let plain: S3Client;
/** What the store holds, as text, and what its next calls do first. */
const kept = new Map<string, string>();
const pause = () => new Promise((resolve) => setTimeout(resolve, 5));
let onSave: () => Promise<unknown> = pause;

beforeAll(async () => {
  server = await S3Server.start();
  plain = server.client();
  await plain.send(new CreateBucketCommand({ Bucket: target.Bucket }));
  await setDefaultEncryption(plain, target.Bucket, { encryption: sseS3(), customerKeys: "allow" });
});
beforeEach(() => {
  kept.clear();
  server.uploads.clear();
  server.fault = () => undefined;
  onSave = pause;
});
afterAll(() => server[Symbol.asyncDispose]());

const multipartStates = {
  async load(uploadId: string): Promise<MultipartState | undefined> {
    await pause();
    const text = kept.get(uploadId);
    return text === undefined ? undefined : JSON.parse(text);
  },
  async compareAndSwap(
    uploadId: string,
    state: MultipartState,
    expected: number | undefined,
  ): Promise<boolean> {
    const text = JSON.stringify(state); // as it is now, though it may be kept later
    await onSave();
    const known = kept.get(uploadId);
    if ((known === undefined ? undefined : JSON.parse(known).revision) !== expected) return false;
    kept.set(uploadId, text);
    return true;
  },
  async remove(uploadId: string): Promise<void> {
    kept.delete(uploadId);
  },
};
const clientOf = (options: Partial<EncryptS3ClientOptions> = {}): S3Client =>
  encryptS3Client(plain, { keyring, partSize: P, multipartStates, ...options });
/** A client without a store. */
const aloneOf = (options: Partial<EncryptS3ClientOptions> = {}): S3Client =>
  encryptS3Client(plain, { keyring, partSize: P, ...options });
const stateOf = (uploadId: string): MultipartState => JSON.parse(kept.get(uploadId) ?? "null");
const formats = ["framed", "s3ec-v3"] as const;
const outcome = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "accepted",
    (error) => error.code ?? error.message,
  );
async function create(client: S3Client): Promise<string> {
  return (await client.send(new CreateMultipartUploadCommand(target))).UploadId ?? "";
}
async function part(client: S3Client, UploadId: string, PartNumber: number, from = data) {
  const Body = from.subarray((PartNumber - 1) * P, PartNumber * P);
  const { ETag } = await client.send(new UploadPartCommand({ ...target, UploadId, PartNumber, Body }));
  return { PartNumber, ETag };
}

test("requests that load one state at the same time share one ledger", async () => {
  const uploadId = await create(clientOf());
  const second = clientOf();
  const tried = [data, randomBytes(data.length), randomBytes(data.length)];
  const outcomes = await Promise.all(tried.map((bytes) => outcome(part(second, uploadId, 2, bytes))));
  expect(outcomes.sort()).toEqual(["POLICY", "POLICY", "accepted"]);
});

test("an upload goes on in another process, and its state tells no key", async () => {
  const uploadId = await create(clientOf());
  const last = await part(clientOf(), uploadId, 3);
  const third = clientOf();
  const all = [await part(third, uploadId, 1), await part(third, uploadId, 2), last];
  const text = kept.get(uploadId) ?? "";
  expect(JSON.parse(text).ledger.parts.length).toBe(3);
  for (const form of ["hex", "base64", "base64url", "latin1"] as const)
    expect(text.includes(wrappingKey.toString(form))).toBe(false);
  const MultipartUpload = { Parts: all };
  await clientOf().send(
    new CompleteMultipartUploadCommand({ ...target, UploadId: uploadId, MultipartUpload }),
  );
  expect((await readObject(clientOf(), target)).equals(data)).toBe(true);
  expect(kept.size).toBe(0);
});

test("a part leaves when its state is kept, not before", async () => {
  const client = clientOf();
  const uploadId = await create(client);
  onSave = () => Promise.reject(new Error("disk is full"));
  const sent = () => server.calls.filter(({ query }) => query.get("uploadId") === uploadId).length;
  for (const _ of [1, 2]) expect(await outcome(part(client, uploadId, 1))).toBe("disk is full");
  expect(sent()).toBe(0);
  onSave = pause;
  await part(client, uploadId, 1);
  expect(JSON.parse(kept.get(uploadId) ?? "").ledger.parts.length).toBe(1);
});

test("states are kept in the order of their making", async () => {
  const client = clientOf();
  const uploadId = await create(client);
  let saves = 0;
  // The first would end last.
  onSave = () => new Promise((resolve) => setTimeout(resolve, saves++ === 0 ? 60 : 1));
  await Promise.all([part(client, uploadId, 1), part(client, uploadId, 2)]);
  expect(JSON.parse(kept.get(uploadId) ?? "").ledger.parts.length).toBe(2);
});

test("a state that cannot be kept at the start leaves no upload behind", async () => {
  onSave = () => Promise.reject(new Error("disk is full"));
  expect(await outcome(create(clientOf()))).toBe("disk is full");
  expect(server.uploads.size).toBe(0);
  // Or one that is named.
  server.fault = ({ method }) =>
    method === "DELETE" ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
  const failed = create(clientOf());
  await expect(failed).rejects.toThrow(/^disk is full \(the upload \S+ could not be aborted/);
  await expect(failed).rejects.toMatchObject({ uploadId: [...server.uploads.keys()][0] });
});

test("an abort is heard while the store does not answer, and a part that was stopped leaves no other ledger", async () => {
  const client = clientOf();
  const uploadId = await create(client);
  let answer = () => {};
  onSave = () =>
    new Promise<void>((resolve) => {
      answer = resolve;
    });
  const stop = new AbortController();
  const Body = data.subarray(0, P);
  const input = { ...target, UploadId: uploadId, PartNumber: 1, Body };
  const sending = client.send(new UploadPartCommand(input), { abortSignal: stop.signal });
  setTimeout(() => stop.abort(), 20);
  expect(await outcome(sending)).toBe("ABORTED");
  answer();
  onSave = pause;
  expect(await outcome(part(client, uploadId, 1, randomBytes(data.length)))).toBe("POLICY");
  expect(await outcome(part(client, uploadId, 1))).toBe("accepted");

  server.uploads.clear();
  const creating = new AbortController();
  onSave = async () => {
    creating.abort();
    await pause();
  };
  const created = client.send(new CreateMultipartUploadCommand(target), { abortSignal: creating.signal });
  expect(await outcome(created)).toBe("ABORTED");
  await vi.waitFor(() => expect(server.uploads.size).toBe(0));
  expect(kept.size).toBe(1);
});

test("an older state does not replace an upload that goes on", async () => {
  const client = clientOf();
  const uploadId = await create(client);
  const old = stateOf(uploadId);
  await part(client, uploadId, 1);
  for (const one of [client, clientOf(), aloneOf()])
    await expect(importMultipartUpload(one, old)).rejects.toMatchObject({ code: "POLICY" });
  expect(await outcome(part(client, uploadId, 1, randomBytes(data.length)))).toBe("POLICY");
});

async function complete(
  client: S3Client,
  UploadId: string,
  Parts: { PartNumber: number; ETag?: string | undefined }[],
) {
  return client.send(new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts } }));
}

describe.each(formats)("%s: clients that share a store", (format) => {
  const make = () => clientOf({ format });
  const other = randomBytes(data.length);

  test("take turns on one upload", async () => {
    const [a, b] = [make(), make()];
    const uploadId = await create(a);
    const second = await part(b, uploadId, 2);
    expect(await outcome(part(a, uploadId, 2, other))).toBe("POLICY");
    const first = await part(a, uploadId, 1);
    expect(await outcome(part(b, uploadId, 1, other))).toBe("POLICY");
    await part(a, uploadId, 2);
    const third = await part(b, uploadId, 3);
    expect(await outcome(part(a, uploadId, 4))).toBe("POLICY"); // part 3 is the last
    const listed = await a.send(new ListPartsCommand({ ...target, UploadId: uploadId }));
    expect(listed.Parts?.map(({ Size }) => Size)).toEqual([P, P, 5]);
    const sentAgain = await part(a, uploadId, 2);
    await complete(a, uploadId, [first, sentAgain, third]);
    expect(second.PartNumber).toBe(2);
    expect((await readObject(b, target)).equals(data)).toBe(true);
    expect(await outcome(part(b, uploadId, 1))).not.toBe("accepted"); // it has ended
  });

  test("work at once, and of two contents of one part one wins", async () => {
    const clients = [make(), make(), make()];
    const uploadId = await create(clients[0] as S3Client);
    const tried = clients.flatMap((client, index) =>
      [1, 2, 3].map((number) => outcome(part(client, uploadId, number, index === 1 ? other : data))),
    );
    const outcomes = await Promise.all(tried);
    for (const number of [0, 1, 2]) {
      const [one, two, three] = [outcomes[number], outcomes[number + 3], outcomes[number + 6]];
      expect([`${one} ${two} ${three}`]).toEqual(
        one === "accepted" ? ["accepted POLICY accepted"] : ["POLICY accepted POLICY"],
      );
    }
    expect(stateOf(uploadId).ledger.parts.length).toBe(3);
  });

  test("the length of parts is that of the part that was kept first", async () => {
    const uploadId = await create(make());
    const short = clientOf({ format, partSize: P + 65_536 });
    const sizes = [
      outcome(part(make(), uploadId, 2)),
      outcome(part(short, uploadId, 1, randomBytes(data.length))),
    ];
    await Promise.all(sizes);
    const { partLength, parts } = stateOf(uploadId).ledger;
    for (const [, length, place] of parts) expect(place).toBe(length === partLength ? "more" : "last");
  });

  test("a swap that failed after it was done is found out", async () => {
    const client = make();
    const uploadId = await create(client);
    const lost = clientOf({
      format,
      multipartStates: {
        ...multipartStates,
        async compareAndSwap(id, state, expected) {
          await multipartStates.compareAndSwap(id, state, expected);
          throw new Error("answer was lost");
        },
      },
    });
    expect(await outcome(part(lost, uploadId, 1))).toBe("answer was lost");
    expect(await outcome(part(lost, uploadId, 1, other))).toBe("POLICY");
    expect(await outcome(part(client, uploadId, 1, other))).toBe("POLICY");
    expect(await outcome(part(client, uploadId, 1))).toBe("accepted");
  });

  test("a caller who aborts while the state is loaded ends his own request alone", async () => {
    const uploadId = await create(make());
    const load = async (id: string) => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      return multipartStates.load(id);
    };
    const client = clientOf({ format, multipartStates: { ...multipartStates, load } });
    const Body = data.subarray(0, P);
    const requests = [1, 2].map(
      (PartNumber) => new UploadPartCommand({ ...target, UploadId: uploadId, PartNumber, Body }),
    ) as [UploadPartCommand, UploadPartCommand];
    const abortSignal = AbortSignal.timeout(10);
    const outcomes = [outcome(client.send(requests[0], { abortSignal })), outcome(client.send(requests[1]))];
    expect(await Promise.all(outcomes)).toEqual(["ABORTED", "accepted"]);
  });

  test("bytes that change while the state is kept are sent as they were", async () => {
    const client = make();
    const uploadId = await create(client);
    const Body = Buffer.from(data.subarray(0, P));
    onSave = async () => Body.fill(7);
    const { ETag } = await client.send(
      new UploadPartCommand({ ...target, UploadId: uploadId, PartNumber: 1, Body }),
    );
    onSave = pause;
    expect(await outcome(part(client, uploadId, 1))).toBe("accepted");
    await complete(client, uploadId, [{ PartNumber: 1, ETag }]);
    expect((await readObject(client, target)).equals(data.subarray(0, P))).toBe(true);
  });

  test("an exported upload goes on nowhere but where it is imported, and only once", async () => {
    const [a, b] = [make(), make()];
    const uploadId = await create(a);
    const first = await part(a, uploadId, 1);
    await part(b, uploadId, 1);
    const state = JSON.parse(JSON.stringify(await exportMultipartUpload(b, uploadId)));
    for (const client of [a, b, make()]) expect(await outcome(part(client, uploadId, 2))).toBe("POLICY");
    // When the answer to the export was lost, it can be asked for again.
    expect(await exportMultipartUpload(a, uploadId)).toEqual(state);
    expect(await outcome(importMultipartUpload(aloneOf({ format }), state))).toBe("POLICY");
    const takers = [make(), make(), a];
    const taken = await Promise.all(takers.map((client) => outcome(importMultipartUpload(client, state))));
    expect([...taken].sort()).toEqual(["POLICY", "POLICY", "accepted"]);
    expect(await outcome(importMultipartUpload(make(), state))).toBe("POLICY");
    const second = await part(takers[taken.indexOf("accepted")] as S3Client, uploadId, 2);
    expect(await outcome(part(b, uploadId, 2, other))).toBe("POLICY");
    const third = await part(b, uploadId, 3);
    await complete(make(), uploadId, [first, second, third]);
    expect((await readObject(make(), target)).equals(data)).toBe(true);
    expect(await outcome(importMultipartUpload(make(), state))).not.toBe("accepted");
  });

  test("without a store, an upload is handed over within the process, once", async () => {
    const a = aloneOf({ format });
    const uploadId = await create(a);
    const first = await part(a, uploadId, 1);
    const state = await exportMultipartUpload(a, uploadId);
    const [b, c] = [aloneOf({ format }), clientOf({ format })];
    await importMultipartUpload(b, state);
    for (const client of [a, b, c, aloneOf({ format })])
      expect(await outcome(importMultipartUpload(client, state))).toBe("POLICY");
    const again = await exportMultipartUpload(b, uploadId);
    await importMultipartUpload(c, again); // into a store
    for (const client of [a, b]) expect(await outcome(importMultipartUpload(client, again))).toBe("POLICY");
    const parts = [first, await part(c, uploadId, 2), await part(clientOf({ format }), uploadId, 3)];
    await complete(c, uploadId, parts);
    expect((await readObject(c, target)).equals(data)).toBe(true);
  });

  test("the SSE-C key is in no state: who goes on gives it again, and the bytes that end the object have it", async () => {
    const customer = {
      SSECustomerAlgorithm: "AES256",
      SSECustomerKey: Buffer.alloc(32, 9).toString("base64"),
    };
    const secure = () =>
      encryptS3Client(server.secureClient(), { keyring, partSize: P, multipartStates, format });
    const created = await secure().send(new CreateMultipartUploadCommand({ ...target, ...customer }));
    const uploadId = created.UploadId ?? "";
    const client = secure();
    const Body = data.subarray(0, P);
    const input = { ...target, ...customer, UploadId: uploadId, PartNumber: 1, Body };
    const { ETag } = await client.send(new UploadPartCommand(input));
    expect(kept.get(uploadId)).not.toContain(customer.SSECustomerKey);
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
    const last = { ...target, ...customer, UploadId: uploadId, MultipartUpload };
    await secure().send(new CompleteMultipartUploadCommand(last));
    expect((await readObject(secure(), { ...target, ...customer })).equals(Body)).toBe(true);
  });

  test("a last part without its tag is not completed as it is", async () => {
    const client = make();
    const uploadId = await create(client);
    const last = await part(client, uploadId, 3);
    const parts = [await part(client, uploadId, 1), await part(client, uploadId, 2), last];
    // It is sent again, with the tag behind it, and does not arrive.
    server.fault = ({ query }) =>
      query.get("partNumber") === "3" ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
    expect(await outcome(part(client, uploadId, 3))).not.toBe("accepted");
    server.fault = () => undefined;
    await complete(client, uploadId, parts);
    expect((await readObject(client, target)).equals(data)).toBe(true);
  });

  test("nothing is completed with a part that S3 does not have as listed", async () => {
    const client = make();
    const uploadId = await create(client);
    server.fault = ({ query }) =>
      query.has("partNumber") ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
    expect(await outcome(part(client, uploadId, 1))).not.toBe("accepted");
    server.fault = () => undefined;
    expect(await outcome(complete(client, uploadId, [{ PartNumber: 1, ETag: '"x"' }]))).toBe("POLICY");
  });

  test("an upload that S3 does not know any more leaves no state", async () => {
    const uploadId = await create(make());
    const abort = (Key: string) =>
      outcome(make().send(new AbortMultipartUploadCommand({ ...target, Key, UploadId: uploadId })));
    server.uploads.clear();
    await abort("another");
    expect(kept.size).toBe(1);
    await abort(target.Key);
    expect(kept.size).toBe(0);
  });

  test("every change of a state is found out", async () => {
    const a = make();
    const uploadId = await create(a);
    await part(a, uploadId, 1);
    const good = stateOf(uploadId);
    const tries: [string, unknown][] = [];
    const change = (value: unknown, path: readonly (string | number)[]): void => {
      if (typeof value === "object" && value !== null) {
        for (const [name, member] of Object.entries(value)) change(member, [...path, name]);
        return;
      }
      const altered = [
        typeof value === "number" ? value + 1 : typeof value === "boolean" ? !value : `${value}A`,
      ];
      if (typeof value === "string")
        altered.push(
          value.slice(1),
          value.replace(/^./, (c) => (c === "A" ? "B" : "A")),
        );
      for (const to of [...altered, null, undefined]) {
        if (to === value) continue;
        const copy = structuredClone(good) as unknown as Record<string | number, never>;
        const parent = path.slice(0, -1).reduce((at, name) => at[name] as never, copy);
        parent[path.at(-1) as string] = to as never;
        tries.push([`${path.join(".")} = ${to}`, copy]);
      }
    };
    change(good, []);
    expect(tries.length).toBeGreaterThan(40);
    const { ledger } = good;
    tries.push(["no parts", { ...good, ledger: { ...ledger, parts: [] } }]);
    tries.push(["more access", { ...good, access: { ...good.access, RequestPayer: "requester" } }]);
    for (const [what, state] of tries) {
      kept.set(uploadId, JSON.stringify(state));
      expect(await outcome(part(make(), uploadId, 2)), what).not.toBe("accepted");
    }
    // The order of members is not what is authenticated: databases change it.
    const turned = (value: unknown): unknown =>
      typeof value !== "object" || value === null || Array.isArray(value)
        ? value
        : Object.fromEntries(
            Object.entries(value)
              .reverse()
              .map(([name, member]) => [name, turned(member)]),
          );
    kept.set(uploadId, JSON.stringify(turned(good)));
    expect(await outcome(part(make(), uploadId, 2))).toBe("accepted");
  });

  test("states of other uploads and headers of finished objects are not gone on from", async () => {
    const a = make();
    const [uploadId, another] = [await create(a), await create(a)];
    await part(a, uploadId, 1);
    await part(a, another, 1, other);
    const [good, foreign] = [stateOf(uploadId), stateOf(another)];
    const spliced = [
      foreign,
      { ...foreign, uploadId },
      { ...good, ledger: foreign.ledger },
      { ...good, object: foreign.object },
      { ...foreign, uploadId, ledger: good.ledger },
    ];
    await a.send(new PutObjectCommand({ ...target, Body: "finished" }));
    const { body = Buffer.alloc(0), headers = {} } = server.buckets.get(target.Bucket)?.get(target.Key) ?? {};
    const metadata = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name.replace("x-amz-meta-", ""), String(value)]),
    );
    const headerLength = Number(metadata["frameseal-header-length"] ?? 0);
    const object = {
      header: Buffer.from(body.subarray(0, headerLength)).toString("base64"),
      envelope: metadata,
      partials: "",
    };
    spliced.push({ ...good, object }, { ...good, object, ledger: { parts: [] } });
    for (const state of spliced) {
      kept.set(uploadId, JSON.stringify(state));
      expect(await outcome(part(make(), uploadId, 2))).not.toBe("accepted");
      const exported = { ...state, exported: true };
      expect(await outcome(importMultipartUpload(aloneOf({ format }), exported))).not.toBe("accepted");
    }
    const sent = server.calls.filter(({ query }) => query.get("uploadId") === uploadId);
    expect(sent.some(({ query }) => query.get("partNumber") === "2")).toBe(false);
  });

  test("a store that returns to an older state is found out by who has seen a newer one", async () => {
    const a = make();
    const uploadId = await create(a);
    const old = kept.get(uploadId) ?? "";
    await part(a, uploadId, 1);
    kept.set(uploadId, old);
    expect(await outcome(part(a, uploadId, 2))).toBe("POLICY");
    expect(await outcome(part(make(), uploadId, 2))).toBe("POLICY"); // S3 has part 1
  });

  test("what may be read may not be gone on with where it may not be written", async () => {
    const uploadId = await create(make());
    const commitmentPolicy = "FORBID_ENCRYPT_ALLOW_DECRYPT";
    const reader = clientOf({ format: format === "framed" ? "framed" : "s3ec-v2", commitmentPolicy });
    expect(await outcome(part(reader, uploadId, 1))).toBe("POLICY");
    const weak = clientOf({ format: format === "framed" ? "framed" : "s3ec-v2", commitmentPolicy });
    const weakId = await create(weak);
    for (const one of ["REQUIRE_ENCRYPT_ALLOW_DECRYPT", "REQUIRE_ENCRYPT_REQUIRE_DECRYPT"] as const)
      expect(await outcome(part(clientOf({ format, commitmentPolicy: one }), weakId, 1))).toBe("POLICY");
    expect(await outcome(part(weak, weakId, 1))).toBe("accepted");
    kept.set(uploadId, JSON.stringify({ ...stateOf(uploadId), version: 1 }));
    expect(await outcome(part(make(), uploadId, 1))).toMatch(/"state" expected/);
  });
});
