// Rows of sync, and of what decides in `put -r` what is sent. Most options of sync are those of put, and are seen by the
// same; so their rows are made of those.
import { chmodSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { run } from "../../../src/cli/program.ts";
import { type Kind, line, ofTrees, type Place, type Row, row } from "../../support/option-rows.ts";
import { rows as ofMessages } from "./messages.ts";
import { rows as ofObjects } from "./objects.ts";
import { rows as ofServices } from "./services.ts";

/** Options of put that sync does not have, or that are seen by something else. */
const others = new Set([
  ...["--allow-empty", "--bind", "--concurrency", "--expected-size", "--from-command", "--if-match"],
  ...["--max-plaintext", "--memory", "--no-overwrite", "--no-progress", "--part-size", "--progress"],
  ...["--instruction-file", "--instruction-file-suffix", "--required-context", "--spool-folder"],
]);

const likePut = [...ofMessages, ...ofObjects, ...ofServices]
  .filter(({ of, option }) => of.includes("put") && !others.has(option))
  .map(
    (each): Row => ({
      ...each,
      of: ["sync"],
      line: () => asSync(each.line("put")),
      ...(each.after === undefined ? {} : { after: each.after.replace("bucket/new", "bucket/new/a.txt") }),
    }),
  );

function asSync(text: string): string {
  return text.replace(/^put /, "sync ").replace(/ plain s3:\/\/bucket\/new/, " tree s3://bucket/new/");
}

const down = "sync -k a.jwk s3://bucket/tree/ out --endpoint {s3}";
const out = { line: (): string => down };
/** With the journal and the manifest of a run. */
async function store({ server, folder }: Place): Promise<void> {
  rmSync(path.join(folder, "state"), { recursive: true, force: true });
  const words = ["put", "-r", "-k", "a.jwk", "--quiet", "tree", "s3://bucket/new/"];
  await run([...words, "--endpoint", server.endpoint]);
}
async function storeAndTouch(place: Place): Promise<void> {
  await store(place);
  utimesSync("tree/a.txt", 2e9, 2e9);
}
async function storeLong(place: Place): Promise<void> {
  rmSync(path.join(place.folder, "state"), { recursive: true, force: true });
  writeFileSync("tree/long", Buffer.alloc(11 * 2 ** 20, "long"));
}
function addExtra({ server }: Place): void {
  server.buckets.get("bucket")?.set("new/extra", server.object("bucket", "framed"));
}
/** A tree that was stored with its times and permissions, to be restored. */
const storeTree =
  (change: () => void = () => {}, changeStored: (place: Place) => void = () => {}) =>
  async (place: Place): Promise<void> => {
    change();
    rmSync(path.join(place.folder, "state"), { recursive: true, force: true });
    const words = ["put", "-r", "-k", "a.jwk", "--quiet", "tree", "s3://bucket/tree/"];
    await run([...words, "--endpoint", place.server.endpoint]);
    changeStored(place);
  };
function giveAway({ server }: Place): void {
  const { headers } = server.object("bucket", "tree/a.txt");
  Reflect.set(headers, "x-amz-meta-uid", "12345");
}
/** What of the restored tree is another than what was stored. */
const compared = "put -r --dry-run -k a.jwk out s3://bucket/tree/ --endpoint {s3}";
const listed = /^request GET \S*list-type=2\S*prefix=new(%2F|\/)(&|\s|$)/m;
const single = "--format s3ec-v3";

export const rows: readonly Row[] = [
  ...likePut,
  // What is sent.
  row(["put", "sync"], "--checksum", undefined, {
    line: ofTrees(),
    before: storeAndTouch,
    hides: /^stored new\/a\.txt /m,
  }),
  row(["put", "sync"], "--trust-journal", undefined, { line: ofTrees(), before: store, hides: listed }),
  row(["sync"], "--delete", /^removed new\/extra/m, { before: addExtra }),
  // What put has too, and is seen by something else.
  row(["sync"], "--bind prefix", /"frameseal-prefix"/),
  row(["sync"], "--required-context x", undefined, {
    line: () => line("sync", { more: "-c x=1" }),
    hides: /"x":"1"/,
  }),
  row(["sync"], "--part-size 5M", /partNumber=3/, { before: storeLong }),
  row(["sync"], "--instruction-file", /^stored new\/a\.txt\.instruction /m, {
    line: () => line("sync", { more: single }),
  }),
  row(["sync"], "--instruction-file-suffix .mine", /^stored new\/a\.txt\.mine /m, {
    line: () => line("sync", { more: `${single} --instruction-file` }),
  }),
  row(["sync"], "--spool-folder none", /spool-folder/, {
    line: () => line("sync", { more: `${single} --part-size 10M --memory 32M` }),
    before: storeLong,
  }),
  // Out of S3.
  row(["sync"], "--kms-discovery {account} --kms-endpoint {kms}", /nothing to restore/, {
    line: () => "sync s3://bucket/none out --endpoint {s3}",
  }),
  row(["sync"], "--manifest 7", /^exit [13]\n/, out),
  // Whoever is not root may not give files away.
  row(["sync"], "--owner", /^exit 4|would store a\.txt/m, {
    ...out,
    before: storeTree(undefined, giveAway),
    after: compared,
  }),
  row(["sync"], "--sparse", /then [\s\S]*(sparse|holes)/, {
    ...out,
    before: storeTree(() => writeFileSync("tree/a.txt", Buffer.alloc(2 ** 21))),
    after: compared,
  }),
  row(["sync"], "--no-times", /would store a\.txt/, { ...out, before: storeTree(), after: compared }),
  row(["sync"], "--no-mode", /would store a\.txt/, {
    ...out,
    before: storeTree(() => chmodSync("tree/a.txt", 0o750)),
    after: compared,
  }),
  row(["sync"], "--no-sync", undefined, { ...out, hides: /^sync$/m }),
  // Reports.
  row(["sync"], "--dry-run", /^out \d+ would /m),
  row(["sync"], "--quiet", undefined, { hides: / in [\d.]+ s$/m }),
  row(["sync"], "--log-file log", /^file log \d+ bytes /m),
  row(["sync"], "--progress", /^interval \d+$/m),
  row(["sync"], "--no-progress", undefined, { hides: /^interval \d+$/m, terminal: true }),
];

export const kinds: Readonly<Record<string, Kind>> = {};
