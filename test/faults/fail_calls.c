// For LD_PRELOAD: lets one system call of a process fail, do less than it was asked, or be the last one. Calls are counted
// by their names from the moment when a path that contains FAIL_FROM is opened.
//   FAIL_LOG   a file that gets a line for each call that counts: NAME NUMBER WHAT
//   FAIL_CALL  which one, as `pwrite:3`
//   FAIL_WITH  `error 28`: it is not made, and fails with this number (close is made all the same); `half`, `one`: it gets
//              half of its bytes, or one; `kill`, `killed`: the process is killed before it, or right after it
// What counts are calls upon files, folders, pipes and sockets. Those that the process makes to talk to itself do not, and
// of threads, memory and poll only what frameseal.node asks for: Node and V8 end the process when theirs fail.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

static const char *names[] = {"open",  "read",   "pread",  "write",     "pwrite",  "fsync",     "ftruncate", "fchmod",
                              "rename", "link",   "unlink", "close",     "statx",   "fallocate", "flock",     "mmap",
                              "thread", "socket", "connect", "send",     "receive", "getrandom", "scandir",   "readlink",
                              "mkdir",  "pipe",   "poll",   "ioctl",     "fcntl",   "realpath",  "copy",      "access",
                              "rmdir",  "symlink", "times",  "chmod",    "chown"};
#define NAME_COUNT (sizeof names / sizeof *names)
static atomic_long counts[NAME_COUNT];

static atomic_int started;
static const char *from;
static const char *wanted;
static long wanted_number;
static int log_file = -1;
static enum { NOTHING, ERROR, HALF, ONE, KILL, KILLED } with;
static int error_number;

// Descriptors that the process made for itself.
#define MAX_OWN 4096
static atomic_char own[MAX_OWN];

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }
#define REAL(name)                                     \
  static __typeof__(name) *real;                       \
  if (real == NULL) real = (__typeof__(name) *)next(#name)

__attribute__((constructor)) static void begin(void) {
  from = getenv("FAIL_FROM");
  const char *const log = getenv("FAIL_LOG");
  if (log != NULL) {
    const int opened = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    // Out of the way: with fewer low numbers taken, the process has the descriptors that it would have.
    log_file = fcntl(opened, F_DUPFD_CLOEXEC, 900);
    syscall(SYS_close, opened);
  }
  const char *const call = getenv("FAIL_CALL");
  if (call != NULL && strchr(call, ':') != NULL) {
    wanted = strndup(call, (size_t)(strchr(call, ':') - call));
    wanted_number = strtol(strchr(call, ':') + 1, NULL, 10);
  }
  const char *const how = getenv("FAIL_WITH");
  if (how == NULL) return;
  if (strncmp(how, "error ", 6) == 0) with = ERROR, error_number = atoi(how + 6);
  if (strcmp(how, "half") == 0) with = HALF;
  if (strcmp(how, "one") == 0) with = ONE;
  if (strcmp(how, "kill") == 0) with = KILL;
  if (strcmp(how, "killed") == 0) with = KILLED;
}

static void end(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

static void note(const char *name, long number, const char *what, int descriptor) {
  if (log_file < 0) return;
  char target[256] = "";
  if (descriptor >= 0) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    const long length = syscall(SYS_readlinkat, AT_FDCWD, link, target, sizeof target - 1);
    if (length > 0) target[length] = 0;
  } else if (what != NULL)
    snprintf(target, sizeof target, "%s", what);
  char line[400];
  const int length = snprintf(line, sizeof line, "%s %ld %s\n", name, number, target);
  syscall(SYS_write, log_file, line, length);
}

// Counts a call and tells what is to become of it.
static int due(const char *name, const char *what, int descriptor) {
  if (!atomic_load(&started)) return NOTHING;
  size_t index = 0;
  while (index < NAME_COUNT && strcmp(names[index], name) != 0) index += 1;
  if (index == NAME_COUNT) abort();
  const long number = atomic_fetch_add(&counts[index], 1) + 1;
  const int saved = errno;
  note(name, number, what, descriptor);
  errno = saved;
  if (wanted == NULL || number != wanted_number || strcmp(wanted, name) != 0) return NOTHING;
  note("hit", number, what, descriptor);
  if (with == KILL) end();
  if (with == ERROR) errno = error_number;
  return (int)with;
}

static int due_path(const char *name, const char *path) { return due(name, path, -1); }

static int due_descriptor(const char *name, int descriptor) {
  if (!atomic_load(&started) || descriptor < 0) return NOTHING;
  if (descriptor < MAX_OWN && atomic_load(&own[descriptor])) return NOTHING;
  struct stat stats;
  const int saved = errno;
  const int known = fstatat(descriptor, "", &stats, AT_EMPTY_PATH) == 0 && (stats.st_mode & S_IFMT) != 0;
  errno = saved;
  return known ? due(name, NULL, descriptor) : NOTHING;
}

static int is_ours(void *caller) {
  Dl_info info;
  return dladdr(caller, &info) != 0 && info.dli_fname != NULL && strstr(info.dli_fname, "frameseal.node") != NULL;
}
#define IS_OURS is_ours(__builtin_return_address(0))

static size_t shorter(int fate, size_t length) {
  if (fate == HALF && length > 1) return length / 2;
  if (fate == ONE && length > 1) return 1;
  return length;
}
#define AFTERWARDS(fate) \
  if ((fate) == KILLED) end()

static int open_at(int folder, const char *path, int flags, mode_t mode) {
  REAL(openat64);
  if (!atomic_load(&started) && from != NULL && strstr(path, from) != NULL) atomic_store(&started, 1);
  const int fate = due_path("open", path);
  if (fate == ERROR) return -1;
  const int result = real(folder, path, flags, mode);
  AFTERWARDS(fate);
  return result;
}
static mode_t mode_of(int flags, va_list list) {
  return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(list, mode_t) : 0;
}
#define OPEN(name)                                         \
  EXPORTED int name(const char *path, int flags, ...) {    \
    va_list list;                                          \
    va_start(list, flags);                                 \
    const mode_t mode = mode_of(flags, list);              \
    va_end(list);                                          \
    return open_at(AT_FDCWD, path, flags, mode);           \
  }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                               \
  EXPORTED int name(int folder, const char *path, int flags, ...) { \
    va_list list;                                                  \
    va_start(list, flags);                                         \
    const mode_t mode = mode_of(flags, list);                      \
    va_end(list);                                                  \
    return open_at(folder, path, flags, mode);                     \
  }
OPENAT(openat)

// Calls that move bytes.
#define MOVE(function, name, pointer, extra_types, extra)                                  \
  EXPORTED ssize_t function(int descriptor, pointer bytes, size_t length extra_types) {    \
    REAL(function);                                                                        \
    const int fate = due_descriptor(name, descriptor);                                     \
    if (fate == ERROR) return -1;                                                          \
    const ssize_t result = real(descriptor, bytes, shorter(fate, length) extra);           \
    const int saved = errno;                                                               \
    AFTERWARDS(fate);                                                                      \
    errno = saved;                                                                         \
    return result;                                                                         \
  }
#define WITH(...) , __VA_ARGS__
MOVE(read, "read", void *, , )
MOVE(write, "write", const void *, , )
MOVE(pread64, "pread", void *, WITH(off64_t at), WITH(at))
MOVE(pwrite64, "pwrite", const void *, WITH(off64_t at), WITH(at))
MOVE(recv, "receive", void *, WITH(int flags), WITH(flags))
MOVE(send, "send", const void *, WITH(int flags), WITH(flags))

#define MOVE_PIECES(function, name, extra_types, extra)                                                 \
  EXPORTED ssize_t function(int descriptor, const struct iovec *pieces, int count extra_types) {        \
    REAL(function);                                                                                     \
    const int fate = due_descriptor(name, descriptor);                                                  \
    if (fate == ERROR) return -1;                                                                       \
    struct iovec first;                                                                                 \
    if ((fate == HALF || fate == ONE) && count > 0) {                                                   \
      first = (struct iovec){pieces->iov_base, shorter(fate, pieces->iov_len)};                         \
      pieces = &first;                                                                                  \
      count = 1;                                                                                        \
    }                                                                                                   \
    const ssize_t result = real(descriptor, pieces, count extra);                                       \
    AFTERWARDS(fate);                                                                                   \
    return result;                                                                                      \
  }
MOVE_PIECES(readv, "read", , )
MOVE_PIECES(writev, "write", , )
MOVE_PIECES(preadv64, "pread", WITH(off64_t at), WITH(at))
MOVE_PIECES(pwritev64, "pwrite", WITH(off64_t at), WITH(at))

EXPORTED ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags) {
  REAL(sendmsg);
  const int fate = due_descriptor("send", descriptor);
  if (fate == ERROR) return -1;
  const ssize_t result = real(descriptor, message, flags);
  AFTERWARDS(fate);
  return result;
}
EXPORTED ssize_t recvmsg(int descriptor, struct msghdr *message, int flags) {
  REAL(recvmsg);
  const int fate = due_descriptor("receive", descriptor);
  if (fate == ERROR) return -1;
  const ssize_t result = real(descriptor, message, flags);
  AFTERWARDS(fate);
  return result;
}

// Calls that are made or not. `condition` says whether they count.
#define ALL_OR_NOTHING(function, fate_of, types, arguments) \
  EXPORTED int function types {                             \
    REAL(function);                                         \
    const int fate = fate_of;                               \
    if (fate == ERROR) return -1;                           \
    const int result = real arguments;                      \
    const int saved = errno;                                \
    AFTERWARDS(fate);                                       \
    errno = saved;                                          \
    return result;                                          \
  }
ALL_OR_NOTHING(fsync, due_descriptor("fsync", descriptor), (int descriptor), (descriptor))
ALL_OR_NOTHING(fdatasync, due_descriptor("fsync", descriptor), (int descriptor), (descriptor))
ALL_OR_NOTHING(ftruncate64, due_descriptor("ftruncate", descriptor), (int descriptor, off64_t length),
               (descriptor, length))
ALL_OR_NOTHING(fchmod, due_descriptor("fchmod", descriptor), (int descriptor, mode_t mode), (descriptor, mode))
ALL_OR_NOTHING(fallocate64, due_descriptor("fallocate", descriptor),
               (int descriptor, int mode, off64_t at, off64_t length), (descriptor, mode, at, length))
ALL_OR_NOTHING(flock, due_descriptor("flock", descriptor), (int descriptor, int operation), (descriptor, operation))
ALL_OR_NOTHING(rename, due_path("rename", path), (const char *path, const char *to), (path, to))
ALL_OR_NOTHING(link, due_path("link", path), (const char *path, const char *to), (path, to))
ALL_OR_NOTHING(unlink, due_path("unlink", path), (const char *path), (path))
ALL_OR_NOTHING(mkdir, due_path("mkdir", path), (const char *path, mode_t mode), (path, mode))
ALL_OR_NOTHING(rmdir, due_path("rmdir", path), (const char *path), (path))
ALL_OR_NOTHING(symlink, due_path("symlink", path), (const char *target, const char *path), (target, path))
ALL_OR_NOTHING(utimensat, due_path("times", path),
               (int folder, const char *path, const struct timespec times[2], int flags),
               (folder, path, times, flags))
ALL_OR_NOTHING(futimens, due_descriptor("times", descriptor), (int descriptor, const struct timespec times[2]),
               (descriptor, times))
ALL_OR_NOTHING(chmod, due_path("chmod", path), (const char *path, mode_t mode), (path, mode))
ALL_OR_NOTHING(fchown, due_descriptor("chown", descriptor), (int descriptor, uid_t owner, gid_t group),
               (descriptor, owner, group))
ALL_OR_NOTHING(lchown, due_path("chown", path), (const char *path, uid_t owner, gid_t group),
               (path, owner, group))
ALL_OR_NOTHING(access, due_path("access", path), (const char *path, int mode), (path, mode))
ALL_OR_NOTHING(socket, due_path("socket", ""), (int domain, int type, int protocol), (domain, type, protocol))
ALL_OR_NOTHING(connect, due_descriptor("connect", descriptor),
               (int descriptor, const struct sockaddr *address, socklen_t length), (descriptor, address, length))
ALL_OR_NOTHING(poll, IS_OURS ? due_path("poll", "") : NOTHING, (struct pollfd *list, nfds_t count, int timeout),
               (list, count, timeout))
ALL_OR_NOTHING(getentropy, due_path("getrandom", ""), (void *bytes, size_t length), (bytes, length))
ALL_OR_NOTHING(scandir64, due_path("scandir", path),
               (const char *path, struct dirent64 ***list, int (*filter)(const struct dirent64 *),
                int (*compare)(const struct dirent64 **, const struct dirent64 **)),
               (path, list, filter, compare))

EXPORTED ssize_t getrandom(void *bytes, size_t length, unsigned flags) {
  static ssize_t (*real)(void *, size_t, unsigned);
  if (real == NULL) real = (ssize_t(*)(void *, size_t, unsigned))next("getrandom");
  const int fate = due_path("getrandom", "");
  if (fate == ERROR) return -1;
  const ssize_t result = real(bytes, shorter(fate, length), flags);
  AFTERWARDS(fate);
  return result;
}

EXPORTED ssize_t readlink(const char *path, char *target, size_t length) {
  REAL(readlink);
  const int fate = due_path("readlink", path);
  if (fate == ERROR) return -1;
  const ssize_t result = real(path, target, length);
  AFTERWARDS(fate);
  return result;
}

EXPORTED char *realpath(const char *path, char *resolved) {
  REAL(realpath);
  const int fate = due_path("realpath", path);
  if (fate == ERROR) return NULL;
  char *const result = real(path, resolved);
  AFTERWARDS(fate);
  return result;
}

// The descriptor is gone after a failure too.
static int close_by(int (*really)(int), int descriptor) {
  if (descriptor == log_file && log_file >= 0) return 0;
  const int fate = due_descriptor("close", descriptor);
  if (descriptor >= 0 && descriptor < MAX_OWN) atomic_store(&own[descriptor], 0);
  const int result = really(descriptor);
  AFTERWARDS(fate);
  if (fate != ERROR) return result;
  errno = error_number;
  return -1;
}
EXPORTED int close(int descriptor) {
  REAL(close);
  return close_by(real, descriptor);
}

static void keep(int result, const int *pair) {
  for (int i = 0; result == 0 && i < 2; i += 1)
    if (pair[i] < MAX_OWN) atomic_store(&own[pair[i]], 1);
}
EXPORTED int pipe(int pair[2]) {
  static int (*real)(int *);
  if (real == NULL) real = (int (*)(int *))next("pipe");
  const int fate = due_path("pipe", "");
  const int result = fate == ERROR ? -1 : real(pair);
  keep(result, pair);
  AFTERWARDS(fate);
  return result;
}
EXPORTED int pipe2(int pair[2], int flags) {
  static int (*real)(int *, int);
  if (real == NULL) real = (int (*)(int *, int))next("pipe2");
  const int fate = IS_OURS ? due_path("pipe", "") : NOTHING;
  const int result = fate == ERROR ? -1 : real(pair, flags);
  keep(result, pair);
  AFTERWARDS(fate);
  return result;
}

typedef void *Map(void *, size_t, int, int, int, off64_t);
EXPORTED void *mmap64(void *address, size_t length, int protection, int flags, int descriptor, off64_t at) {
  static Map *real;
  if (real == NULL) real = (Map *)next("mmap64");
  const int fate = IS_OURS ? due_path("mmap", "") : NOTHING;
  if (fate == ERROR) return (void *)-1;
  void *const result = real(address, length, protection, flags, descriptor, at);
  AFTERWARDS(fate);
  return result;
}

EXPORTED int ioctl(int descriptor, unsigned long request, ...) {
  static int (*real)(int, unsigned long, void *);
  if (real == NULL) real = (int (*)(int, unsigned long, void *))next("ioctl");
  va_list list;
  va_start(list, request);
  void *const argument = va_arg(list, void *);
  va_end(list);
  const int fate = IS_OURS ? due_descriptor("ioctl", descriptor) : NOTHING;
  if (fate == ERROR) return -1;
  const int result = real(descriptor, request, argument);
  AFTERWARDS(fate);
  return result;
}
EXPORTED int fcntl64(int descriptor, int command, ...) {
  static int (*real)(int, int, void *);
  if (real == NULL) real = (int (*)(int, int, void *))next("fcntl64");
  va_list list;
  va_start(list, command);
  void *const argument = va_arg(list, void *);
  va_end(list);
  const int fate = IS_OURS ? due_descriptor("fcntl", descriptor) : NOTHING;
  if (fate == ERROR) return -1;
  const int result = real(descriptor, command, argument);
  AFTERWARDS(fate);
  return result;
}

typedef int Create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
EXPORTED int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                            void *argument) {
  static Create *real;
  if (real == NULL) real = (Create *)next("pthread_create");
  const int fate = IS_OURS ? due_path("thread", "") : NOTHING;
  if (fate == ERROR) return error_number;
  const int result = real(thread, attributes, start, argument);
  AFTERWARDS(fate);
  return result;
}

typedef long System(long, long, long, long, long, long, long);
static System *system_call(void) {
  static System *real;
  if (real == NULL) real = (System *)next("syscall");
  return real;
}
static int close_directly(int descriptor) { return (int)system_call()(SYS_close, descriptor, 0, 0, 0, 0, 0); }

EXPORTED long syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long argument[6];
  for (int i = 0; i < 6; i += 1) argument[i] = va_arg(list, long);
  va_end(list);
  if (number == SYS_close) return close_by(close_directly, (int)argument[0]);
  int fate = NOTHING;
  if (number == SYS_statx) {
    const char *const path = (const char *)argument[1];
    fate = path != NULL && path[0] != 0 ? due_path("statx", path) : due_descriptor("statx", (int)argument[0]);
  } else if (number == SYS_copy_file_range)
    fate = due_descriptor("copy", (int)argument[0]);
  else if (number == SYS_getrandom)
    fate = due_path("getrandom", "");
  if (fate == ERROR) return -1;
  const long result =
      system_call()(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
  AFTERWARDS(fate);
  return result;
}
