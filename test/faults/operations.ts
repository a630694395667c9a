// The runs of the command line in which system calls fail: what each is given, and how to tell what it left behind.
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { GetObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { decrypt, type Keyring } from "../../src/index.ts";
import { encryptS3Client } from "../../src/s3.ts";
import type { StoredS3Object } from "../support/s3-objects.ts";
import type { S3Server } from "../support/s3-server.ts";

/** Something that is there before an operation, or is not: the old one, the new and complete one, or anything else. */
export type Standing = "absent" | "old" | "new" | "wrong";

/** Where one run works: a folder of its own and a bucket of its own. */
export interface Place {
  readonly folder: string;
  readonly bucket: string;
  readonly server: S3Server;
  readonly keyring: Keyring;
}

/** One operation of the command line. */
export interface Operation {
  readonly name: string;
  readonly command: "encrypt" | "decrypt" | "put" | "get";
  /** Of the command line, after the command and the key. */
  readonly options: (place: Place) => readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Name of a file that comes through a pipe to standard input. */
  readonly stdin?: string;
  /** Name of a file that gets what comes through a pipe from standard output. */
  readonly stdout?: string;
  /** Prepares the place. */
  readonly before: (place: Place) => void;
  readonly standing: (place: Place) => Promise<Standing>;
}

/** What all operations work on. */
export interface Material {
  readonly plaintext: Buffer;
  readonly message: Buffer;
  readonly large: Buffer;
  readonly oldFile: Buffer;
  /** Stored before, under the key of the same name. */
  readonly objects: Readonly<Record<"old" | "object", StoredS3Object>>;
}

/** Runs in CI are a sample of these. */
export function operationsOn(material: Material): Operation[] {
  const { plaintext, message, large, oldFile, objects } = material;
  const same = (bytes: Buffer | undefined, as: Buffer): boolean => bytes?.equals(as) === true;
  const sealed =
    (name: string, of: Buffer, old?: Buffer) =>
    async (place: Place): Promise<Standing> => {
      const bytes = read(place, name);
      if (bytes === undefined) return "absent";
      if (old !== undefined && bytes.equals(old)) return "old";
      const { keyring } = place;
      return decrypt(bytes, { keyring }).then(
        (opened) => (opened.plaintext.equals(of) ? "new" : "wrong"),
        () => "wrong",
      );
    };
  const opened =
    (name: string, of: Buffer, old?: Buffer) =>
    async (place: Place): Promise<Standing> => {
      const bytes = read(place, name);
      if (bytes === undefined) return "absent";
      if (old !== undefined && same(bytes, old)) return "old";
      return same(bytes, of) ? "new" : "wrong";
    };
  const stored =
    (of: Buffer) =>
    async (place: Place): Promise<Standing> => {
      const object = place.server.buckets.get(place.bucket)?.get("object");
      if (object === undefined) return "absent";
      if (object === objects.old) return "old";
      return same(await fetchObject(place), of) ? "new" : "wrong";
    };
  const bucketOf = ({ server, bucket }: Place): Map<string, StoredS3Object> => {
    const objectsOf = server.buckets.get(bucket);
    if (objectsOf === undefined) throw new Error(`no bucket ${bucket}`);
    return objectsOf;
  };
  const setObject = (object: StoredS3Object | undefined) => (place: Place) => {
    bucketOf(place).clear();
    if (object !== undefined) bucketOf(place).set("object", object);
  };
  const files =
    (names: Readonly<Record<string, Buffer>>) =>
    ({ folder }: Place): void => {
      for (const [name, bytes] of Object.entries(names)) writeFileSync(path.join(folder, name), bytes);
    };
  const network = ({ server }: Place): readonly string[] => [
    "--endpoint",
    server.endpoint,
    "--connect-timeout",
    "3",
    "--read-timeout",
    "3",
  ];
  const address = ({ bucket }: Place): string => `s3://${bucket}/object`;
  const both =
    (...steps: readonly ((place: Place) => void)[]) =>
    (place: Place): void => {
      for (const step of steps) step(place);
    };
  const node = { FRAMESEAL_ENGINE: "node" };

  return [
    {
      name: "encrypt, a new file",
      command: "encrypt",
      options: () => ["-o", "out", "in"],
      before: files({ in: plaintext }),
      standing: sealed("out", plaintext),
    },
    {
      name: "encrypt, over a file",
      command: "encrypt",
      options: () => ["--force", "-o", "out", "in"],
      before: files({ in: plaintext, out: oldFile }),
      standing: sealed("out", plaintext, oldFile),
    },
    {
      name: "encrypt signed, Node engine, over a file",
      command: "encrypt",
      options: () => ["--suite", "0x0578", "--force", "-o", "out", "in"],
      environment: node,
      before: files({ in: plaintext, out: oldFile }),
      standing: sealed("out", plaintext, oldFile),
    },
    {
      name: "encrypt, pipe to pipe",
      command: "encrypt",
      options: () => [],
      stdin: "in",
      stdout: "out",
      before: files({ in: plaintext }),
      standing: sealed("out", plaintext),
    },
    {
      name: "encrypt, pipe to file, Node engine",
      command: "encrypt",
      options: () => ["-o", "out"],
      environment: node,
      stdin: "in",
      before: files({ in: plaintext }),
      standing: sealed("out", plaintext),
    },
    {
      name: "decrypt, a new file",
      command: "decrypt",
      options: () => ["-o", "out", "in"],
      before: files({ in: message }),
      standing: opened("out", plaintext),
    },
    {
      name: "decrypt, over a file",
      command: "decrypt",
      options: () => ["--force", "-o", "out", "in"],
      before: files({ in: message, out: oldFile }),
      standing: opened("out", plaintext, oldFile),
    },
    {
      name: "decrypt, Node engine, over a file",
      command: "decrypt",
      options: () => ["--force", "-o", "out", "in"],
      environment: node,
      before: files({ in: message, out: oldFile }),
      standing: opened("out", plaintext, oldFile),
    },
    {
      name: "decrypt, pipe to pipe",
      command: "decrypt",
      options: () => [],
      stdin: "in",
      stdout: "out",
      before: files({ in: message }),
      standing: opened("out", plaintext),
    },
    {
      name: "put a file, over an object",
      command: "put",
      options: (place) => [...network(place), "in", address(place)],
      before: both(files({ in: plaintext }), setObject(objects.old)),
      standing: stored(plaintext),
    },
    {
      name: "put a pipe in parts, over an object",
      command: "put",
      options: (place) => [...network(place), "-", address(place)],
      stdin: "in",
      before: both(files({ in: large }), setObject(objects.old)),
      standing: stored(large),
    },
    {
      name: "get, a new file",
      command: "get",
      options: (place) => [...network(place), address(place), "out"],
      before: setObject(objects.object),
      standing: opened("out", plaintext),
    },
    {
      name: "get, over a file",
      command: "get",
      options: (place) => [...network(place), "--force", address(place), "out"],
      before: both(files({ out: oldFile }), setObject(objects.object)),
      standing: opened("out", plaintext, oldFile),
    },
    {
      name: "get, to a pipe",
      command: "get",
      options: (place) => [...network(place), address(place), "-"],
      stdout: "out",
      before: setObject(objects.object),
      standing: opened("out", plaintext),
    },
  ];
}

function read({ folder }: Place, name: string): Buffer | undefined {
  try {
    return readFileSync(path.join(folder, name));
  } catch {
    return undefined;
  }
}

const clients = new WeakMap<S3Server, S3Client>();

async function fetchObject({ server, bucket, keyring }: Place): Promise<Buffer | undefined> {
  let client = clients.get(server);
  if (client === undefined) {
    client = server.client();
    clients.set(server, client);
  }
  try {
    const { Body } = await encryptS3Client(client, { keyring }).send(
      new GetObjectCommand({ Bucket: bucket, Key: "object" }),
    );
    return Buffer.from((await Body?.transformToByteArray()) ?? []);
  } catch {
    return undefined;
  }
}
