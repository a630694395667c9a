// What one Node environment (main thread, worker thread or context) owns. Nothing else is shared between them but the
// immutable kernel table.
#pragma once
#include <cstdint>
#include <memory>

#include "gcm/gcm.h"
#include "hash_thread.h"
#include "scoped_state.h"
#include "slot_table.h"

namespace frameseal {

/** An expanded key. Jobs on other threads share it, so that it outlives `disposeKey`; the last one wipes it. */
struct NativeKey {
  gcm::Key key;
  ~NativeKey() { gcm::key_wipe(key); }
};

/** One message in progress, sealed or opened in pieces. */
struct NativeMessage {
  std::shared_ptr<NativeKey> key;
  ScopedState state;
  uint64_t length = 0;
};

/** Jobs share it, so that the last one to end finds it alive. */
struct Environment : std::enable_shared_from_this<Environment> {
  SlotTable<NativeKey> keys;
  SlotTable<NativeMessage> messages;
  SlotTable<HashThread> hashes;
  /** Pieces of work that are on other threads now. */
  uint32_t active_works = 0;
  uint32_t core_count = 1;
  /** Threads that hash a message now. */
  uint32_t hash_threads = 0;
  /** Set once by `setScratch`; kept alive by a reference. */
  uint8_t* scratch = nullptr;
  size_t scratch_length = 0;
};

}  // namespace frameseal
