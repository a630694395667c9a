// Listings of an encrypting client: the sizes of the plaintexts, by few questions where the objects of a page were stored
// alike, by one for each where they were not.
import { randomBytes } from "node:crypto";
import {
  CreateBucketCommand,
  ListObjectsCommand,
  type ListObjectsCommandInput,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutObjectCommand,
  paginateListObjectsV2,
  type S3Client,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { type Keyring, MultiKeyring, RawAesKeyring } from "../../../src/index.ts";
import { KmsKeyring } from "../../../src/kms.ts";
import { type EncryptS3ClientOptions, encryptS3Client } from "../../../src/s3.ts";
import { FakeKms } from "../../support/fake-kms.ts";
import { outcomeOf } from "../../support/s3-outcome.ts";
import { type S3Fault, S3Server } from "../../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const data = randomBytes(200_000);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
let Bucket = "";
let server: S3Server;
let kms: FakeKms;
let plain: S3Client;
beforeAll(async () => {
  server = await S3Server.start();
  kms = await FakeKms.start();
  plain = server.client();
});
afterAll(async () => {
  await kms[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});
let buckets = 0;
beforeEach(async () => {
  Bucket = `bucket-${++buckets}`;
  await plain.send(new CreateBucketCommand({ Bucket }));
  server.fault = () => undefined;
});

const clientFor = (options: Partial<EncryptS3ClientOptions> = {}): S3Client =>
  encryptS3Client(plain, { keyring, ...options });
const put = (client: S3Client, Key: string, Body: Buffer | string) =>
  client.send(new PutObjectCommand({ Bucket, Key, Body }));

type Input = Partial<ListObjectsCommandInput>;
type Listed = { readonly Key?: string | undefined; readonly Size?: number | undefined };
const listings: Record<string, (client: S3Client, input: Input) => Promise<readonly Listed[]>> = {
  ListObjects: async (client, input) =>
    (await client.send(new ListObjectsCommand({ Bucket, ...input }))).Contents ?? [],
  ListObjectsV2: async (client, input) =>
    (await client.send(new ListObjectsV2Command({ Bucket, ...input }))).Contents ?? [],
  ListObjectVersions: async (client, input) =>
    (await client.send(new ListObjectVersionsCommand({ Bucket, ...input }))).Versions ?? [],
};
const list = async (client: S3Client, input: Input = {}): Promise<Record<string, number | undefined>> =>
  Object.fromEntries(
    ((await listings.ListObjectsV2?.(client, input)) ?? []).map(({ Key = "", Size }) => [Key, Size]),
  );
/** The requests for objects that a listing made. */
async function questionsOf(work: () => Promise<unknown>): Promise<string[]> {
  const before = server.calls.length;
  await work();
  return server.calls
    .slice(before)
    .filter(({ key }) => key !== "")
    .map(({ method, key }) => `${method} ${key}`);
}

/** One question fails, and is asked again by the SDK. */
function once(fault: S3Fault): S3Server["fault"] {
  let failed = false;
  return ({ key, method }) => {
    if (failed || key === "" || method !== "HEAD") return undefined;
    failed = true;
    return fault;
  };
}
/** Stores objects of many lengths under names of many kinds. */
async function fill(client: S3Client, count: number, folder = ""): Promise<Record<string, number>> {
  const sizes: Record<string, number> = {};
  const lengths = [0, 1, 16, 65_535, 65_536, 65_537, 131_072, 200_000];
  const names = ["a", "with space", "plus+and%", "ä/ö", "日本", "&<>'\"", "x".repeat(300), "😀"];
  for (let number = 0; number < count; number++) {
    const Key = `${folder}${names[number % names.length]}/${number}`;
    sizes[Key] = lengths[(number * 3) % lengths.length] ?? 0;
    await put(client, Key, data.subarray(0, sizes[Key]));
  }
  return sizes;
}

const keyrings: Record<string, () => Keyring> = {
  "raw AES": () => keyring,
  KMS: () => new KmsKeyring({ generatorKeyId: kms.createKey(), client: kms.client() }),
  several: () =>
    new MultiKeyring({
      generator: keyring,
      children: [new RawAesKeyring({ keyNamespace: "other", keyName: "k2", wrappingKey: randomBytes(32) })],
    }),
};
const writers: Record<string, Partial<EncryptS3ClientOptions>> = {
  default: {},
  "bound to the prefix": { bind: "prefix" },
  "not bound": { bind: "none" },
  "small frames and a context": { frameLength: 1024, encryptionContext: { team: "α" } },
  "s3ec-v3": { format: "s3ec-v3" },
};

describe("sizes of the plaintexts", () => {
  test.each(Object.entries(writers))(
    "%s: by all three commands, for every length and kind of key",
    async (_, options) => {
      const sizes = await fill(clientFor(options), 24);
      for (const [name, command] of Object.entries(listings))
        for (const input of [{}, { EncodingType: "url" as const }]) {
          const listed = await command(clientFor(options), input);
          const decode = (key = ""): string =>
            input.EncodingType === undefined ? key : decodeURIComponent(key.replaceAll("+", " "));
          const got = Object.fromEntries(listed.map(({ Key, Size }) => [decode(Key), Size]));
          expect(got, name).toEqual(sizes);
        }
    },
  );

  test.each(Object.entries(keyrings))("%s: at most 32 questions a page, and no keys", async (_, make) => {
    const own = make();
    const sizes = await fill(clientFor({ keyring: own }), 60);
    const before = kms.calls.length;
    const reader = clientFor({ keyring: own });
    let listed: Record<string, number | undefined> = {};
    const questions = await questionsOf(async () => {
      listed = await list(reader);
    });
    expect(listed).toEqual(sizes);
    expect(questions.filter((line) => line.startsWith("HEAD")).length).toBe(32);
    expect(questions.filter((line) => line.startsWith("GET")).length).toBe(1); // the header of one
    expect(await questionsOf(() => list(reader))).toEqual([]);
    expect(kms.calls.length).toBe(before);
  });

  test("a second listing asks only about objects that it has not asked about", async () => {
    const client = clientFor();
    const sizes = await fill(client, 5);
    expect((await questionsOf(() => list(client))).length).toBe(5);
    expect(await questionsOf(() => list(client))).toEqual([]);
    await put(client, "new", data);
    expect(await questionsOf(() => list(client))).toEqual(["HEAD new"]);
    await put(client, "new", data.subarray(0, 9));
    expect(await list(client)).toEqual({ ...sizes, new: 9 });
  });

  test("pages, prefixes and delimiters stay what they are", async () => {
    const client = clientFor();
    await fill(client, 10, "in/");
    await put(client, "out", data);
    const shape = (output: object): object =>
      JSON.parse(JSON.stringify({ ...output, $metadata: 0, Contents: 0 }));
    for (const input of [
      { Delimiter: "/" },
      { Prefix: "in/", Delimiter: "/" },
      { MaxKeys: 3 },
      { Prefix: "in/", MaxKeys: 4, StartAfter: "in/a/0" },
      { Prefix: "none" },
      { MaxKeys: 0 },
    ]) {
      const command = () => new ListObjectsV2Command({ Bucket, ...input });
      expect(shape(await client.send(command()))).toEqual(shape(await plain.send(command())));
    }
    const keys: string[] = [];
    let ContinuationToken: string | undefined;
    do {
      const page = await client.send(new ListObjectsV2Command({ Bucket, MaxKeys: 3, ContinuationToken }));
      keys.push(...(page.Contents ?? []).map(({ Key }) => Key ?? ""));
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken !== undefined);
    expect(keys).toEqual(Object.keys(await list(plain)));
  });

  test("all but the size of an entry is that of the stored object", async () => {
    const client = clientFor();
    await put(client, "entry", data);
    const [stored] = (await plain.send(new ListObjectsV2Command({ Bucket }))).Contents ?? [];
    const [told] = (await client.send(new ListObjectsV2Command({ Bucket }))).Contents ?? [];
    expect(told).toEqual({ ...stored, Size: data.length });
  });
});

describe("objects that were not stored alike", () => {
  async function mixed(): Promise<Record<string, number>> {
    const sizes: Record<string, number> = {};
    const kinds = [
      clientFor(),
      clientFor({ frameLength: 4096 }),
      clientFor({ bind: "none", encryptionContext: { a: "b" } }),
      clientFor({ format: "s3ec-v3" }),
      plain,
    ];
    for (let number = 0; number < 50; number++) {
      const Key = `${String(number).padStart(3, "0")}`;
      sizes[Key] = number * 1000;
      await put(kinds[number % kinds.length] ?? plain, Key, data.subarray(0, number * 1000));
    }
    return sizes;
  }

  test("each is asked about: encrypted ones have their plaintext's size, others their own", async () => {
    const sizes = await mixed();
    expect(await list(clientFor())).toEqual(sizes);
    expect(await list(clientFor({ listSizes: "head" }))).toEqual(sizes);
    expect(await list(clientFor({ listSizes: "stored" }))).toEqual(await list(plain));
  });

  test("`head` asks about every object, once", async () => {
    await fill(clientFor(), 20);
    const client = clientFor({ listSizes: "head" });
    const heads = async (): Promise<number> =>
      (await questionsOf(() => list(client))).filter((line) => line.startsWith("HEAD")).length;
    expect(await heads()).toBe(20);
    expect(await heads()).toBe(0);
  });

  test("`stored` asks nothing", async () => {
    await fill(clientFor(), 3);
    expect(await questionsOf(() => list(clientFor({ listSizes: "stored" })))).toEqual([]);
  });

  test("one that arithmetic does not fit is asked about", async () => {
    const client = clientFor();
    const sizes = await fill(client, 60);
    await put(plain, "b", "short"); // no message is so short
    expect(await list(clientFor())).toEqual({ ...sizes, b: 5 });
  });

  test("folders and empty objects keep the size 0", async () => {
    await put(plain, "folder/", "");
    await put(clientFor(), "folder/object", data);
    expect(await list(clientFor())).toEqual({ "folder/": 0, "folder/object": data.length });
  });
});

describe("instruction files", () => {
  const client = (more: Partial<EncryptS3ClientOptions> = {}): S3Client =>
    clientFor({ format: "s3ec-v3", instructionFiles: "write", ...more });
  beforeEach(async () => {
    for (const key of ["a", "b", "c"]) await put(client(), key, data);
    await put(plain, ".instruction", "of nothing");
  });
  const objects = { ".instruction": 10, a: data.length, b: data.length, c: data.length };
  const files = ["a.instruction", "b.instruction", "c.instruction"];

  test("are left out with the objects that they belong to, page by page", async () => {
    expect(await list(client())).toEqual(objects);
    expect(await list(client({ instructionFiles: "read" }))).toEqual(objects);
    const { KeyCount, Contents } = await client().send(new ListObjectsV2Command({ Bucket }));
    expect([KeyCount, Contents?.length]).toEqual([4, 4]);
    for (const MaxKeys of [1, 2, 3]) {
      const keys: string[] = [];
      for await (const page of paginateListObjectsV2({ client: client(), pageSize: MaxKeys }, { Bucket }))
        keys.push(...(page.Contents ?? []).map(({ Key = "" }) => Key));
      expect(keys).toEqual(Object.keys(objects));
      const first: string[] = [];
      for (let Marker: string | undefined, more = true; more; ) {
        const page = await client().send(new ListObjectsCommand({ Bucket, MaxKeys, Marker }));
        first.push(...(page.Contents ?? []).map(({ Key = "" }) => Key));
        Marker = page.NextMarker ?? page.Contents?.at(-1)?.Key;
        more = page.IsTruncated === true;
      }
      expect(first).toEqual(Object.keys(objects));
    }
  });

  test("are shown as they are stored where they belong to nothing, and among versions", async () => {
    for (const other of [
      client({ instructionFiles: "ignore" }),
      client({ listSizes: "stored" }),
      clientFor(),
    ])
      expect(Object.keys(await list(other))).toEqual(expect.arrayContaining(files));
    const versions = (await listings.ListObjectVersions?.(client(), {})) ?? [];
    expect(versions.map(({ Key }) => Key)).toEqual(expect.arrayContaining(files));
    const { body } = server.object(Bucket, "a.instruction");
    expect(versions.find(({ Key }) => Key === "a.instruction")?.Size).toBe(body.length);
  });

  test("keys of another suffix are left out where that was chosen", async () => {
    const options = { instructionFileSuffix: ".key file" };
    await put(client(options), "d", data);
    for (const EncodingType of [undefined, "url" as const])
      expect(
        Object.keys(await list(client(options), { EncodingType })).filter((key) => key.startsWith("d")),
      ).toEqual(["d"]);
  });
});

describe("what cannot be found out does not fail a listing", () => {
  const faults: Record<string, number> = { AccessDenied: 403, NoSuchKey: 404, InvalidRequest: 400 };
  test.each(Object.entries(faults))(
    "%s for all: the stored sizes stay, after one sample",
    async (code, status) => {
      await fill(clientFor(), 50);
      server.fault = ({ key }) => (key === "" ? undefined : { kind: "error", status, code });
      const client = clientFor();
      let listed: Record<string, number | undefined> = {};
      const questions = await questionsOf(async () => {
        listed = await list(client);
      });
      expect(listed).toEqual(await list(plain));
      expect(questions.length).toBeLessThanOrEqual(32);
    },
  );

  test("for one: its stored size stays, the others are translated", async () => {
    const sizes = await fill(clientFor(), 10);
    const [odd = ""] = Object.keys(sizes);
    server.fault = ({ key }) =>
      key === odd ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
    expect(await list(clientFor())).toEqual({ ...sizes, [odd]: server.object(Bucket, odd).body.length });
  });

  test("metadata that contradicts itself, and envelopes that are refused", async () => {
    const client = clientFor();
    await put(client, "good", data);
    for (const Metadata of [
      { "frameseal-format": "other" },
      { "x-amz-key-v2": "AA==" },
      { "x-amz-c": "115" },
    ])
      await plain.send(
        new PutObjectCommand({ Bucket, Key: Object.keys(Metadata)[0] ?? "", Body: "odd", Metadata }),
      );
    expect(await list(client)).toEqual({
      good: data.length,
      "frameseal-format": 3,
      "x-amz-key-v2": 3,
      "x-amz-c": 3,
    });
  });

  test.each([
    ["a connection that breaks", { kind: "reset" }],
    ["a service that is down", { kind: "error", status: 503, code: "SlowDown" }],
  ] as const)("%s is an error, since stored sizes would be taken for changes", async (_, fault) => {
    await fill(clientFor(), 40);
    server.fault = ({ key, method }) => (key !== "" && method === "HEAD" ? fault : undefined);
    const hasty = encryptS3Client(server.client({ maxAttempts: 1 }), { keyring });
    let outcome = "";
    const questions = await questionsOf(async () => {
      outcome = await outcomeOf(hasty.send(new ListObjectsV2Command({ Bucket })));
    });
    expect(outcome).not.toBe("accepted");
    expect(questions.length).toBeLessThanOrEqual(32);
    server.fault = once(fault);
    expect(Object.values(await list(clientFor()))).toEqual(Object.values(await list(clientFor())));
  });

  test("an abort ends it", async () => {
    await fill(clientFor(), 3);
    const stop = new AbortController();
    server.fault = ({ key }) => {
      if (key !== "") stop.abort();
      return undefined;
    };
    const listing = clientFor().send(new ListObjectsV2Command({ Bucket }), { abortSignal: stop.signal });
    expect(await outcomeOf(listing)).toBe("ABORTED");
  });

  test("errors of the listing itself stay the caller's", async () => {
    const listing = clientFor().send(new ListObjectsV2Command({ Bucket: "missing" }));
    expect(await outcomeOf(listing)).toBe("NoSuchBucket");
  });
});

test("values of listSizes that are not known are refused", () => {
  for (const listSizes of ["HEAD", "", true])
    expect(() => clientFor({ listSizes: listSizes as never })).toThrow("listSizes");
});
