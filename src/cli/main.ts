#!/usr/bin/env node
// The program: signals, the exit code, and what Node would say in its own words.
import { describe, exitCodes } from "./failure.ts";
import { listenForSignals } from "./interrupt.ts";
import { note } from "./output.ts";
import { run } from "./program.ts";

process.removeAllListeners("warning"); // advice of packages to their users
process.on("uncaughtException", (error) => {
  note(describe(error));
  process.exit(exitCodes.failed);
});
listenForSignals();
process.exitCode = await run(process.argv.slice(2));
