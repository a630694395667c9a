// What a CopySource names, in all the ways people write it, and that what is written is read as the same again.
import { expect, test } from "vitest";
import { formatCopySource, parseCopySource } from "../../src/s3/copy-source.ts";

const arn = "arn:aws:s3:us-west-2:123456789012:accesspoint/my-point";
const outpost = "arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-01/accesspoint/my-point";
const old = "arn:aws:s3-outposts:us-west-2:123456789012:outpost/my-outpost";

test.each([
  ["b/k", "b", "k", undefined],
  ["/b/k", "b", "k", undefined],
  ["b//k", "b", "/k", undefined],
  ["b/k/", "b", "k/", undefined],
  ["b/a/b/c.txt", "b", "a/b/c.txt", undefined],
  ["b%2Fk", "b", "k", undefined],
  ["%2Fb%2Fa%2Fb", "b", "a/b", undefined],
  ["b/a%2Fb", "b", "a/b", undefined],
  ["b/a+b", "b", "a+b", undefined],
  ["b/a%2Bb", "b", "a+b", undefined],
  ["b/a%20b c", "b", "a b c", undefined],
  ["b/a%252Fb", "b", "a%2Fb", undefined],
  ["b/ä%C3%A4", "b", "ää", undefined],
  ["b/what?.txt", "b", "what?.txt", undefined],
  ["b/what?.txt?versionId=1", "b", "what?.txt", "1"],
  ["b/a?versionId=1?versionId=2", "b", "a?versionId=1", "2"],
  ["b/a%3FversionId=1", "b", "a?versionId=1", undefined],
  ["b/a&b=c", "b", "a&b=c", undefined],
  ["b/k?versionId=a%2Bb", "b", "k", "a+b"],
  ["b/k?versionId=a.b_c-d", "b", "k", "a.b_c-d"],
  ["b/k?versionId=null", "b", "k", "null"],
  ["b/object/k", "b", "object/k", undefined],
  [`${arn}/object/k`, arn, "k", undefined],
  [`/${arn}/object/a/object/b`, arn, "a/object/b", undefined],
  [encodeURIComponent(`${arn}/object/a/b`), arn, "a/b", undefined],
  [`${arn}/object/k?versionId=1`, arn, "k", "1"],
  [`${arn.replace("aws", "aws-cn")}/object/k`, arn.replace("aws", "aws-cn"), "k", undefined],
  [
    "arn:aws:s3::123456789012:accesspoint/m.mrap/object/k",
    "arn:aws:s3::123456789012:accesspoint/m.mrap",
    "k",
    undefined,
  ],
  [`${outpost}/object/a/b`, outpost, "a/b", undefined],
  [`${old}/object/a/b`, old, "a/b", undefined],
])("%s", (text, bucket, key, versionId) => {
  const source = parseCopySource(text);
  expect(source).toEqual({ bucket, key, versionId });
  const written = formatCopySource(source);
  expect(written).toMatch(/^[A-Za-z0-9\-_.!~*'()%/]+(\?versionId=[A-Za-z0-9\-_.!~*'()%]+)?$/);
  expect(parseCopySource(written)).toEqual(source);
});

test.each([
  ...[
    "",
    "/",
    "b",
    "b/",
    "/b",
    "/b/",
    "//k",
    "b/100%",
    "b/%zz",
    "b/%ff",
    "b/k?versionId=",
    "b/k?versionId=%",
  ],
  ...[arn, `${arn}/k`, `${arn}/object/`, "arn:aws:s3:::b/k", "arn:aws:iam::1:role/x/object/k"],
  ...[undefined, null, 1, {}],
])("%s is none", (text) => expect(() => parseCopySource(text)).toThrow(TypeError));

test("half a surrogate pair cannot be written", () => {
  expect(() => formatCopySource({ bucket: "b", key: "\ud800", versionId: undefined })).toThrow(TypeError);
});
