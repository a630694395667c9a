#include "file_lock.h"

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/file.h>
#if defined(__linux__)
#include <sys/vfs.h>
#else
#include <sys/mount.h>
#include <sys/param.h>
#endif

#include <cerrno>
#include <cstdint>

#include "edge.h"

namespace frameseal {
namespace {

enum class Lock : int { kHeld = 0, kTaken = 1, kUnknown = 2 };

/**
 * True for file systems whose files are reached through one kernel only, which then knows of every lock. Network file
 * systems, FUSE and shares with virtual machines may keep locks to themselves; so may what is not listed here.
 */
bool is_local(int descriptor) noexcept {
  struct statfs about = {};
  int result;
  do result = fstatfs(descriptor, &about);
  while (result != 0 && errno == EINTR);
  if (result != 0) return false;
#if defined(__linux__)
  static constexpr uint32_t kLocal[] = {
      0xef53,      // ext2, ext3, ext4
      0x58465342,  // xfs
      0x9123683e,  // btrfs
      0x2fc12fc1,  // zfs
      0xf2f52010,  // f2fs
      0xca451a4e,  // bcachefs
      0x01021994,  // tmpfs
      0x858458f6,  // ramfs
      0x794c7630,  // overlayfs
      0x3153464a,  // jfs
      0x7366746e,  // ntfs3
      0x2011bab0,  // exfat
      0x4d44,      // fat
  };
  for (const uint32_t type : kLocal) {
    if (static_cast<uint32_t>(about.f_type) == type) return true;
  }
  return false;
#elif defined(MNT_LOCAL)
  return (about.f_flags & MNT_LOCAL) != 0;
#else
  return false;
#endif
}

Lock lock(int descriptor) noexcept {
  if (!is_local(descriptor)) return Lock::kUnknown;
  int result;
  do result = flock(descriptor, LOCK_EX | LOCK_NB);
  while (result != 0 && errno == EINTR);
  if (result == 0) return Lock::kHeld;
  return errno == EWOULDBLOCK ? Lock::kTaken : Lock::kUnknown;
}

}  // namespace

napi_value lock_file(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const auto descriptor = static_cast<int>(args.integer(0, 0x7fffffff));
  if (!args.ok()) return nullptr;
  return number(env, static_cast<int>(lock(descriptor)));
}

}  // namespace frameseal
#endif
