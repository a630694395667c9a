// A thread that hashes one message. Not one of Node's: a long message would keep that from the file system for minutes,
// and handing every piece to another thread of the pool costs a tenth of the speed in wake-ups.
#pragma once
#include <node_api.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>

#include "clean_up_hook.h"
#include "edge.h"
#include "message_digest.h"
#include "thread.h"

namespace frameseal {

/** One hash. All methods are for the JavaScript thread. */
class HashThread : public std::enable_shared_from_this<HashThread> {
 public:
  HashThread() = default;
  HashThread(const HashThread&) = delete;
  HashThread& operator=(const HashThread&) = delete;

  /** May be used here while `is_idle()`. */
  MessageDigest digest;

  /** No piece is waiting or being hashed, and every promise is settled. */
  bool is_idle() const noexcept { return pending_ == 0; }
  /** Hashes `bytes`, which `view` keeps alive, on the thread; returns a promise. */
  napi_value add(napi_env env, napi_value view, Bytes bytes);
  /** No more pieces will come: the thread ends when it has done those it has. */
  void end() noexcept;

 private:
  struct Piece {
    HashThread* hash;
    Bytes bytes;
    napi_deferred deferred;
    napi_ref view;
  };

  bool start(napi_env env) noexcept;
  void work() noexcept;
  /** False if the environment is going down. */
  bool update(const Bytes& bytes) noexcept;
  void join() noexcept;
  static void settle(napi_env env, napi_value, void*, void* piece);
  static void on_thread_ended(napi_env env, void* self, void*);
  static void on_teardown(void* self) noexcept;

  size_t pending_ = 0;
  /** Where the thread reports what it has done; made with the thread, gone with it. */
  napi_threadsafe_function reports_ = nullptr;
  CleanUpHook hook_;

  std::mutex mutex_;
  std::condition_variable changed_;
  /** Guarded by the mutex, like `is_ended_`. */
  std::deque<Piece*> pieces_;
  bool is_ended_ = false;
  std::atomic<bool> is_torn_down_{false};
  Thread thread_;  // last, so that it has ended before anything it uses is gone
};

}  // namespace frameseal
