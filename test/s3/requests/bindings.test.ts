// What an object is bound to: every binding written, read by every binding, at every place it may be moved to; and that
// no copy, rewrap, upload or altered header is bound to less.
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import { FramedFormat } from "../../../src/s3/framed/framed-format.ts";
import {
  decryptObject,
  deriveSseCKey,
  type EncryptedObject,
  type EncryptS3ClientOptions,
  encryptObject,
  encryptS3Client,
  type KeyBinding,
  rewrapObject,
} from "../../../src/s3.ts";
import { outcomeOf, readObject } from "../../support/s3-outcome.ts";
import { S3Server } from "../../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const other = new RawAesKeyring({ keyNamespace: "n", keyName: "k2", wrappingKey: randomBytes(32) });
const body = randomBytes(1000);

let server: S3Server;
let plain: S3Client;
beforeAll(async () => {
  server = await S3Server.start();
  plain = server.client();
  for (const Bucket of ["one", "two", "a-longer-name"]) await plain.send(new CreateBucketCommand({ Bucket }));
});
afterAll(() => server[Symbol.asyncDispose]());

type Bind = KeyBinding | "default";
const bindings: readonly Bind[] = ["default", "key", "bucket", "prefix", "none"];
const bound = (bind: Bind): { bind?: KeyBinding } => (bind === "default" ? {} : { bind });
const clientFor = (bind: Bind, more: Partial<EncryptS3ClientOptions> = {}): S3Client =>
  encryptS3Client(plain, { keyring, partSize: 5 * 2 ** 20, ...bound(bind), ...more });

const home = { bucket: "one", key: "a/object" };
/** Where an object may be found. A replicated or restored one is in another bucket. */
const places = {
  home,
  sibling: { bucket: "one", key: "a/other" },
  elsewhere: { bucket: "one", key: "b/object" },
  root: { bucket: "one", key: "object" },
  restored: { bucket: "two", key: "a/object" },
  "restored sibling": { bucket: "two", key: "a/other" },
} as const;
type Place = keyof typeof places;
const everywhere = Object.keys(places) as Place[];
const [nowhere, sameKey] = [[], ["home", "restored"]] as const;
const samePrefix = ["home", "sibling", "restored", "restored sibling"] as const;

type Row = Readonly<Record<Bind, readonly Place[]>>;
/** Where the object of each writer is opened by each reader. */
const opened: Readonly<Record<Bind | "s3ec-v3", Row>> = {
  default: { default: sameKey, key: sameKey, bucket: nowhere, prefix: nowhere, none: everywhere },
  key: { default: sameKey, key: sameKey, bucket: nowhere, prefix: nowhere, none: everywhere },
  bucket: { default: ["home"], key: sameKey, bucket: ["home"], prefix: nowhere, none: everywhere },
  prefix: { default: nowhere, key: nowhere, bucket: nowhere, prefix: samePrefix, none: everywhere },
  none: { default: nowhere, key: nowhere, bucket: nowhere, prefix: nowhere, none: everywhere },
  "s3ec-v3": { default: everywhere, key: nowhere, bucket: nowhere, prefix: nowhere, none: everywhere },
};
const cells = Object.entries(opened).flatMap(([written, row]) =>
  bindings.map((read) => [written as Bind | "s3ec-v3", read, row[read]] as const),
);

type Stored = Pick<EncryptedObject<Uint8Array>, "body" | "metadata" | "contentLength">;
async function seal(written: Bind | "s3ec-v3", location = home): Promise<Stored> {
  const options = written === "s3ec-v3" ? { format: written } : bound(written);
  const {
    body: stored,
    metadata,
    contentLength,
  } = await encryptObject(location, body, {
    keyring,
    ...options,
  });
  return { body: stored, metadata, contentLength };
}

describe("an object", () => {
  test.each(cells)("written with %s and read with %s", async (written, read, expected) => {
    const { body: stored, metadata, contentLength } = await seal(written);
    const client = clientFor(read, { enableLegacyUnauthenticatedModes: true });
    const outcomes: Record<string, string[]> = {};
    const first = { Bucket: home.bucket, Key: home.key, Body: stored, Metadata: { ...metadata } };
    await plain.send(new PutObjectCommand(first)); // as it is
    const options = { keyring, ...bound(read) };
    for (const place of everywhere) {
      const { bucket: Bucket, key: Key } = places[place];
      server.buckets.get(Bucket)?.set(Key, server.object(home.bucket, home.key));
      const stream = { body: Readable.from([Buffer.from(stored)]), metadata, contentLength };
      outcomes[place] = await Promise.all(
        [
          decryptObject(places[place], { body: stored, metadata }, options),
          decryptObject(places[place], stream, options).then((one) => one.body.toArray()),
          readObject(client, { Bucket, Key }),
          readObject(client, { Bucket, Key, Range: "bytes=3-9" }),
        ].map(outcomeOf),
      );
    }
    const wanted = Object.fromEntries(
      everywhere.map((place) => {
        const one = expected.includes(place) ? "accepted" : "CONTEXT_MISMATCH";
        return [place, [one, one, one, one]];
      }),
    );
    expect(outcomes).toEqual(wanted);
  });
});

/** Replaces text of a stored object by other text, and sets the lengths right. */
function altered(stored: Uint8Array, from: string, to: string): Buffer {
  const [old, bytes] = [Buffer.from(from, "latin1"), Buffer.from(stored)];
  const at = bytes.indexOf(old);
  expect(at).toBeGreaterThan(0);
  return Buffer.concat([bytes.subarray(0, at), Buffer.from(to, "latin1"), bytes.subarray(at + old.length)]);
}
const pair = (name: string, value: string): string =>
  [name, value].map((text) => `\0${String.fromCharCode(text.length)}${text}`).join("");
const contextOf = (...pairs: readonly string[]): string => {
  const text = `\0${String.fromCharCode(pairs.length)}${pairs.join("")}`;
  return `\0${String.fromCharCode(text.length)}${text}`;
};

describe("an altered header opens nowhere", () => {
  const keyPair = pair("frameseal-key", home.key);
  const written = contextOf(pair("frameseal-bucket", "one"), keyPair);
  const changes = {
    "another bucket": contextOf(pair("frameseal-bucket", "two"), keyPair),
    "no bucket": contextOf(keyPair),
    "a pair of another name": contextOf(pair("frameseal-bucket2", "one"), keyPair),
    "a bucket in capitals": contextOf(pair("frameseal-Bucket", "one"), keyPair),
    "a further pair": contextOf(pair("frameseal-bucket", "one"), keyPair, pair("frameseal-prefix", "a/")),
    "a bucket without the prefix of its name": contextOf(keyPair, pair("the-bucket", "one")),
    "an empty bucket": contextOf(pair("frameseal-bucket", ""), keyPair),
    nothing: "\0\0",
  };
  test.each(Object.entries(changes))("%s", async (_, change) => {
    const { body: stored, metadata } = await seal("bucket");
    const changed = altered(stored, written, change);
    for (const location of [home, places.restored])
      for (const read of bindings) {
        const options = { keyring, ...bound(read) };
        const outcome = await outcomeOf(decryptObject(location, { body: changed, metadata }, options));
        expect(["CONTEXT_MISMATCH", "AUTHENTICATION_FAILED", "NO_DATA_KEY"]).toContain(outcome);
      }
  });
});

test("a pair that this version does not know is not passed over, unless a binding is named", async () => {
  const stored = await seal("none");
  const { encrypt } = await import("../../../src/index.ts");
  const encryptionContext = { "frameseal-key": home.key, "frameseal-region": "\u001b[31m" };
  const future = { ...stored, body: await encrypt(body, { keyring, encryptionContext }) };
  const open = (options: object) => decryptObject(home, future, { keyring, ...options });
  await expect(open({})).rejects.toThrow(/bound by "frameseal-region", which is not known here/);
  expect(await outcomeOf(open({ bind: "key" }))).toBe("accepted");
});

test("callers have no pairs of such names, stored or not", async () => {
  const options = [
    { encryptionContext: { "frameseal-bucket": "two" } },
    { requiredEncryptionContextKeys: ["frameseal-key"] },
    { bind: "bucket", requiredEncryptionContextKeys: ["frameseal-bucket"] },
  ] as const;
  for (const more of options) {
    await expect(encryptObject(home, body, { keyring, ...more })).rejects.toThrow(
      "expected no key that starts with frameseal-",
    );
    expect(() => clientFor("default", more)).toThrow("expected no key that starts with frameseal-");
  }
  expect(() => clientFor("buckets" as KeyBinding)).toThrow(
    '"bind" expected one of key, bucket, prefix, none',
  );
});

describe("copies", () => {
  const put = async (written: Bind): Promise<void> => {
    await clientFor(written).send(new PutObjectCommand({ Bucket: "one", Key: home.key, Body: body }));
  };
  const copy = (client: S3Client, { bucket, key }: { bucket: string; key: string }): Promise<string> =>
    outcomeOf(
      client.send(new CopyObjectCommand({ Bucket: bucket, Key: key, CopySource: `one/${home.key}` })),
    );
  const targets: readonly Place[] = ["sibling", "elsewhere", "restored"];
  test.each([
    ["key", ["POLICY", "POLICY", "accepted"]],
    ["bucket", ["POLICY", "POLICY", "POLICY"]],
    ["prefix", ["accepted", "POLICY", "accepted"]],
    ["none", ["accepted", "accepted", "accepted"]],
  ] as const)("by S3 of what is bound to the %s", async (written, expected) => {
    await put(written);
    for (const by of bindings) {
      const outcomes: string[] = [];
      for (const place of targets) {
        outcomes.push(await copy(clientFor(by), places[place]));
      }
      expect(outcomes, by).toEqual(expected); // whoever asks
    }
  });

  test("that are encrypted again are bound to no less than their source, unless told so", async () => {
    for (const [by, reads] of [
      ["default", { bucket: "accepted", key: "accepted", home: "CONTEXT_MISMATCH" }],
      ["bucket", { bucket: "accepted", key: "accepted", home: "CONTEXT_MISMATCH" }],
      ["key", { bucket: "CONTEXT_MISMATCH", key: "accepted", home: "accepted" }],
    ] as const) {
      await put("bucket");
      expect(await copy(clientFor(by, { boundCopy: "reencrypt" }), places.restored)).toBe("accepted");
      const read = (bind: Bind, Bucket: string) =>
        outcomeOf(readObject(clientFor(bind), { Bucket, Key: home.key }));
      expect(await read("bucket", "two")).toBe(reads.bucket);
      expect(await read("key", "two")).toBe(reads.key);
      server.buckets.get("one")?.set(home.key, server.object("two", home.key));
      expect(await read("default", "one"), by).toBe(reads.home);
    }
  });

  test("that are encrypted again keep the context and the frames of their source", async () => {
    const encryptionContext = { backup: "daily", tenant: "a" };
    const source = { encryptionContext, requiredEncryptionContextKeys: ["tenant"], frameLength: 4096 };
    const input = { Bucket: "one", Key: "kept/1", Body: body };
    await clientFor("default", source).send(new PutObjectCommand(input));
    const by = clientFor("default", { boundCopy: "reencrypt", encryptionContext: { tenant: "a" } });
    const target = { Bucket: "two", Key: "kept/2" };
    await by.send(new CopyObjectCommand({ ...target, CopySource: "one/kept/1" }));
    const read = (context: Readonly<Record<string, string>>) =>
      outcomeOf(readObject(clientFor("default", { encryptionContext: context }), target));
    expect(await read(encryptionContext)).toBe("accepted");
    expect(await read({ tenant: "a" })).toBe("accepted");
    expect(await read({ backup: "weekly", tenant: "a" })).toBe("CONTEXT_MISMATCH");
    expect(await read({ backup: "daily" })).not.toBe("accepted"); // the tenant is not stored
    const stored = server.object("two", "kept/2");
    expect(stored.headers["x-amz-meta-frameseal-frame-length"]).toBe("4096");
    expect(stored.body.includes("tenant")).toBe(false);
  });

  test("of an object that stands in another bucket than its own are refused", async () => {
    await put("bucket");
    server.buckets.get("two")?.set(home.key, server.object("one", home.key));
    const client = clientFor("default", { boundCopy: "reencrypt" });
    const input = { Bucket: "two", Key: "x", CopySource: `two/${home.key}` };
    expect(await outcomeOf(client.send(new CopyObjectCommand(input)))).toBe("CONTEXT_MISMATCH");
  });
});

test("a rewrap keeps the bucket, drops it only when told so, and opens no swapped object", async () => {
  const location = { bucket: "one", key: "rewrapped" };
  const put = () =>
    clientFor("bucket").send(new PutObjectCommand({ Bucket: "one", Key: location.key, Body: body }));
  const reads = (bind: Bind) =>
    outcomeOf(
      readObject(encryptS3Client(plain, { keyring: other, ...bound(bind) }), {
        Bucket: "one",
        Key: location.key,
      }),
    );
  for (const [bind, expected] of [
    ["default", "accepted"],
    ["bucket", "accepted"],
    ["key", "CONTEXT_MISMATCH"],
  ] as const) {
    await put();
    await rewrapObject(plain, location, { from: keyring, to: other, ...bound(bind) });
    expect([await reads("bucket"), await reads("default")], bind).toEqual([expected, "accepted"]);
  }
  await put();
  server.buckets.get("two")?.set(location.key, server.object("one", location.key));
  const swapped = { ...location, bucket: "two" };
  expect(await outcomeOf(rewrapObject(plain, swapped, { from: keyring, to: other }))).toBe(
    "CONTEXT_MISMATCH",
  );
});

test("a rewrap of a single-message object refuses a binding that it cannot have", async () => {
  const location = { bucket: "one", key: "single" };
  const put = clientFor("default", { format: "s3ec-v3" });
  await put.send(new PutObjectCommand({ Bucket: "one", Key: location.key, Body: body }));
  const rewrap = (bind: Bind) =>
    outcomeOf(rewrapObject(plain, location, { from: keyring, to: keyring, ...bound(bind) }));
  expect([await rewrap("bucket"), await rewrap("none"), await rewrap("default")]).toEqual([
    "CONTEXT_MISMATCH",
    "accepted",
    "accepted",
  ]);
});

describe("uploads", () => {
  test.each(bindings)("in parts are bound to %s as others are", async (written) => {
    const client = clientFor(written);
    const target = { Bucket: "one", Key: home.key };
    const { UploadId } = await client.send(new CreateMultipartUploadCommand(target));
    const part = { ...target, UploadId, PartNumber: 1, Body: body };
    const elsewhere = new UploadPartCommand({ ...part, Bucket: "two" });
    expect(await outcomeOf(client.send(elsewhere))).toBe("POLICY");
    const { ETag } = await client.send(new UploadPartCommand(part));
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
    await client.send(new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload }));
    const stored = { body: server.object("one", home.key).body, metadata: {} };
    for (const read of bindings)
      for (const place of everywhere)
        expect(
          await outcomeOf(decryptObject(places[place], stored, { keyring, ...bound(read) })),
          `${read} ${place}`,
        ).toBe(opened[written][read].includes(place) ? "accepted" : "CONTEXT_MISMATCH");
  });

  test("go on with no state of an object of another name", async () => {
    for (const written of bindings)
      for (const read of bindings) {
        const sealer = await new FramedFormat({ keyring, ...bound(written) }).startObject({ location: home });
        const state = sealer.exportState();
        sealer.dispose();
        const resume = (location: { bucket: string; key: string }) =>
          outcomeOf(new FramedFormat({ keyring, ...bound(read) }).resumeObject(state, { location }));
        const fits = opened[written][read].includes("home");
        expect((await resume(home)) === "accepted", `${written} ${read}`).toBe(fits);
        for (const place of everywhere) {
          const stays = opened[written][written].includes(place);
          if (!stays) expect(await resume(places[place]), `${written} ${read} ${place}`).not.toBe("accepted");
        }
      }
  });
});

test.each(["one", "a-longer-name"])("sizes are told for every binding in bucket %s", async (Bucket) => {
  const sizes: Record<string, number> = {};
  for (const written of bindings)
    for (let number = 0; number < 4; number++) {
      const Key = `sizes/${"x".repeat(number)}/${written}`;
      sizes[Key] = number * 77;
      await clientFor(written).send(
        new PutObjectCommand({ Bucket, Key, Body: body.subarray(0, number * 77) }),
      );
    }
  const readers = bindings.map((bind) => clientFor(bind));
  for (const client of readers) {
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket, Prefix: "sizes/" }));
    expect(Object.fromEntries(Contents.map(({ Key, Size }) => [Key, Size]))).toEqual(sizes);
    for (const [Key, size] of Object.entries(sizes).slice(0, 5))
      expect((await client.send(new HeadObjectCommand({ Bucket, Key }))).ContentLength).toBe(size);
  }
});

describe("what leads to a bucket is not its name", () => {
  const leads = [
    "arn:aws:s3:eu-west-1:111122223333:accesspoint/reports",
    "arn:aws:s3::111122223333:accesspoint/mfzwi23gnjvgw.mrap",
    "arn:aws:s3-object-lambda:eu-west-1:111122223333:accesspoint/lambda",
    "arn:aws-cn:s3-outposts:cn-north-1:111122223333:outpost/op-0/accesspoint/ap",
    "reports-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias",
    "data-ext-s3alias",
    "lambda-1a4n8yjrb3kda96f67zwrwiiuse1a--ol-s3",
    "bucket-o0123--op-s3",
    "point--use1-az5--xa-s3",
    "mfzwi23gnjvgw.mrap",
    "https://files.example.com",
    "tenant:one",
    ":one",
    "one/folder",
  ];
  test.each(leads)("%s", async (bucket) => {
    const lead = { bucket, key: home.key };
    const calls = vi.spyOn(keyring, "generateDataKey");
    expect(await outcomeOf(encryptObject(lead, body, { keyring, bind: "bucket" }))).toBe("POLICY");
    expect(calls).not.toHaveBeenCalled();
    calls.mockRestore();
    const stored = await seal("bucket");
    const open = (bind: Bind) => outcomeOf(decryptObject(lead, stored, { keyring, ...bound(bind) }));
    expect([await open("default"), await open("bucket"), await open("key"), await open("none")]).toEqual([
      "POLICY",
      "POLICY",
      "accepted",
      "accepted",
    ]);
    const byKey = await seal("default", lead);
    expect(await outcomeOf(decryptObject(home, byKey, { keyring }))).toBe("accepted");
    const derive = () =>
      deriveSseCKey({ masterKey: randomBytes(32), masterKeyVersion: 1, bucket, key: home.key });
    expect(derive).toThrow('"bucket" expected the name of a bucket');
  });

  test.each(["one", "s3alias", "my.bucket", "Old_Bucket", "express--use1-az4--x-s3", "mrap", "xs3alias"])(
    "%s is a name",
    async (bucket) => {
      const location = { bucket, key: home.key };
      const stored = await seal("bucket", location);
      expect(await outcomeOf(decryptObject(location, stored, { keyring }))).toBe("accepted");
    },
  );

  test("a client refuses it before anything is sent", async () => {
    const client = clientFor("bucket");
    const before = server.calls.length;
    const target = { Bucket: "reports-s3alias", Key: "x" };
    for (const command of [
      new PutObjectCommand({ ...target, Body: body }),
      new CreateMultipartUploadCommand(target),
    ])
      expect(await outcomeOf(client.send(command as never))).toBe("POLICY");
    expect(server.calls.length).toBe(before);
  });
});
