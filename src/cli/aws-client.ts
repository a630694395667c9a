// Clients of AWS services as the AWS command line would configure them: endpoints, regions, profiles and certificates
// from options, environment and configuration files. What the SDK does by itself is left to it.
import type { KMSClient } from "@aws-sdk/client-kms";
import type { ListBucketsCommand, S3Client, S3ClientConfig } from "@aws-sdk/client-s3";
import type { Command } from "commander";
import { isError } from "../shapes.ts";
import { contact, lastContacted, metAt } from "./contacted.ts";
import { CommandFailure, codeOf, describe, exitCodes, UsageError } from "./failure.ts";
import { limitTime } from "./interrupt.ts";
import { note } from "./output.ts";
import { parseRegion, parseUrl } from "./values.ts";

/** What `addAwsOptions` adds. */
export interface AwsOptions {
  readonly endpoint?: string;
  readonly region?: string;
  readonly profile?: string;
  readonly connectTimeout?: number;
  readonly readTimeout?: number;
  readonly timeout?: number;
}

/** Adds the options that say where AWS services are, named as the AWS command line names them, and how long to wait. */
export function addAwsOptions(command: Command): Command {
  return command
    .optionsGroup("Services:")
    .option("--endpoint <url>", "address of the service (default: as the AWS command line)", parseUrl)
    .option("--region <name>", "AWS region", parseRegion)
    .option("--profile <name>", "profile of the AWS configuration")
    .option("--connect-timeout <time>", "wait so long for a connection (default: 10s)", parseDuration)
    .option("--read-timeout <time>", "wait so long for a byte of the service (default: 60s)", parseDuration)
    .option("--timeout <time>", "all in all, such as 30s, 5m or 2h (default: no limit)", parseDuration)
    .hook("preAction", (_, action) => startTimeLimit(action.opts<AwsOptions>()));
}

function startTimeLimit({ timeout }: AwsOptions): void {
  if (timeout === undefined) return;
  limitTime(
    milliseconds(timeout),
    () => {
      const host = lastContacted();
      const asked = host === undefined ? "no service was asked yet" : `the last one asked was ${host}`;
      return new CommandFailure(`not done within ${timeout} s (--timeout); ${asked}`);
    },
    (failure) => {
      note(describe(failure));
      process.exit(exitCodes.failed);
    },
  );
}

const unitSeconds: Readonly<Record<string, number>> = { "": 1, s: 1, m: 60, h: 3600, d: 86_400 };

/** `30`, `30s`, `5m`, `2h` as seconds. */
function parseDuration(text: string): number {
  const match = /^([0-9]{1,9})([smhd]?)$/i.exec(text);
  const seconds = Number(match?.[1]) * (unitSeconds[match?.[2]?.toLowerCase() ?? ""] ?? Number.NaN);
  if (!(seconds > 0)) throw new UsageError("expected a time, such as 30, 30s, 5m or 2h");
  return seconds;
}

/** In seconds. */
const DEFAULT_CONNECT_TIMEOUT = 10;
const DEFAULT_READ_TIMEOUT = 60;

/** Seconds as timers take them: at most 24 days. */
function milliseconds(seconds: number): number {
  return Math.min(seconds * 1000, 2 ** 31 - 1);
}

/** How long a service may say nothing. */
export function readTimeoutOf({ readTimeout }: AwsOptions): number {
  return milliseconds(readTimeout ?? DEFAULT_READ_TIMEOUT);
}

/** Attempts that the SDK makes by default. */
const ATTEMPTS = 3;

/** How long a key service may take in all, so that the time-outs of each attempt speak first. */
export function keyServiceTimeoutOf(options: AwsOptions): number {
  const connecting = milliseconds(options.connectTimeout ?? DEFAULT_CONNECT_TIMEOUT);
  return Math.min(ATTEMPTS * (connecting + readTimeoutOf(options)) + 60_000, 2 ** 31 - 1);
}

/** An S3 client. Only the commands for S3 need the package. */
export async function createS3Client(
  options: AwsOptions & { readonly addressing?: string },
): Promise<S3Client> {
  const { addressing } = options;
  const sdk = await load("objects in S3 need", "@aws-sdk/client-s3", () => import("@aws-sdk/client-s3"));
  const config = { ...(await sharedConfig(options)), followRegionRedirects: true };
  const place = await placeOf(
    (region) => new sdk.S3Client({ ...config, ...region }),
    () => new sdk.ListBucketsCommand({}),
  );
  // Servers of one's own rarely have a name for each bucket.
  const isPath = addressing === undefined ? place.endpoint !== undefined : addressing === "path";
  const client = new sdk.S3Client({ ...config, ...place, ...(isPath ? { forcePathStyle: true } : {}) });
  nameHosts(client);
  return client;
}

/** A KMS client for a region, or for that of the configuration. */
export async function kmsClients(
  options: AwsOptions & { readonly kmsEndpoint?: string },
): Promise<(region: string | undefined) => KMSClient> {
  const sdk = await load("--kms needs", "@aws-sdk/client-kms", () => import("@aws-sdk/client-kms"));
  const endpoint = options.kmsEndpoint ?? environmentEndpoint("AWS_ENDPOINT_URL_KMS") ?? options.endpoint;
  const { region: given, ...config } = await sharedConfig({ ...options, ...optional("endpoint", endpoint) });
  const make = (more: { region?: string }) => new sdk.KMSClient({ ...config, ...more });
  return (region) => {
    const client = make(optional("region", options.region ?? region ?? given));
    nameHosts(client);
    return client;
  };
}

function optional<Name extends string, Value>(name: Name, value: Value | undefined): { [N in Name]?: Value } {
  return (value === undefined ? {} : { [name]: value }) as { [N in Name]?: Value };
}

async function load<Package>(need: string, name: string, sdk: () => Promise<Package>): Promise<Package> {
  try {
    return await sdk();
  } catch (cause) {
    if (codeOf(cause) !== "ERR_MODULE_NOT_FOUND") throw cause;
    throw new CommandFailure(`${need} the package ${name}: npm install ${name}`);
  }
}

/** What clients of all services have in common. */
async function sharedConfig(options: AwsOptions) {
  const { endpoint, profile } = options;
  // The SDK looks for endpoints in the profile that the environment names, whatever a client was told.
  if (profile !== undefined) process.env.AWS_PROFILE = profile;
  const { AWS_REGION, AWS_DEFAULT_REGION } = process.env;
  const ca = await trustedCertificates();
  return {
    requestHandler: {
      connectionTimeout: milliseconds(options.connectTimeout ?? DEFAULT_CONNECT_TIMEOUT),
      socketTimeout: readTimeoutOf(options),
      ...(ca === undefined ? {} : { httpsAgent: { ca } }),
    },
    ...optional("endpoint", endpoint),
    ...optional("profile", profile),
    ...optional("region", options.region ?? (AWS_REGION || AWS_DEFAULT_REGION || undefined)),
  };
}

function environmentEndpoint(name: string): string | undefined {
  const { AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: ignored = "" } = process.env;
  return ignored.toLowerCase() === "true" ? undefined : process.env[name] || undefined;
}

/** The certificates of AWS_CA_BUNDLE, in place of the usual ones, and those that Node would add to these. */
async function trustedCertificates(): Promise<Buffer[] | undefined> {
  const { AWS_CA_BUNDLE, NODE_EXTRA_CA_CERTS } = process.env;
  if (!AWS_CA_BUNDLE) return undefined;
  const { readFile } = await import("node:fs/promises");
  const files = [AWS_CA_BUNDLE, ...(NODE_EXTRA_CA_CERTS ? [NODE_EXTRA_CA_CERTS] : [])];
  return Promise.all(files.map((file) => readFile(file)));
}

/** Servers of one's own have no regions, but signatures have. */
const ANY_REGION = "us-east-1";

type Place = Pick<S3ClientConfig, "endpoint" | "region">;

/** What the SDK finds out only when it sends something: the endpoint, where it is none of AWS, and then a region. */
async function placeOf(
  make: (region: { region?: string }) => S3Client,
  command: () => ListBucketsCommand,
): Promise<Place> {
  const ask = async (region: { region?: string }): Promise<Place> => {
    const client = make(region);
    try {
      await sendNothing(client, command());
      const endpoint = await client.config.endpoint?.();
      return endpoint === undefined ? {} : { endpoint, ...region };
    } finally {
      client.destroy();
    }
  };
  try {
    return await ask({});
  } catch (error) {
    if (!(isError(error) && error.message === "Region is missing")) throw error;
    const place = await ask({ region: ANY_REGION });
    if (place.endpoint === undefined) throw error;
    return place;
  }
}

async function sendNothing(client: S3Client, command: ListBucketsCommand): Promise<void> {
  const answer = async () => ({ output: { $metadata: {} }, response: undefined });
  command.middlewareStack.add(() => answer, {
    step: "build",
    priority: "high",
    name: "framesealSendsNothing",
  });
  await client.send(command);
}

interface Stack {
  add(middleware: unknown, options: { step: "deserialize"; priority: "low"; name: string }): void;
}
interface Answered {
  readonly response?: { readonly body?: { once?(event: "error", listener: (error: unknown) => void): void } };
}

/** Notes to which host each request of a client goes, and which errors were met there. */
function nameHosts(client: { readonly middlewareStack: unknown }): void {
  const step =
    (next: (args: unknown) => Promise<Answered>) =>
    async (args: { readonly request: { readonly hostname: string; readonly port?: number } }) => {
      const { hostname, port } = args.request;
      const host = port === undefined ? hostname : `${hostname}:${port}`;
      contact(host);
      try {
        const result = await next(args);
        result.response?.body?.once?.("error", (error) => metAt(host, error));
        return result;
      } catch (error) {
        metAt(host, error);
        throw error;
      }
    };
  (client.middlewareStack as Stack).add(step, {
    step: "deserialize",
    priority: "low",
    name: "framesealHosts",
  });
}
