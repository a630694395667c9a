// Compares what callgrind counted with instructions.json; fails if a case needs more instructions than the tolerance
// allows, or fewer: then the record is to be renewed, so that the gain is not lost unseen.
//   node compare-instructions.mjs FOLDER COMPILER-VERSION [--update]
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const [folder, compilerVersion, update] = process.argv.slice(2);
const recordFile = fileURLToPath(new URL("instructions.json", import.meta.url));
const compiler = `g++ ${compilerVersion.split(".")[0]}`;

/** Counts by case: each dump names its case and ends with a total. */
function readDumps() {
  const counts = new Map();
  for (const file of readdirSync(folder).filter((name) => /^counts\.\d+$/.test(name))) {
    const text = readFileSync(path.join(folder, file), "utf8");
    const name = /^desc: Trigger: Client Request: (.+)$/m.exec(text)?.[1];
    const total = /^(?:totals|summary): (\d+)/m.exec(text)?.[1];
    if (name !== undefined && total !== undefined) counts.set(name, Number(total));
  }
  return counts;
}

const counts = readDumps();
const cases = readFileSync(path.join(folder, "cases.jsonl"), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line));
const missing = cases.filter(({ name }) => !counts.has(name));
if (missing.length > 0)
  throw new Error(`callgrind has no count of ${missing.map(({ name }) => name).join(", ")}`);

if (update === "--update") {
  const record = { compiler, tolerance: 0.02, instructions: Object.fromEntries(counts) };
  writeFileSync(recordFile, `${JSON.stringify(record, null, 2)}\n`);
}
const record = JSON.parse(readFileSync(recordFile, "utf8"));
const isComparable = record.compiler === compiler;
let faults = 0;
console.log("case                       instructions   a byte   a call   against the record");
for (const { name, bytes, calls } of cases) {
  const count = counts.get(name);
  const before = record.instructions[name];
  const change = before === undefined ? undefined : count / before - 1;
  const isFault = isComparable && (change === undefined || Math.abs(change) > record.tolerance);
  if (isFault) faults++;
  const text =
    change === undefined ? "not on record" : `${change >= 0 ? "+" : ""}${(change * 100).toFixed(2)} %`;
  console.log(
    `${name.padEnd(26)} ${String(count).padStart(12)} ${(bytes === 0 ? "" : (count / bytes).toFixed(3)).padStart(8)} ${(count / calls).toFixed(0).padStart(8)}   ${text}${isFault ? "  <-- beyond the tolerance" : ""}`,
  );
}
const gone = Object.keys(record.instructions).filter((name) => !counts.has(name));
for (const name of gone) console.log(`${name}: on record, but was not counted`);
if (!isComparable) {
  console.log(`not compared: the record is of ${record.compiler}, this is ${compiler}`);
} else if (faults + gone.length > 0) {
  console.log(
    `${faults + gone.length} of ${cases.length} cases differ by more than ${record.tolerance * 100} %; if that is meant: npm run bench:callgrind -- --update`,
  );
  process.exitCode = 1;
} else console.log(`${cases.length} cases within ${record.tolerance * 100} % of the record`);
