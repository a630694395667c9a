// Rows of engine and bench.
import { type Row, row } from "../../support/option-rows.ts";

export const rows: readonly Row[] = [
  // engine and bench.
  row(["engine"], "--engine node", /--engine asks for it/),
  row(["engine"], "--json", /^out \d+ \{/m),
  ...[
    "--full",
    "--list",
    "--claims",
    "--json {s3}",
    "--html page",
    "--baseline run",
    "--rounds 9",
    "--round-ms 9",
  ].map((given) =>
    row(
      ["bench"],
      given,
      new RegExp(`^bench .*"${/[a-z]+/.exec(given)?.[0]}.*(true|${given.slice(-1)})`, "m"),
    ),
  ),
];
