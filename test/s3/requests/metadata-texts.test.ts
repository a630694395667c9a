// Text that could change on its way through headers, servers and other readers: wherever it is put, it comes back as it
// was, or it is refused before anything is sent. And Content-Encoding, which speaks of the plaintext.
import { randomBytes } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import {
  CopyObjectCommand,
  CreateBucketCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import { KmsKeyring } from "../../../src/kms.ts";
import {
  decryptObject,
  type EncryptS3ClientOptions,
  encryptObject,
  encryptS3Client,
  rewrapObject,
} from "../../../src/s3.ts";
import { FakeKms } from "../../support/fake-kms.ts";
import { outcomeOf, readObject } from "../../support/s3-outcome.ts";
import { S3Server } from "../../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const Bucket = "bucket";
const body = Buffer.from("the plaintext");
const wrappingKey = randomBytes(32);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey });
let server: S3Server;
let kms: FakeKms;
let kmsKey: string;
let plain: S3Client;
beforeAll(async () => {
  server = await S3Server.start();
  kms = await FakeKms.start();
  kmsKey = kms.createKey();
  plain = server.client();
  await plain.send(new CreateBucketCommand({ Bucket }));
});
afterAll(async () => {
  await kms[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const clientFor = (options: Partial<EncryptS3ClientOptions> = {}): S3Client =>
  encryptS3Client(plain, { keyring, ...options });

/** What a server may do with a header: decode words (RFC 2047), and encode again what is not ASCII then; trim; fold. */
function throughServer(value: string): string {
  const decoded = value.replace(
    /=\?([A-Za-z0-9-]+)\?([BbQq])\?([^?]*)\?=/g,
    (_, _charset: string, encoding: string, content: string) =>
      /b/i.test(encoding)
        ? Buffer.from(content, "base64").toString("utf8")
        : Buffer.from(
            content
              .replaceAll("_", " ")
              .replace(/=([0-9A-Fa-f]{2})/g, (_word, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
            "latin1",
          ).toString("utf8"),
  );
  const folded = decoded.trim().replace(/\s+/g, " ");
  if (/^[\x20-\x7e]*$/.test(folded)) return folded;
  const twice = Buffer.from(Buffer.from(folded, "utf8").toString("latin1"), "utf8");
  return `=?UTF-8?B?${twice.toString("base64")}?=`;
}

const texts: Readonly<Record<string, string>> = {
  plain: "daily",
  empty: "",
  "an encoded word": "=?utf-8?q?hello?=",
  "an encoded word in Base64": "=?UTF-8?B?aGVsbG8=?=",
  "an encoded word of another script": "=?UTF-8?Q?=C3=9F?=",
  "an encoded word of another charset": "=?iso-8859-1?Q?=E4?=",
  "two words and text": "a =?utf-8?q?b?= =?utf-8?b?Yw==?= d",
  "half a word": "=?utf-8?q?",
  "equals and question marks": "a=?b?=c=?",
  "an escape": "\\u003d?utf-8?q?x?=",
  spaces: "  around and  within  ",
  tabs: "\ta\tb\t",
  "line ends": "a\r\nx-amz-meta-injected: 1\r\n\r\nb",
  NUL: "a\0b",
  "control characters": "\x01\x1b[31m\x7f\x85",
  quotes: '"\'\\\\"{}[]',
  commas: "a, b,c,,",
  percent: "%41%00%",
  Latin: "ÄÖß",
  "UTF-8 read as Latin-1": "Ã\x9f",
  scripts: "日本語 ελ עברית",
  emoji: "😀👩‍👩‍👧",
  "bidirectional characters": "\u202eabc\u2066",
  "a byte order mark": "\ufeffx",
  "line separators": "\u2028\u2029",
  "JSON in JSON": JSON.stringify({ a: '"=?utf-8?q?x?="' }),
  "base64 with padding": "AAECAw==",
  long: "x=? ".repeat(60),
};
const illFormed = ["\ud800", "a\udc00b"];

/** Ways to put a text into an object that only the same text opens. */
const places: Readonly<Record<string, (text: string) => EncryptS3ClientOptions>> = {
  "context of a framed object": (text) => ({ keyring, encryptionContext: { tenant: text } }),
  "name in the context of a framed object": (text) => ({ keyring, encryptionContext: { [`-${text}`]: "x" } }),
  "context of an s3ec-v3 object": (text) => ({
    keyring: new KmsKeyring({ generatorKeyId: kmsKey, client: kms.client() }),
    format: "s3ec-v3",
    encryptionContext: { tenant: text, [`-${text}`]: "x" },
  }),
  "context in an instruction file": (text) => ({
    keyring: new KmsKeyring({ generatorKeyId: kmsKey, client: kms.client() }),
    format: "s3ec-v3",
    instructionFiles: "write",
    encryptionContext: { tenant: text },
  }),
  "context of an s3ec-v2 object": (text) => ({
    keyring: new KmsKeyring({ generatorKeyId: kmsKey, client: kms.client() }),
    format: "s3ec-v2",
    commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT",
    encryptionContext: { tenant: text },
  }),
  "material description": (text) => ({
    keyring: new RawAesKeyring({
      keyNamespace: "n",
      keyName: "k",
      wrappingKey,
      materialDescription: { [`-${text}`]: text },
    }),
    format: "s3ec-v3",
  }),
  "name of a key": (text) => ({
    keyring: new RawAesKeyring({ keyNamespace: `n${text}`, keyName: `k${text}`, wrappingKey }),
  }),
};

describe.each(Object.entries(places))("%s", (_place, optionsFor) => {
  const Key = "placed";
  beforeEach(() => server.buckets.get(Bucket)?.clear());

  test.each(Object.entries(texts))(
    "%s: written so that nothing changes it, and read back",
    async (_name, text) => {
      const options = optionsFor(text);
      await encryptS3Client(plain, options).send(new PutObjectCommand({ Bucket, Key, Body: body }));
      const { headers } = server.object(Bucket, Key);
      for (const [name, value] of Object.entries(headers))
        if (name.startsWith("x-amz-meta-")) expect(throughServer(value), name).toBe(value);
      const reader = encryptS3Client(plain, optionsFor(text));
      expect((await readObject(reader, { Bucket, Key })).equals(body)).toBe(true);
      expect((await reader.send(new HeadObjectCommand({ Bucket, Key }))).ContentLength).toBe(body.length);
      // Any JSON parser reads what others read as JSON.
      const json = headers["x-amz-meta-x-amz-t"] ?? headers["x-amz-meta-x-amz-matdesc"];
      if (json !== undefined) expect(JSON.parse(json)).toMatchObject({ ...options.encryptionContext });
    },
  );

  test("what is no text is refused, or read back", async () => {
    for (const text of illFormed) {
      const work = async (): Promise<Buffer> => {
        const options = optionsFor(text);
        await encryptS3Client(plain, options).send(new PutObjectCommand({ Bucket, Key, Body: body }));
        return readObject(encryptS3Client(plain, optionsFor(text)), { Bucket, Key });
      };
      const outcome = await work().catch((error) => error);
      if (Buffer.isBuffer(outcome)) expect(outcome.equals(body)).toBe(true);
      else expect(outcome).toBeInstanceOf(TypeError);
    }
  });
});

test("JSON that others wrote is read as it is, or as S3 has encoded it", async () => {
  const text = "=?utf-8?q?hello?=";
  const options = places["context of an s3ec-v3 object"]?.("ß") as EncryptS3ClientOptions;
  const encryptionContext = { tenant: "ß" };
  await encryptS3Client(plain, { ...options, encryptionContext }).send(
    new PutObjectCommand({ Bucket, Key: "others", Body: body }),
  );
  const stored = server.object(Bucket, "others");
  const name = "x-amz-meta-x-amz-t";
  const asUtf8 = JSON.stringify(JSON.parse(stored.headers[name] ?? ""));
  const read = (context: Record<string, string>): Promise<Buffer> =>
    readObject(encryptS3Client(plain, { ...options, encryptionContext: context }), { Bucket, Key: "others" });
  const set = (value: string): unknown =>
    server.buckets.get(Bucket)?.set("others", { ...stored, headers: { ...stored.headers, [name]: value } });
  set(throughServer(asUtf8));
  expect(server.object(Bucket, "others").headers[name]).toMatch(/^=\?UTF-8/);
  expect((await read(encryptionContext)).equals(body)).toBe(true);
  // Servers that return the bytes that they were sent; and callers that have the text itself.
  set(Buffer.from(asUtf8, "utf8").toString("latin1"));
  expect((await read(encryptionContext)).equals(body)).toBe(true);
  const { headers, body: sealed } = stored;
  const metadata = Object.fromEntries(
    Object.entries(headers).filter(([header]) => header.startsWith("x-amz-meta-")),
  );
  for (const value of [asUtf8, JSON.stringify({ ...JSON.parse(asUtf8), tenant: "日本" })]) {
    const opening = decryptObject(
      { bucket: Bucket, key: "others" },
      { body: new Uint8Array(sealed), metadata: { ...metadata, [name]: value } },
      { ...options, encryptionContext },
    );
    if (value === asUtf8) expect(Buffer.from((await opening).body).equals(body)).toBe(true);
    else expect(await outcomeOf(opening)).toBe("CONTEXT_MISMATCH");
  }
  // Another client has written the word as it is.
  const word = { tenant: text };
  await encryptS3Client(plain, { ...options, encryptionContext: word }).send(
    new PutObjectCommand({ Bucket, Key: "others", Body: body }),
  );
  const again = server.object(Bucket, "others");
  const raw = JSON.stringify(JSON.parse(again.headers[name] ?? ""));
  expect(raw).toContain(text);
  server.buckets.get(Bucket)?.set("others", { ...again, headers: { ...again.headers, [name]: raw } });
  expect((await read(word)).equals(body)).toBe(true);
});

describe("metadata of the caller", () => {
  const formats = ["framed", "s3ec-v3"] as const;
  const calls = (): number => server.calls.length;
  const send = async (client: S3Client, way: string, Metadata: Record<string, string>): Promise<unknown> => {
    const params = { Bucket, Key: "metadata", Body: body, Metadata };
    return way === "PutObject"
      ? client.send(new PutObjectCommand(params))
      : new Upload({
          client,
          params: { ...params, Body: randomBytes(6 * 2 ** 20) },
          partSize: 5 * 2 ** 20,
        }).done();
  };

  test.each(formats.flatMap((format) => ["PutObject", "Upload"].map((way) => [format, way] as const)))(
    "%s by %s: every text comes back as it was, or is refused before anything is sent",
    async (format, way) => {
      const client = clientFor({ format });
      let kept = 0;
      for (const [name, text] of Object.entries({ ...texts, "no text": "\ud800" })) {
        const before = calls();
        const outcome = await outcomeOf(send(client, way, { note: text }));
        if (outcome !== "accepted") {
          expect([name, outcome]).toEqual([name, "TypeError"]);
          expect(calls()).toBe(before);
          continue;
        }
        kept += 1;
        for (const command of [
          new GetObjectCommand({ Bucket, Key: "metadata" }),
          new HeadObjectCommand({ Bucket, Key: "metadata" }),
        ]) {
          const output = await client.send(command as GetObjectCommand);
          expect(output.Metadata, name).toEqual({ note: text });
          (output.Body as { destroy?(): void } | undefined)?.destroy?.();
        }
        // What S3 itself makes of another script may be stored again; all else is the same to every server.
        if (!/another/.test(name)) expect(throughServer(text), name).toBe(text);
      }
      expect(kept).toBeGreaterThanOrEqual(8);
    },
  );

  test.each([
    ["", "empty"],
    ["a b", "a space"],
    ["a:b", "a colon"],
    ["ä", "not ASCII"],
    ["a\r\nb", "a line end"],
    ["__proto__", "what objects of JavaScript would lose"],
    ["Frameseal-Format", "a name of a format in upper case"],
    ["x-amz-key-v2", "a name of another format"],
    ["frameseal-content-encoding", "a name of the library"],
  ])("a name that is %j is refused: %s", async (name) => {
    const before = calls();
    const Metadata = Object.fromEntries([[name, "x"]]);
    expect(await outcomeOf(send(clientFor(), "PutObject", Metadata))).toBe("TypeError");
    expect(calls()).toBe(before);
  });

  test("names that differ by their case only are refused, as one would be lost; others come back in lower case", async () => {
    expect(await outcomeOf(send(clientFor(), "PutObject", { a: "1", A: "2" }))).toBe("TypeError");
    await send(clientFor(), "PutObject", { "Under_Score-1.x": "1", constructor: "2", "x-amz-meta-a": "3" });
    const { Metadata } = await clientFor().send(new HeadObjectCommand({ Bucket, Key: "metadata" }));
    expect(Metadata).toEqual({ "under_score-1.x": "1", constructor: "2", "x-amz-meta-a": "3" });
  });

  test("copies that replace the metadata keep to the same rules", async () => {
    await send(clientFor({ bind: "none" }), "PutObject", { a: "1" });
    const copy = (Metadata: Record<string, string>) =>
      clientFor({ bind: "none" }).send(
        new CopyObjectCommand({
          ...{ Bucket, Key: "copy", CopySource: `${Bucket}/metadata` },
          MetadataDirective: "REPLACE",
          Metadata,
        }),
      );
    for (const text of ["=?utf-8?q?x?=", "ä", " x", "a\r\nb"])
      expect(await outcomeOf(copy({ note: text }))).toBe("TypeError");
    await copy({ note: "b" });
    const { Metadata } = await clientFor({ bind: "none" }).send(
      new HeadObjectCommand({ Bucket, Key: "copy" }),
    );
    expect(Metadata).toEqual({ note: "b" });
  });

  test("what is no string is refused", async () => {
    for (const value of [1, null, ["a"], {}])
      expect(await outcomeOf(send(clientFor(), "PutObject", { a: value as never }))).toBe("TypeError");
  });

  test("what S3 has encoded goes through a rewrap", async () => {
    await send(clientFor(), "PutObject", {});
    const stored = server.object(Bucket, "metadata");
    const note = throughServer("ß");
    server.buckets
      .get(Bucket)
      ?.set("metadata", { ...stored, headers: { ...stored.headers, "x-amz-meta-note": note } });
    await rewrapObject(plain, { bucket: Bucket, key: "metadata" }, { from: keyring, to: keyring });
    expect(server.object(Bucket, "metadata").headers["x-amz-meta-note"]).toBe(note);
  });
});

describe("Content-Encoding", () => {
  const zipped = gzipSync("the plaintext, compressed");
  const framedName = "x-amz-meta-frameseal-content-encoding";
  const Key = "encoded";
  const target = { Bucket, Key };
  const encodingOf = async (client: S3Client, more: object = {}): Promise<(string | undefined)[]> => {
    const got = await client.send(new GetObjectCommand({ ...target, ...more }));
    (got.Body as unknown as { destroy(): void }).destroy();
    const head = await client.send(new HeadObjectCommand({ ...target, ...more }));
    return [got.ContentEncoding, head.ContentEncoding];
  };
  const writers: Record<string, (client: S3Client) => Promise<unknown>> = {
    PutObject: (client) =>
      client.send(new PutObjectCommand({ ...target, Body: zipped, ContentEncoding: "gzip" })),
    "PutObject in parts": (client) =>
      client.send(
        new PutObjectCommand({ ...target, Body: randomBytes(6 * 2 ** 20), ContentEncoding: "gzip" }),
      ),
    Upload: (client) =>
      new Upload({
        client,
        partSize: 5 * 2 ** 20,
        params: { ...target, Body: randomBytes(6 * 2 ** 20), ContentEncoding: "gzip" },
      }).done(),
  };

  test.each(Object.entries(writers))(
    "%s: kept in the metadata, not as a header; given back",
    async (_, write) => {
      const client = clientFor({ partSize: 5 * 2 ** 20 });
      await write(client);
      const { headers } = server.object(Bucket, Key);
      expect(headers).toMatchObject({ [framedName]: "gzip" });
      expect(headers["content-encoding"]).toBeUndefined();
      expect(await encodingOf(client)).toEqual(["gzip", "gzip"]);
      const ranged = await client.send(new GetObjectCommand({ ...target, Range: "bytes=0-9" }));
      expect(ranged.ContentEncoding).toBe("gzip");
      expect(ranged.Metadata).toEqual({});
    },
  );

  test.each([
    ["aws-chunked", undefined],
    ["aws-chunked,gzip", "gzip"],
    ["gzip, br", "gzip, br"],
    ["identity", "identity"],
    ["AWS-Chunked", undefined],
    ["", undefined],
  ])("%j comes back as %j", async (ContentEncoding, expected) => {
    await clientFor().send(new PutObjectCommand({ ...target, Body: zipped, ContentEncoding }));
    expect(await encodingOf(clientFor())).toEqual([expected, expected]);
  });

  test.each(["gz ip", "gzip\r\nx: y", "gzip;q=1", "é", "=?utf-8?q?gzip?="])(
    "%j names no coding and is refused",
    async (ContentEncoding) => {
      const put = clientFor().send(new PutObjectCommand({ ...target, Body: zipped, ContentEncoding }));
      expect(await outcomeOf(put)).toBe("TypeError");
    },
  );

  test("a presigned GET works with fetch, and decryptObject tells the encoding", async () => {
    const client = clientFor();
    await writers.PutObject?.(client);
    const response = await fetch(await getSignedUrl(client, new GetObjectCommand(target)));
    const opened = await decryptObject(
      { bucket: Bucket, key: Key },
      { body: new Uint8Array(await response.arrayBuffer()), metadata: Object.fromEntries(response.headers) },
      { keyring },
    );
    expect(opened.contentEncoding).toBe("gzip");
    expect(gunzipSync(opened.body).toString()).toBe("the plaintext, compressed");
  });

  test("encryptObject keeps it for a presigned PUT", async () => {
    const location = { bucket: Bucket, key: Key };
    const { body: sealed, metadata } = await encryptObject(location, zipped, {
      keyring,
      contentEncoding: "gzip",
    });
    const url = await getSignedUrl(plain, new PutObjectCommand({ ...target, Metadata: { ...metadata } }), {
      unhoistableHeaders: new Set(Object.keys(metadata).map((name) => `x-amz-meta-${name}`)),
    });
    const headers = Object.fromEntries(
      Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value]),
    );
    const response = await fetch(url, { method: "PUT", body: sealed as Uint8Array<ArrayBuffer>, headers });
    expect(response.status, await response.text()).toBe(200);
    expect(await encodingOf(clientFor())).toEqual(["gzip", "gzip"]);
    expect((await readObject(clientFor(), target)).equals(zipped)).toBe(true);
  });

  test("copies: kept, replaced, and taken along when the object is encrypted again", async () => {
    const client = clientFor({ boundCopy: "reencrypt", bind: "none" });
    await writers.PutObject?.(client);
    const CopySource = `${Bucket}/${Key}`;
    const copied = async (from: S3Client, to: string, more: object = {}): Promise<string | undefined> => {
      await from.send(new CopyObjectCommand({ Bucket, Key: to, CopySource, ...more }));
      return (await from.send(new HeadObjectCommand({ Bucket, Key: to }))).ContentEncoding;
    };
    expect(await copied(client, "kept")).toBe("gzip");
    expect(await copied(client, "replaced", { MetadataDirective: "REPLACE", ContentEncoding: "br" })).toBe(
      "br",
    );
    expect(server.object(Bucket, "replaced").headers["content-encoding"]).toBeUndefined();
    expect(await copied(client, "removed", { MetadataDirective: "REPLACE" })).toBeUndefined();
    const bound = clientFor({ boundCopy: "reencrypt" });
    await writers.PutObject?.(bound);
    expect(await copied(bound, "again")).toBe("gzip");
    expect(await copied(bound, "again", { MetadataDirective: "REPLACE", ContentEncoding: "br" })).toBe("br");
    expect(await copied(bound, "again", { MetadataDirective: "REPLACE" })).toBeUndefined();
  });

  test("a rewrap takes it along", async () => {
    await writers.PutObject?.(clientFor());
    const to = new RawAesKeyring({ keyNamespace: "n", keyName: "new", wrappingKey: randomBytes(32) });
    await rewrapObject(plain, { bucket: Bucket, key: Key }, { from: keyring, to });
    expect(await encodingOf(clientFor({ keyring: to }))).toEqual(["gzip", "gzip"]);
    expect(server.object(Bucket, Key).headers["content-encoding"]).toBeUndefined();
  });

  test("objects of the S3 Encryption Clients keep the header, where those clients look for it", async () => {
    const client = clientFor({ format: "s3ec-v3" });
    await writers.PutObject?.(client);
    expect(server.object(Bucket, Key).headers).toMatchObject({ "content-encoding": "gzip" });
    expect(await encodingOf(client)).toEqual(["gzip", "gzip"]);
    // The recipe for fetch, which would decompress the ciphertext: S3 is asked to call it otherwise.
    const fetching = async (more: object): Promise<Buffer> => {
      const response = await fetch(await getSignedUrl(client, new GetObjectCommand({ ...target, ...more })));
      const body = new Uint8Array(await response.arrayBuffer());
      const metadata = Object.fromEntries(response.headers);
      const opened = await decryptObject({ bucket: Bucket, key: Key }, { body, metadata }, { keyring });
      return Buffer.from(opened.body);
    };
    await expect(fetching({})).rejects.toThrow();
    expect((await fetching({ ResponseContentEncoding: "identity" })).equals(zipped)).toBe(true);
  });

  test("what the caller asks S3 to answer is answered", async () => {
    const client = clientFor();
    await writers.PutObject?.(client);
    const got = await client.send(new GetObjectCommand({ ...target, ResponseContentEncoding: "br" }));
    expect(got.ContentEncoding).toBe("br");
    expect(Buffer.from((await got.Body?.transformToByteArray()) ?? []).equals(zipped)).toBe(true);
  });

  test("framed objects that have the header, as they were written before, give it back", async () => {
    await clientFor().send(new PutObjectCommand({ ...target, Body: zipped }));
    const stored = server.object(Bucket, Key);
    server.buckets
      .get(Bucket)
      ?.set(Key, { ...stored, headers: { ...stored.headers, "content-encoding": "gzip" } });
    expect(await encodingOf(clientFor())).toEqual(["gzip", "gzip"]);
  });
});
