// Threads that help with work for as long as one call lasts: the caller works along, and nothing it lent is touched after
// the call. Plain C++; knows nothing of Node or of cryptography.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>

namespace frameseal {

/** Work in units that can be done in any order, on several threads at a time. */
class Work {
 public:
  virtual void run(size_t unit) noexcept = 0;

 protected:
  ~Work() = default;
};

/**
 * Helping threads, started when they are first needed. One that has just worked looks out for more for some
 * microseconds before it sleeps, because waking it takes longer than sealing 100 KiB.
 */
class Crew {
 public:
  static constexpr size_t kMaxHelpers = 31;

  /** The crew of this process. Its threads end when the last holder lets go of it. */
  static std::shared_ptr<Crew> shared();
  Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  /** No call of `run` may be under way. */
  ~Crew();

  /**
   * Does units 0 to `count` - 1 on this thread and on up to `helpers` others, as far as there are cores and helpers that
   * are idle. Waits for no helper that has not started yet. When it returns no other thread looks at `work` any more. Any
   * number of threads may call it at a time.
   */
  void run(Work& work, size_t count, size_t helpers) noexcept;

 private:
  struct Task;
  struct Helper;
  bool is_started(size_t index) noexcept;

  std::unique_ptr<std::array<Helper, kMaxHelpers>> helpers_;
  size_t max_helpers_;
  std::atomic<size_t> started_{0};
  std::mutex starting_;
};

}  // namespace frameseal
