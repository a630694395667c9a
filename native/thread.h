// One thread that its owner starts and joins: the only place that knows how this system makes one. Plain C++; knows
// nothing of Node.
#pragma once

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace frameseal {

/**
 * A thread, or none yet. All methods are for the owner. On systems without POSIX threads none ever starts, and whoever
 * asked does the work himself.
 */
class Thread {
 public:
  /** What a thread does until it returns. */
  using Run = void (*)(void* owner) noexcept;

  Thread() = default;
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;
  /** Waits for its end, as `join`: the owner has asked for that before. */
  ~Thread() { join(); }

  /**
   * Runs `run(owner)` on a thread of this name, 15 characters at most, which no signal interrupts: those are the
   * program's own threads' business. False if the system has no thread for us; then nothing has begun, and it may be
   * tried again.
   */
  bool start(const char* name, Run run, void* owner) noexcept;
  /** True from a successful `start` to `join`. */
  bool is_started() const noexcept { return is_started_; }
  /** Waits for the end of what was started, if anything was. */
  void join() noexcept;

 private:
  const char* name_ = nullptr;
  Run run_ = nullptr;
  void* owner_ = nullptr;
  bool is_started_ = false;
#if !defined(_WIN32)
  static void* begin(void* self) noexcept;
  pthread_t thread_{};
#endif
};

}  // namespace frameseal
