// How often a key service is asked for the files of a tree.
import * as sdk from "@aws-sdk/client-s3";
import { expect, test } from "vitest";
import { treeKeyring } from "../../../src/backup/transfer/tree-keyring.ts";
import { type Keyring, RawAesKeyring } from "../../../src/index.ts";
import { encryptS3Client } from "../../../src/s3/encrypt-s3-client.ts";
import type { KeyBinding } from "../../../src/s3/object-format.ts";
import { S3Server } from "../../support/s3-server.ts";

/** A keyring that counts, as one of a service would cost. */
function counted(): { readonly keyring: Keyring; readonly calls: Record<string, number> } {
  const inner = new RawAesKeyring({
    keyNamespace: "test",
    keyName: "test",
    wrappingKey: new Uint8Array(32).fill(1),
  });
  const calls = { generate: 0, unwrap: 0 };
  const keyring: Keyring = {
    generateDataKey(request) {
      calls.generate += 1;
      return inner.generateDataKey(request);
    },
    wrapDataKey: (dataKey, request) => inner.wrapDataKey(dataKey, request),
    unwrapDataKey(keys, request) {
      calls.unwrap += 1;
      return inner.unwrapDataKey(keys, request);
    },
  };
  return { keyring, calls };
}

const FILES = 120;

test.each<[KeyBinding | undefined, number]>([
  [undefined, FILES],
  ["key", FILES],
  ["prefix", 1],
  ["bucket", FILES],
  ["none", 1],
])("bound to %s: %i calls for 120 files", async (bind, calls) => {
  await using server = await S3Server.start();
  const plain = server.client();
  await plain.send(new sdk.CreateBucketCommand({ Bucket: "b" }));
  const service = counted();
  const keyring = treeKeyring(service.keyring, bind);
  const client = encryptS3Client(plain, { keyring, bind });
  for (let i = 0; i < FILES; i++)
    await client.send(new sdk.PutObjectCommand({ Bucket: "b", Key: `p/${i}`, Body: `text ${i}` }));
  expect(service.calls.generate).toBe(calls);
  for (const i of [0, 1, FILES - 1]) {
    const answer = await client.send(new sdk.GetObjectCommand({ Bucket: "b", Key: `p/${i}` }));
    expect(await answer.Body?.transformToString()).toBe(`text ${i}`);
  }
  expect(service.calls.unwrap).toBe(calls === 1 ? 1 : 3);
});
