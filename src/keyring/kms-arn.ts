// Names of AWS KMS keys: `arn:partition:kms:region:account:key/id`, or `…:alias/name`.

/** The parts of an ARN of a KMS key or alias. */
export interface KmsArn {
  readonly partition: string;
  readonly region: string;
  readonly account: string;
  readonly kind: "key" | "alias";
  /** Key id, or name of the alias without `alias/`. */
  readonly id: string;
}

// A region becomes part of a host name: nothing but the characters of regions may pass.
const pattern =
  /^arn:(aws[a-z-]{0,30}):kms:([a-z0-9-]{1,40}):([0-9]{12}):(key|alias)\/([A-Za-z0-9/_-]{1,256})$/;

/** The parts of `text`; undefined unless it is the ARN of a KMS key or alias. */
export function parseKmsArn(text: string): KmsArn | undefined {
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const [, partition = "", region = "", account = "", kind, id = ""] = match;
  if (kind === "key" && id.includes("/")) return undefined;
  return { partition, region, account, kind: kind === "key" ? "key" : "alias", id };
}

/** The text of an ARN. */
export function formatKmsArn({ partition, region, account, kind, id }: KmsArn): string {
  return `arn:${partition}:kms:${region}:${account}:${kind}/${id}`;
}

/** True for a key with replicas in several regions, which share key material and id. */
export function isMultiRegionKey(arn: KmsArn): boolean {
  return arn.kind === "key" && arn.id.startsWith("mrk-");
}

/** True when both name the same key, or replicas of one multi-region key. */
export function areRelatedKeys(a: KmsArn, b: KmsArn): boolean {
  const region = isMultiRegionKey(a) && isMultiRegionKey(b) ? a.region : b.region;
  return formatKmsArn(a) === formatKmsArn({ ...b, region });
}
