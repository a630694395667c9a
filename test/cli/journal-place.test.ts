// Where the journal of a run is when nobody says where.
import { userInfo } from "node:os";
import path from "node:path";
import { S3Client } from "@aws-sdk/client-s3";
import { afterEach, expect, test, vi } from "vitest";
import { journalPlace } from "../../src/cli/tree/journal-options.ts";

afterEach(() => vi.unstubAllEnvs());

const client = new S3Client({ region: "us-east-1" });
const fileOf = async (): Promise<string> =>
  (await journalPlace(client, { bucket: "b", prefix: "p/" }, {}))?.file ?? "";

test.each(["", ".", "home"])("is not in the working folder when HOME is %j", async (home) => {
  vi.stubEnv("HOME", home);
  vi.stubEnv("XDG_STATE_HOME", "state");
  expect(path.dirname(await fileOf())).toBe(path.join(userInfo().homedir, ".local/state/frameseal"));
});

test("is where HOME and XDG_STATE_HOME say", async () => {
  vi.stubEnv("HOME", "/home/of/somebody");
  vi.stubEnv("XDG_STATE_HOME", undefined);
  expect(path.dirname(await fileOf())).toBe("/home/of/somebody/.local/state/frameseal");
  vi.stubEnv("XDG_STATE_HOME", "/state");
  expect(path.dirname(await fileOf())).toBe("/state/frameseal");
});
