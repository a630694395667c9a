// Rows of uploads.
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { defaultJournalFile } from "../../../src/backup/journal/default-file.ts";
import { failed, type Kind, type Place, type Row, row } from "../../support/option-rows.ts";

const of = ["uploads"];

/** One that is a day old, and one that has just begun. */
function begin({ server }: Place): void {
  server.uploads.clear();
  const upload = { bucket: "bucket", headers: {}, asked: {}, atRest: {} as never, checksum: undefined };
  for (const [key, age] of [
    ["old", 86_400_000],
    ["new", 0],
  ] as const)
    server.uploads.set(`id-${key}`, {
      ...upload,
      key,
      parts: new Map(),
      initiated: new Date(Date.now() - age),
    });
}

function inPlaceOfJournal(place: Place): string {
  const identity = { endpoint: `${place.server.endpoint}/`, bucket: "bucket", prefix: "" };
  const file = defaultJournalFile(identity, "", path.join(place.folder, "state"));
  mkdirSync(path.dirname(file), { recursive: true });
  return file;
}
function damageJournal(place: Place): void {
  begin(place);
  writeFileSync(inPlaceOfJournal(place), "no database");
}
/** Of a process that lives, as far as can be told. */
function holdJournal(place: Place): void {
  begin(place);
  const file = inPlaceOfJournal(place);
  writeFileSync(file, "");
  writeFileSync(`${file}.owner`, JSON.stringify({ pid: 1, host: "elsewhere", token: "00" }));
}

export const rows: readonly Row[] = [
  row(of, "--addressing virtual", /^request .*\/\/bucket\.localhost:/m, {
    line: () => "uploads s3://bucket/ --endpoint {localhost}",
  }),
  row(of, "--abort", /^request DELETE .*uploadId=id-old/m, { before: begin }),
  row(of, "--older-than 12h", undefined, { before: begin, hides: /bucket\/new / }),
  row(of, "--force", /^request DELETE /m, {
    before: holdJournal,
    line: () => "uploads --abort s3://bucket/ --endpoint {s3}",
  }),
  row(of, "--dry-run", /would abort/, {
    before: begin,
    hides: /^request DELETE /m,
    line: () => "uploads --abort s3://bucket/ --endpoint {s3}",
  }),
  row(of, "--json", /^out \d+ \{"record":"upload"/m, { before: begin }),
  row(of, "--journal absent", failed, { before: begin }),
  row(of, "--no-journal", undefined, { before: damageJournal, hides: /damaged, or no journal/ }),
];

export const kinds: Readonly<Record<string, Kind>> = {
  times: { of: ["--older-than"] },
  free: { of: ["--journal"] },
};
