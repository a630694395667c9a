// Which calls of a run can fail, and in which ways: from the log of a run in which none did.
import { constants } from "node:os";

/** A call, and what becomes of it. */
export interface CallPoint {
  /** As fail_calls.c names it. */
  readonly name: string;
  /** Counted from 1 among the calls of its name. */
  readonly number: number;
  /** As FAIL_WITH has it. */
  readonly how: string;
  /** `EIO`, `half` and so on. */
  readonly label: string;
  /** Path that the call is for, or what its descriptor leads to. */
  readonly target: string;
}

type Errno = keyof typeof constants.errno;

const errors: Readonly<Record<string, readonly Errno[]>> = {
  open: ["EMFILE", "EIO", "EACCES", "ENOSPC"],
  read: ["EIO", "EINTR"],
  pread: ["EIO", "EINTR"],
  write: ["EIO", "ENOSPC", "EDQUOT", "EINTR"],
  pwrite: ["EIO", "ENOSPC", "EDQUOT", "EINTR"],
  fsync: ["EIO", "ENOSPC", "EDQUOT"],
  ftruncate: ["EIO", "ENOSPC"],
  fchmod: ["EPERM", "EIO"],
  rename: ["EIO", "ENOSPC", "EDQUOT", "EPERM"],
  link: ["EIO", "ENOSPC", "EDQUOT", "EPERM", "EMLINK"],
  unlink: ["EIO", "EPERM", "EBUSY"],
  close: ["EIO", "EDQUOT", "EINTR"],
  statx: ["EIO", "EACCES"],
  fallocate: ["ENOSPC", "EOPNOTSUPP", "EINTR", "EDQUOT"],
  flock: ["ENOLCK", "EINTR", "EWOULDBLOCK"],
  mmap: ["ENOMEM"],
  thread: ["EAGAIN"],
  socket: ["EMFILE", "EACCES"],
  connect: ["ECONNREFUSED", "ENETUNREACH", "EINTR"],
  send: ["EIO", "ECONNRESET"],
  receive: ["EIO", "ECONNRESET"],
  getrandom: ["EINTR", "ENOSYS"],
  scandir: ["EIO", "EMFILE"],
  readlink: ["EIO"],
  mkdir: ["EIO", "ENOSPC"],
  pipe: ["EMFILE"],
  poll: ["EINTR", "ENOMEM"],
  ioctl: ["EIO"],
  fcntl: ["EINVAL"],
  realpath: ["EIO"],
  copy: ["EIO"],
  access: ["EACCES"],
  rmdir: ["EIO", "EBUSY"],
  symlink: ["EIO", "ENOSPC"],
  times: ["EIO", "EPERM"],
  chmod: ["EIO", "EPERM"],
  chown: ["EIO", "EPERM"],
};
/** What may happen to calls upon pipes and sockets in place of that. */
const ofPipes: readonly Errno[] = ["EIO", "EINTR", "EAGAIN"];
const ofSockets: readonly Errno[] = ["EIO", "EINTR", "EAGAIN", "ECONNRESET"];
const moving: ReadonlySet<string> = new Set(["read", "pread", "write", "pwrite"]);

/** All points of the calls that `log` has. */
export function pointsOf(log: string): CallPoint[] {
  return log
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("hit "))
    .flatMap((line) => {
      const [, name = "", number = "", target = ""] = /^(\w+) (\d+) (.*)$/.exec(line) ?? [];
      return waysOf(name, target).map(({ how, label }) => ({
        name,
        number: Number(number),
        how,
        label,
        target,
      }));
    });
}

/**
 * Whether a point is of the loading of code: Node's own work, which it does not check for short reads, and where it
 * ends the process itself when a file cannot be closed.
 */
export const isOfModules = ({ target }: Pick<CallPoint, "target">): boolean =>
  /\/(dist|node_modules|build)\//.test(target);

function waysOf(name: string, target: string): { how: string; label: string }[] {
  const isMoving = moving.has(name);
  const own = name === "close" && isOfModules({ target }) ? [] : (errors[name] ?? []);
  const codes = !isMoving
    ? own
    : target.startsWith("pipe:")
      ? ofPipes
      : target.startsWith("socket:")
        ? ofSockets
        : own;
  const ways = codes.map((code) => ({ how: `error ${constants.errno[code]}`, label: code as string }));
  const others =
    isMoving && !isOfModules({ target }) ? ["half", "one", "kill", "killed"] : ["kill", "killed"];
  return [...ways, ...others.map((how) => ({ how, label: how }))];
}
