// A process of its own that works on a journal, for tests that kill it or leave it no room on the disk.
import { openJournal } from "../../../dist/backup/journal/open-journal.js";

const [file, mode] = process.argv.slice(2);
const identity = { endpoint: "https://s3.test", bucket: "bucket", prefix: "p/" };
const row = (key) => ({
  path: key.slice(2),
  key,
  type: "file",
  size: 5,
  mtimeNs: 1_700_000_000_123_456_789n,
  ctimeNs: 1_700_000_000_000_000_001n,
  inode: 2n ** 64n - 1n,
  mode: 0o644,
  uid: 0,
  gid: undefined,
  eTag: '"e"',
  versionId: undefined,
  sha256: "ab".repeat(32),
  run: 3,
});

const journal = await openJournal({ file, identity });
if (mode === "hold") {
  journal.putStored(row("p/held"));
  journal.begin(["p/begun"]);
  console.log("open");
  setInterval(() => {}, 1000);
} else {
  let durable = 0;
  let failure;
  for (let index = 0; failure === undefined; index++)
    try {
      journal.putStored(row(`p/${index}`));
      if (index % 100 === 0) {
        journal.flush();
        durable = index;
      }
    } catch (error) {
      failure = error;
    }
  const again = [() => journal.putNote("a", "b"), () => journal.stored("p/1")].map((call) => {
    try {
      call();
      return "done";
    } catch (error) {
      return error === failure ? "same" : "another";
    }
  });
  journal.close();
  console.log(`durable ${durable}\n${failure.code} ${again.join(" ")}`);
}
