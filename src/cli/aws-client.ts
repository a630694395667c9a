// Clients of AWS services as the AWS command line would configure them: endpoints, regions, profiles and certificates
// from options, environment and configuration files. What the SDK does by itself is left to it.
import type { KMSClient } from "@aws-sdk/client-kms";
import type { ListBucketsCommand, S3Client, S3ClientConfig } from "@aws-sdk/client-s3";
import type { Command } from "commander";
import { isError } from "../shapes.ts";
import { lastHost, noteAnswer, noteFailure, noteRequest, type Service } from "./contacted.ts";
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
  /** Requests in flight at most, of operations on trees. */
  readonly transfers?: number;
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
      const host = lastHost();
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

/** `30`, `30s`, `5m`, `2h`, `1d` as seconds. */
export function parseDuration(text: string): number {
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
  nameHosts("s3", client);
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
    nameHosts("kms", client);
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
  for (const [name, value] of Object.entries(process.env))
    if (name.startsWith("AWS_") && value === "") delete process.env[name]; // is none
  // The SDK looks for endpoints in the profile that the environment names, whatever a client was told.
  if (profile !== undefined) process.env.AWS_PROFILE = profile;
  const { AWS_REGION, AWS_DEFAULT_REGION } = process.env;
  for (const name of ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_KMS"]) checkUrl(name);
  const ca = await trustedCertificates();
  const maxSockets = Math.max(SOCKETS, (options.transfers ?? 0) + SPARE_SOCKETS);
  return {
    requestHandler: {
      connectionTimeout: milliseconds(options.connectTimeout ?? DEFAULT_CONNECT_TIMEOUT),
      socketTimeout: readTimeoutOf(options),
      httpAgent: { maxSockets, keepAlive: true },
      httpsAgent: { maxSockets, keepAlive: true, ...optional("ca", ca) },
    },
    logger: silentLogger,
    ...optional("endpoint", endpoint),
    ...optional("profile", profile),
    ...optional("credentials", profile === undefined ? environmentCredentials() : undefined),
    ...optional("region", options.region ?? AWS_REGION ?? AWS_DEFAULT_REGION),
  };
}

/** As many as the SDK has by default. */
const SOCKETS = 50;
/** For listings and what else does not wait in the queue. */
const SPARE_SOCKETS = 8;

function checkUrl(name: string): void {
  const url = environmentEndpoint(name);
  if (url === undefined || /^https?:$/.test(URL.canParse(url) ? new URL(url).protocol : "")) return;
  throw new UsageError(`${name} is no address such as https://s3.example.com`);
}

// The SDK would prefer the profile that the environment names.
function environmentCredentials() {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = process.env;
  if (AWS_ACCESS_KEY_ID === undefined || AWS_SECRET_ACCESS_KEY === undefined) return undefined;
  return {
    accessKeyId: AWS_ACCESS_KEY_ID,
    secretAccessKey: AWS_SECRET_ACCESS_KEY,
    ...optional("sessionToken", AWS_SESSION_TOKEN),
  };
}

const ignore = (): void => {};
/** Advice of the SDK to programmers is not for the users of this one. */
const silentLogger = { debug: ignore, info: ignore, warn: ignore, error: ignore };

function environmentEndpoint(name: string): string | undefined {
  const { AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: ignored = "" } = process.env;
  return ignored.toLowerCase() === "true" ? undefined : process.env[name];
}

/** The certificates of AWS_CA_BUNDLE, in place of the usual ones, and those that Node would add to these. */
async function trustedCertificates(): Promise<Buffer[] | undefined> {
  const { AWS_CA_BUNDLE, NODE_EXTRA_CA_CERTS } = process.env;
  if (AWS_CA_BUNDLE === undefined) return undefined;
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
      const url = await endpointOf(client, command());
      return url.href === (await usualEndpointOf(client)).href ? {} : { endpoint: url.href, ...region };
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

/** Where a command would be sent. */
async function endpointOf(client: S3Client, command: ListBucketsCommand): Promise<URL> {
  let url: URL | undefined;
  command.middlewareStack.add(
    (_, context) => async () => {
      url = (context as { readonly endpointV2?: { readonly url: URL } }).endpointV2?.url;
      return { output: { $metadata: {} }, response: undefined };
    },
    { step: "build", priority: "high", name: "framesealSendsNothing" },
  );
  await client.send(command);
  if (url === undefined) throw new Error("internal error: the SDK has no endpoint");
  return url;
}

async function usualEndpointOf({ config }: S3Client): Promise<URL> {
  const { url } = config.endpointProvider({
    Region: await config.region(),
    UseFIPS: await config.useFipsEndpoint(),
    UseDualStack: await config.useDualstackEndpoint(),
  });
  return url;
}

interface Stack {
  add(middleware: unknown, options: { step: "deserialize"; priority: "high"; name: string }): void;
}
interface Answered {
  readonly response?: {
    readonly statusCode?: number;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: { once?(event: "error", listener: (error: unknown) => void): void };
  };
}

/** Notes to which host each request of a client goes, and which errors were met there. */
function nameHosts(service: Service, client: { readonly middlewareStack: unknown }): void {
  const step =
    (next: (args: unknown) => Promise<Answered>, { commandName = "" }: { readonly commandName?: string }) =>
    async (args: { readonly request: { readonly hostname: string; readonly port?: number } }) => {
      const { hostname, port } = args.request;
      const host = port === undefined ? hostname : `${hostname}:${port}`;
      noteRequest(service, host, commandName.replace(/Command$/, ""));
      try {
        const result = await next(args);
        checkAnswer(host, result);
        noteAnswer(service);
        result.response?.body?.once?.("error", (error) => noteFailure(service, host, error));
        return result;
      } catch (error) {
        noteFailure(service, host, error);
        throw error;
      }
    };
  (client.middlewareStack as Stack).add(step, {
    step: "deserialize",
    priority: "high",
    name: "framesealHosts",
  });
}

// The login page of a network answers everything, and says that all went well.
function checkAnswer(host: string, { response }: Answered): void {
  const { statusCode = 0, headers = {} } = response ?? {};
  const isPage = /^text\/html\b/i.test(headers["content-type"] ?? "");
  const isOfService = Object.keys(headers).some((name) => name === "etag" || name.startsWith("x-am"));
  if (statusCode < 300 && isPage && !isOfService)
    throw new CommandFailure(`${host} answered with a web page, which is not of S3 or KMS`);
}
