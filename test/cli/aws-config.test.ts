// Endpoints, regions, profiles and credentials come from where the AWS command line takes them, and options come first.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { type AwsOptions, createS3Client, kmsClients } from "../../src/cli/aws-client.ts";
import { describe as describeFailure } from "../../src/cli/failure.ts";

let home: string;
const config = `
[default]
region = eu-west-1

[profile plain]
region = eu-north-1
aws_access_key_id = PLAIN
aws_secret_access_key = x

[profile own]
region = eu-central-1
endpoint_url = http://everything:1000
aws_access_key_id = OWN
aws_secret_access_key = x

[profile split]
aws_access_key_id = SPLIT
aws_secret_access_key = x
region = eu-central-1
services = split-services
endpoint_url = http://everything:1000

[services split-services]
s3 =
  endpoint_url = http://s3.split:2000
kms =
  endpoint_url = http://kms.split:3000

[profile nowhere]
aws_access_key_id = NOWHERE
aws_secret_access_key = x
endpoint_url = http://everything:1000

[profile ignoring]
aws_access_key_id = IGNORING
aws_secret_access_key = x
region = eu-central-1
endpoint_url = http://everything:1000
ignore_configured_endpoint_urls = true

[profile process]
region = eu-south-1
credential_process = echo '{"Version":1,"AccessKeyId":"MADE","SecretAccessKey":"x"}'
`;

beforeAll(() => {
  home = mkdtempSync(path.join(tmpdir(), "frameseal-home-"));
  mkdirSync(path.join(home, ".aws"));
  writeFileSync(path.join(home, ".aws/config"), config);
  writeFileSync(
    path.join(home, ".aws/credentials"),
    "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = x\n",
  );
  writeFileSync(
    path.join(home, "other-config"),
    "[default]\nregion = sa-east-1\nendpoint_url = http://other:4000\n",
  );
  writeFileSync(
    path.join(home, "other-credentials"),
    "[default]\naws_access_key_id = OTHER\naws_secret_access_key = x\n",
  );
});
afterEach(() => vi.unstubAllEnvs());
afterAll(() => rmSync(home, { recursive: true }));

function setEnvironment(env: Readonly<Record<string, string>>): void {
  for (const name of Object.keys(process.env)) if (name.startsWith("AWS_")) vi.stubEnv(name, undefined);
  vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
  vi.stubEnv("HOME", home);
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value.replace("~", home));
}

interface Settings {
  /** Of S3 and of KMS; "" is that of AWS. */
  readonly s3?: string;
  readonly kms?: string;
  readonly region?: string;
  readonly key?: string;
  readonly style?: "path" | "virtual";
}

async function settingsOf(
  options: AwsOptions & { kmsEndpoint?: string; addressing?: string },
): Promise<Settings> {
  const s3 = await createS3Client(options);
  const kms = (await kmsClients(options))("us-east-1");
  const { GetObjectCommand } = await import("@aws-sdk/client-s3");
  const { ListKeysCommand } = await import("@aws-sdk/client-kms");
  try {
    const object = await requestOf(s3, new GetObjectCommand({ Bucket: "bucket-name", Key: "key" }));
    const keys = await requestOf(kms, new ListKeysCommand({}));
    const isPath = !object.hostname.startsWith("bucket-name.");
    return {
      s3: isCustom(object)
        ? `${object.protocol}//${object.hostname.replace("bucket-name.", "")}:${object.port}`
        : "",
      kms: isCustom(keys) ? `${keys.protocol}//${keys.hostname}:${keys.port}` : "",
      region: await s3.config.region(),
      key: (await s3.config.credentials()).accessKeyId,
      style: isPath ? "path" : "virtual",
    };
  } finally {
    s3.destroy();
    kms.destroy();
  }
}
interface Request {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
}
const isCustom = ({ hostname }: Request): boolean => !hostname.endsWith(".amazonaws.com");

/** The request that a command becomes. */
async function requestOf(
  client: { send(command: never): Promise<unknown> },
  command: object,
): Promise<Request> {
  const { middlewareStack } = command as { middlewareStack: { add(step: unknown, options: object): void } };
  let seen: Request | undefined;
  middlewareStack.add(
    () => async (args: { request: Request }) => {
      seen = args.request;
      return { output: { $metadata: {} }, response: undefined };
    },
    { step: "finalizeRequest", priority: "high" },
  );
  await client.send(command as never);
  if (seen === undefined) throw new Error("no request");
  return seen;
}

const table: readonly (readonly [
  string,
  Readonly<Record<string, string>>,
  Parameters<typeof settingsOf>[0],
  Settings,
])[] = [
  [
    "nothing but the default profile",
    {},
    {},
    { s3: "", kms: "", region: "eu-west-1", key: "DEFAULT", style: "virtual" },
  ],
  [
    "AWS_ENDPOINT_URL",
    { AWS_ENDPOINT_URL: "http://all:1" },
    {},
    { s3: "http://all:1", kms: "http://all:1", style: "path" },
  ],
  [
    "AWS_ENDPOINT_URL_S3 is for S3",
    { AWS_ENDPOINT_URL_S3: "http://s3:1" },
    {},
    { s3: "http://s3:1", kms: "", style: "path" },
  ],
  [
    "AWS_ENDPOINT_URL_KMS is for KMS",
    { AWS_ENDPOINT_URL_KMS: "http://kms:1" },
    {},
    { s3: "", kms: "http://kms:1", style: "virtual" },
  ],
  [
    "the one for a service comes first",
    { AWS_ENDPOINT_URL: "http://all:1", AWS_ENDPOINT_URL_S3: "http://s3:2" },
    {},
    { s3: "http://s3:2", kms: "http://all:1" },
  ],
  [
    "they can be ignored",
    {
      AWS_ENDPOINT_URL: "http://all:1",
      AWS_ENDPOINT_URL_KMS: "http://kms:1",
      AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: "true",
    },
    {},
    { s3: "", kms: "", style: "virtual" },
  ],
  [
    "options are not ignored",
    { AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: "true" },
    { endpoint: "http://given:1" },
    { s3: "http://given:1", kms: "http://given:1" },
  ],
  [
    "--endpoint comes before the environment",
    { AWS_ENDPOINT_URL: "http://all:1" },
    { endpoint: "http://given:1" },
    { s3: "http://given:1", kms: "http://given:1", style: "path" },
  ],
  [
    "but that of KMS is its own",
    { AWS_ENDPOINT_URL_KMS: "http://kms:1" },
    { endpoint: "http://given:1" },
    { s3: "http://given:1", kms: "http://kms:1" },
  ],
  [
    "--kms-endpoint comes before all",
    { AWS_ENDPOINT_URL_KMS: "http://kms:1" },
    { kmsEndpoint: "http://given:1" },
    { s3: "", kms: "http://given:1" },
  ],
  [
    "the profile of the environment",
    { AWS_PROFILE: "own" },
    {},
    {
      s3: "http://everything:1000",
      kms: "http://everything:1000",
      region: "eu-central-1",
      key: "OWN",
      style: "path",
    },
  ],
  [
    "--profile",
    {},
    { profile: "own" },
    {
      s3: "http://everything:1000",
      kms: "http://everything:1000",
      region: "eu-central-1",
      key: "OWN",
      style: "path",
    },
  ],
  [
    "--profile comes before the environment",
    { AWS_PROFILE: "own" },
    { profile: "plain" },
    { s3: "", region: "eu-north-1", key: "PLAIN" },
  ],
  [
    "--profile comes before keys of the environment",
    { AWS_ACCESS_KEY_ID: "ENV", AWS_SECRET_ACCESS_KEY: "x" },
    { profile: "plain" },
    { key: "PLAIN" },
  ],
  [
    "services of a profile",
    {},
    { profile: "split" },
    { s3: "http://s3.split:2000", kms: "http://kms.split:3000", style: "path" },
  ],
  [
    "the environment comes before services of a profile",
    { AWS_ENDPOINT_URL: "http://all:1" },
    { profile: "split" },
    { s3: "http://all:1", kms: "http://all:1" },
  ],
  ["a profile that ignores them", {}, { profile: "ignoring" }, { s3: "", kms: "" }],
  [
    "a profile without a region, at an endpoint of its own",
    {},
    { profile: "nowhere" },
    { s3: "http://everything:1000", region: "us-east-1" },
  ],
  ["a command that makes credentials", {}, { profile: "process" }, { key: "MADE", region: "eu-south-1" }],
  [
    "credentials of the environment",
    { AWS_ACCESS_KEY_ID: "ENV", AWS_SECRET_ACCESS_KEY: "x" },
    {},
    { key: "ENV" },
  ],
  [
    "credentials of the environment come before its profile",
    { AWS_ACCESS_KEY_ID: "ENV", AWS_SECRET_ACCESS_KEY: "x", AWS_PROFILE: "plain" },
    {},
    { key: "ENV", region: "eu-north-1" },
  ],
  ["AWS_REGION", { AWS_REGION: "ap-south-1" }, {}, { region: "ap-south-1" }],
  ["AWS_DEFAULT_REGION", { AWS_DEFAULT_REGION: "ap-east-1" }, {}, { region: "ap-east-1" }],
  [
    "AWS_REGION comes before it",
    { AWS_REGION: "ap-south-1", AWS_DEFAULT_REGION: "ap-east-1" },
    {},
    { region: "ap-south-1" },
  ],
  [
    "--region comes before both",
    { AWS_REGION: "ap-south-1", AWS_DEFAULT_REGION: "ap-east-1" },
    { region: "us-west-2" },
    { region: "us-west-2" },
  ],
  [
    "an empty variable is none",
    { AWS_REGION: "", AWS_ENDPOINT_URL: "" },
    {},
    { region: "eu-west-1", s3: "" },
  ],
  [
    "other files",
    { AWS_CONFIG_FILE: "~/other-config", AWS_SHARED_CREDENTIALS_FILE: "~/other-credentials" },
    {},
    { s3: "http://other:4000", region: "sa-east-1", key: "OTHER", style: "path" },
  ],
  ["path style at AWS", {}, { addressing: "path" }, { s3: "", style: "path" }],
  [
    "virtual hosts elsewhere",
    { AWS_ENDPOINT_URL: "http://all:1" },
    { addressing: "virtual" },
    { s3: "http://all:1", style: "virtual" },
  ],
];

describe("configuration", () => {
  test.each(table)("%s", async (_name, env, options, settings) => {
    setEnvironment(env);
    expect(await settingsOf(options)).toMatchObject(settings);
  });

  test("no region at AWS is an error", async () => {
    setEnvironment({ AWS_CONFIG_FILE: "~/none", AWS_SHARED_CREDENTIALS_FILE: "~/other-credentials" });
    const failure = await createS3Client({}).catch((error: unknown) => error);
    expect(describeFailure(failure)).toBe("no AWS region: give --region or set AWS_REGION");
  });

  test.each(["ftp://x", "nonsense", "127.0.0.1:9000"])(
    "an endpoint of the environment that is none: %s",
    async (url) => {
      setEnvironment({ AWS_ENDPOINT_URL_S3: url });
      const failure = await createS3Client({}).catch((error: unknown) => error);
      expect(describeFailure(failure)).toBe(
        "AWS_ENDPOINT_URL_S3 is no address such as https://s3.example.com",
      );
    },
  );

  test("a region at an endpoint needs none of anybody", async () => {
    setEnvironment({ AWS_CONFIG_FILE: "~/none", AWS_SHARED_CREDENTIALS_FILE: "~/other-credentials" });
    expect(await (await createS3Client({ endpoint: "http://own:1" })).config.region()).toBe("us-east-1");
  });

  test("certificates of AWS_CA_BUNDLE, which must be there", async () => {
    setEnvironment({ AWS_CA_BUNDLE: "~/none.pem" });
    const failure = await createS3Client({}).catch((error: unknown) => error);
    expect(describeFailure(failure)).toMatch(/none\.pem: no such file/);
  });
});
