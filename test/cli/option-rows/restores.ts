// Rows of get -r, ls and rm.
import { PutObjectCommand } from "@aws-sdk/client-s3";
import { keyringFromKeyFile } from "../../../src/keyring/key-file.ts";
import { encryptS3Client } from "../../../src/s3.ts";
import {
  done,
  type Kind,
  line,
  ofTrees,
  type Place,
  type Row,
  row,
  treeLine,
  untrusted,
} from "../../support/option-rows.ts";

const get = ["get"];
const trees = { line: ofTrees() };
const aTxt = "tree/a.txt";

/** Changes what the metadata of an object says. */
const told =
  (metadata: Readonly<Record<string, string>>) =>
  ({ server }: Place): void => {
    const object = server.object("bucket", aTxt);
    const headers = Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value]);
    server.buckets
      .get("bucket")
      ?.set(aTxt, { ...object, headers: { ...object.headers, ...Object.fromEntries(headers) } });
  };

async function putZeros({ server }: Place): Promise<void> {
  const keyring = await keyringFromKeyFile("a.jwk");
  const Body = Buffer.alloc(2 ** 20);
  await encryptS3Client(server.client(), { keyring }).send(
    new PutObjectCommand({ Bucket: "bucket", Key: "tree/zeros", Body }),
  );
}

const both = ["ls", "rm"];
const summary = /^(?:err )?frameseal: rm: /m;

export const rows: readonly Row[] = [
  row(get, "--manifest 99", /manifest 99: it is not there/, trees),
  row(get, "--no-times", undefined, { hides: /^file out\/a\.txt .* 2020-01-02T03:04:05/m, ...trees }),
  row(get, "--no-mode", undefined, {
    hides: /^file out\/a\.txt .* 754 /m,
    before: told({ mode: "0754" }),
    ...trees,
  }),
  row(get, "--sparse", /^file out\/zeros .* 0 blocks$/m, { before: putZeros, ...trees }),
  // Who may not give files away is told so.
  row(get, "--owner", /^file out\/a\.txt .* of 12345:12345 |not permitted/m, {
    before: told({ uid: "12345", gid: "12345" }),
    ...trees,
  }),

  row(both, "--addressing virtual", /^request .*\/\/bucket\.localhost:/m, {
    line: (command) => line(command).replace("{s3}", "{localhost}"),
  }),
  row(both, "--expected-bucket-owner 111122223333", /x-amz-expected-bucket-owner: 111122223333/),
  row(both, "--request-payer", /x-amz-request-payer: requester/),
  row(["ls"], "--recursive", /sub\/deep\/c\.log/),
  row(["ls"], "--all", /\.frameseal\//),
  row(["ls"], "--sizes stored", undefined, { hides: / 5 a\.txt$/m }),
  row(["ls"], "--json", /^out \d+ \{"key"/m),
  row(["ls"], "--sse-c-key sse-c.key", /customer-algorithm: AES256/),
  row(["ls"], "--key a.jwk", untrusted, { line: () => line("ls", { more: "--encrypt-names flat" }) }),
  row(["rm"], "--recursive", done, { line: () => treeLine("rm").replace(" -r ", " ") }),
  row(["rm"], "--all", /^removed tree\/\.frameseal\//m),
  row(["rm"], "--key a.jwk", untrusted, {
    line: () => line("rm", { more: "--exclude a.txt --encrypt-names flat" }),
  }),
  row(["rm"], "--instruction-file-suffix .other", /^removed beside\.other$/m, {
    line: () => "rm s3://bucket/beside --endpoint {s3}",
  }),
  row(["rm"], "--json", /^out \d+ \{"record":"item"/m),
  row(["rm"], "--quiet", undefined, { hides: summary }),
  row(["rm"], "--log-file log", /^file log \d+ bytes /m),
  row(["rm"], "--progress", /^interval 200$/m),
  row(["rm"], "--no-progress", undefined, { hides: /^interval 200$/m, terminal: true }),
];

export const kinds: Readonly<Record<string, Kind>> = {
  words: { of: ["--sizes"] },
};
