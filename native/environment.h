// What one Node environment (main thread, worker thread or context) owns. Nothing else is shared between them but the
// immutable kernel table.
#pragma once
#include <cstdint>
#include <memory>

#include "crew.h"
#include "gcm/gcm.h"
#include "hash_thread.h"
#include "scoped_state.h"
#include "slot_table.h"

namespace frameseal {

/** An expanded key. Messages in progress share it, so that it outlives `disposeKey`; the last one wipes it. */
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

class PumpTask;

/** Work that runs beside JavaScript shares it, so that the last to end finds it alive. */
struct Environment : std::enable_shared_from_this<Environment> {
  SlotTable<NativeKey> keys;
  SlotTable<NativeMessage> messages;
  SlotTable<HashThread> hashes;
  SlotTable<PumpTask> pumps;
  /** Held so that its threads live as long as any environment. */
  std::shared_ptr<Crew> crew = Crew::shared();
  /** Set once by `setScratch`; kept alive by a reference. */
  uint8_t* scratch = nullptr;
  size_t scratch_length = 0;
};

}  // namespace frameseal
