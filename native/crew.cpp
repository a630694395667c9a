#include "crew.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "thread.h"

namespace frameseal {
namespace {

/** How long an idle helper, or a caller that waits for one, looks on before it sleeps. */
constexpr std::chrono::microseconds kLookOut{50};
constexpr int kLooksPerClock = 32;

void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

/** Calls `is_true` until it is, or until it has looked for long enough. */
template <typename Predicate>
bool look_out(Predicate is_true) noexcept {
  const auto end = std::chrono::steady_clock::now() + kLookOut;
  do {
    for (int i = 0; i < kLooksPerClock; i++) {
      if (is_true()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return is_true();
}

}  // namespace

/** Lies on the stack of the caller. */
struct alignas(64) Crew::Task {
  Work& work;
  const size_t count;
  std::atomic<size_t> next{0};

  void run_units() noexcept {
    for (size_t unit; (unit = next.fetch_add(1, std::memory_order_relaxed)) < count;) work.run(unit);
  }
};

struct alignas(64) Crew::Helper {
  /** kIdle, kStop, or the address of a task: as it is while offered, when the caller may still take it back; plus kTaken. */
  std::atomic<uintptr_t> task{kIdle};
  /** 1 while the helper sleeps, or is about to. */
  std::atomic<int> asleep{0};
  Thread thread;

  static constexpr uintptr_t kIdle = 0;
  static constexpr uintptr_t kTaken = 1;
  static constexpr uintptr_t kStop = 2;
  static_assert(alignof(Task) > kStop);

  bool offer(uintptr_t offered) noexcept {
    uintptr_t idle = kIdle;
    // Sequentially consistent, as in `await`: either the helper sees the task before it sleeps, or we see it asleep.
    if (!task.compare_exchange_strong(idle, offered)) return false;
    if (asleep.exchange(0) == 1) asleep.notify_one();
    return true;
  }
  /** Takes an offer back, or waits until the helper has no more to do with it. */
  void dismiss(uintptr_t offered) noexcept {
    const uintptr_t taken = offered | kTaken;
    if (task.compare_exchange_strong(offered, kIdle)) return;
    const auto has_left = [&] { return task.load(std::memory_order_acquire) != taken; };
    while (!look_out(has_left)) task.wait(taken, std::memory_order_acquire);
  }
  void serve() noexcept {
    for (uintptr_t offered; (offered = await()) != kStop;) {
      const uintptr_t taken = offered | kTaken;
      if (offered == kIdle || !task.compare_exchange_strong(offered, taken)) continue;  // taken back
      reinterpret_cast<Task*>(offered)->run_units();
      task.store(kIdle, std::memory_order_release);
      task.notify_all();  // a caller that went to sleep over it
    }
  }
  /** Waits for an offer; returns what it saw. */
  uintptr_t await() noexcept {
    const auto is_offered = [this] { return task.load(std::memory_order_acquire) != kIdle; };
    while (!look_out(is_offered)) {
      asleep.store(1);
      if (task.load() == kIdle) asleep.wait(1);
      asleep.store(0);
    }
    return task.load(std::memory_order_acquire);
  }
  static void run(void* self) noexcept { static_cast<Helper*>(self)->serve(); }
};

std::shared_ptr<Crew> Crew::shared() {
  static std::mutex& mutex = *new std::mutex;  // never destroyed: threads may outlive static objects
  static std::weak_ptr<Crew>& current = *new std::weak_ptr<Crew>;
  const std::lock_guard lock(mutex);
  std::shared_ptr<Crew> crew = current.lock();
  if (crew == nullptr) current = crew = std::make_shared<Crew>();
  return crew;
}

Crew::Crew()
    : helpers_(std::make_unique<std::array<Helper, kMaxHelpers>>()),
      max_helpers_(std::min<size_t>(kMaxHelpers, std::max(1u, std::thread::hardware_concurrency()) - 1)) {}

Crew::~Crew() {
  for (size_t i = 0; i < started_.load(); i++) (*helpers_)[i].offer(Helper::kStop);  // their threads join
}

void Crew::run(Work& work, size_t count, size_t helpers) noexcept {
  Task task{work, count};
  const uintptr_t address = reinterpret_cast<uintptr_t>(&task);
  std::array<Helper*, kMaxHelpers> crew;
  size_t size = 0;
  const size_t wanted = std::min({helpers, max_helpers_, count == 0 ? 0 : count - 1});
  for (size_t i = 0; i < max_helpers_ && size < wanted && is_started(i); i++) {
    Helper& helper = (*helpers_)[i];
    if (helper.offer(address)) crew[size++] = &helper;
  }
  task.run_units();
  for (size_t i = 0; i < size; i++) crew[i]->dismiss(address);
}

/** Starts the helper if it is the next one; false if the system has no thread for us. */
bool Crew::is_started(size_t index) noexcept {
  if (index < started_.load(std::memory_order_acquire)) return true;
  const std::lock_guard lock(starting_);
  if (index < started_.load()) return true;
  Helper& helper = (*helpers_)[index];
  if (!helper.thread.start("frameseal crew", Helper::run, &helper)) return false;
  started_.store(index + 1, std::memory_order_release);
  return true;
}

}  // namespace frameseal
