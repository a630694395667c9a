// Clients of another copy of the AWS SDK get that copy's commands, or are refused with a text that says what to do.
import * as s3 from "@aws-sdk/client-s3";
import { expect, test } from "vitest";
import { RawAesKeyring } from "../src/index.ts";
import { encryptS3Client } from "../src/s3.ts";
import { copyOf, type SdkPackage } from "../src/sdk-copy.ts";

class Client {
  readonly config: { defaultUserAgentProvider(): Promise<string[][]> };
  constructor(version: string) {
    this.config = { defaultUserAgentProvider: async () => [["aws-sdk-js", version]] };
  }
}
const sdk = (version: string): SdkPackage<{ Some: unknown }> => {
  class Some extends Client {
    constructor() {
      super(version);
    }
  }
  return { name: "some-sdk", client: "Some", load: async () => ({ Some }) };
};

test("a client of the copy that is found, and what is derived from it", async () => {
  const found = sdk("3.1.0");
  const copy = await found.load();
  const client = new (copy.Some as new () => object)();
  for (const given of [client, Object.create(client), new Proxy(client, {})])
    expect((await copyOf(found, given)).Some).toBe((await found.load()).Some);
});
test("a client of another copy of the same version, and one that tells no version", async () => {
  class SameVersion extends Client {}
  const found = sdk("3.1.0");
  expect(await copyOf(found, new SameVersion("3.1.0"))).toHaveProperty("Some");
  expect(await copyOf(found, { send() {} })).toHaveProperty("Some");
});
test("a client of another version whose copy cannot be found is refused", async () => {
  class OtherVersion extends Client {}
  await expect(copyOf(sdk("3.1.0"), new OtherVersion("3.0.0"))).rejects.toMatchObject({
    code: "UNSUPPORTED",
    message: expect.stringMatching(
      /some-sdk 3\.0\.0, but frameseal finds 3\.1\.0.*install one version.*npm ls some-sdk/,
    ),
  });
});
test("the first request is refused, however small", async () => {
  class BundledClient extends Client {
    readonly middlewareStack = new s3.S3Client({ region: "us-east-1" }).middlewareStack;
    send(command: s3.GetObjectCommand): unknown {
      const handler = command.resolveMiddleware(this.middlewareStack as never, this.config as never, {});
      return handler(command as never);
    }
  }
  const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 1) });
  const client = encryptS3Client(new BundledClient("3.0.0") as never, {
    keyring,
  }) as unknown as BundledClient;
  await expect(client.send(new s3.GetObjectCommand({ Bucket: "b", Key: "k" }))).rejects.toMatchObject({
    code: "UNSUPPORTED",
  });
});
