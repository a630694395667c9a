// Runs under jest and vitest in pages of jsdom and happy-dom, where bytes and signals are of another realm than Node's.
import {
  createDecryptStream,
  createEncryptStream,
  decrypt,
  encrypt,
  engineInfo,
  RawAesKeyring,
} from "frameseal";
import { decryptObject, encryptObject } from "frameseal/s3";

const keyring = new RawAesKeyring({
  keyNamespace: "n",
  keyName: "k",
  wrappingKey: new Uint8Array(32).fill(7),
});
const data = Uint8Array.from({ length: 200_000 }, (_, i) => i % 251);
const equal = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0;

test("engine", () => {
  expect(engineInfo().engine).toBe("native");
});
test.each([
  ["Uint8Array", data],
  ["Buffer", Buffer.from(data)],
])("%s", async (_, bytes) => {
  const message = await encrypt(bytes, { keyring, encryptionContext: { purpose: "test" } });
  expect(equal((await decrypt(message, { keyring })).plaintext, data)).toBe(true);
  const object = await encryptObject({ bucket: "b", key: "k" }, bytes, { keyring });
  expect(equal((await decryptObject({ bucket: "b", key: "k" }, object, { keyring })).body, data)).toBe(true);
});
test("streams", async () => {
  const encryptor = createEncryptStream({ keyring });
  const decryptor = encryptor.pipe(createDecryptStream({ keyring }));
  encryptor.write(data);
  encryptor.end(Buffer.from(data));
  const chunks = [];
  for await (const chunk of decryptor) chunks.push(chunk);
  expect(equal(Buffer.concat(chunks), Buffer.concat([data, data]))).toBe(true);
});
test("signals and errors", async () => {
  const controller = new AbortController();
  controller.abort();
  await expect(encrypt(data, { keyring, signal: controller.signal })).rejects.toMatchObject({
    code: "ABORTED",
  });
  await expect(decrypt(data, { keyring })).rejects.toMatchObject({ name: "FramesealError" });
});
