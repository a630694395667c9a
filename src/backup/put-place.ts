// What storing an entry takes: clients, how parts are cut, and whom to tell.
import type * as S3 from "@aws-sdk/client-s3";
import type { PlaceContext } from "./context.ts";
import type { TreeAddress } from "./entry.ts";
import type { Journal } from "./journal/journal.ts";
import type { TransferQueue } from "./transfer/queue.ts";

/** Where and how entries are stored. */
export interface PutPlace {
  readonly sdk: PlaceContext["sdk"];
  /** Encrypts; its states of uploads are those of the journal. */
  readonly client: Pick<S3.S3Client, "send">;
  /** The same for symbolic links: what it stores says in its encryption context that it is one. */
  readonly links: Pick<S3.S3Client, "send">;
  readonly address: TreeAddress;
  readonly queue: TransferQueue;
  readonly journal: Journal | undefined;
  /** Plaintext bytes of a part. */
  readonly partSize: number;
  /** Plaintext bytes of a frame: parts consist of whole ones. */
  readonly frameLength: number;
  /** Bytes that one PutObject of a stream may take. */
  readonly streamMemory: number;
  /** Whether the format that is written can be sent in parts by hand. */
  readonly resumable: boolean;
  /** Further fields of the requests that make objects. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** Bytes of an entry have been sent. */
  readonly onMoved: (path: string, bytes: number) => void;
}
