// Moves one message from descriptor to descriptor: reads, seals or opens, and writes, on threads that take turns, without
// JavaScript between. Plain C++ and POSIX; knows nothing of Node.
//
// Each thread reads a unit of whole frames into memory of its own, works on it there, and writes it. Reading is in order
// and one at a time; so is writing, except to files that are written by position. What a thread holds fits into a core's
// second-level cache, so a byte travels to memory once on its way in and once on its way out.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "frame_run.h"

namespace frameseal {

enum class PumpStatus : uint8_t {
  kDone,
  kCancelled,
  kNotAuthentic,
  kTruncated,
  kTrailingData,
  kTooLong,
  kTooManyFrames,
  kReadFailed,
  kWriteFailed,
};

enum class PumpDirection : uint8_t { kSeal, kOpen };

/** What to move where. Descriptors are borrowed; those of pipes must not block. */
struct PumpPlan {
  PumpDirection direction = PumpDirection::kSeal;
  int input = -1;
  /** Negative: what was opened is verified and dropped. */
  int output = -1;
  /** Where to read on in a file; negative: from where the descriptor stands. */
  int64_t input_at = -1;
  /** Where to write on in a file; negative: in order, where the descriptor stands. */
  int64_t output_at = -1;
  /** Bytes that the output will have if all goes well, reserved at once; 0 if that is not known. */
  uint64_t reserved_length = 0;
  uint64_t max_plaintext_length = ~uint64_t{0};
  /** Highest number that the final frame may have. */
  uint32_t max_frame_count = 0xffffffffu;
  /** Sealing: written first, the header. Opening: read already, what stands behind the header. */
  std::vector<uint8_t> head;
};

/** What became of it. What was verified before a failure has been written. */
struct PumpResult {
  PumpStatus status = PumpStatus::kDone;
  /** The system's error number behind kReadFailed and kWriteFailed. */
  int error = 0;
  /** Frames before the failure. */
  uint32_t frame_count = 0;
  uint64_t read_length = 0;
  uint64_t written_length = 0;
  uint64_t plaintext_length = 0;
};

/** One message under way. The key must stay alive until every `run` has returned. */
class Pump {
 public:
  Pump(const gcm::Key& key, const uint8_t* format, size_t format_length, PumpPlan plan);
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;
  ~Pump();

  /** False if `format` is no frame format, or one of frames beyond 64 MiB. */
  bool is_ready() const noexcept { return is_ready_; }
  /** Works until nothing is left to do. To be called by one or more threads. */
  void run() noexcept;
  /** Makes every `run` return soon, also one that waits for the other end of a pipe. From any thread. */
  void cancel() noexcept;
  /** Bytes of input so far. From any thread. */
  uint64_t read_length() const noexcept { return read_length_.load(std::memory_order_relaxed); }
  /** After every `run` has returned. */
  PumpResult result() const noexcept;

 private:
  struct Memory;
  /** Frames that a thread has taken on, in the order of `index`. */
  struct Unit {
    uint64_t index = 0;
    Run run;
    int64_t output_at = -1;
    bool is_last = false;
    bool has_more_behind = false;
  };
  /** Whole frames in the bytes that were read. */
  struct Cut {
    size_t length = 0;
    uint32_t frame_count = 0;
    int64_t final_length = -1;
    /** What is wrong with the frame behind them; kDone if nothing can be seen yet. */
    PumpStatus fault = PumpStatus::kDone;
  };
  enum class Claim : uint8_t { kUnit, kNothing };
  enum class Wait : uint8_t { kReady, kTimeout, kStopped };

  Claim claim(Memory& memory, Unit& unit) noexcept;
  void fill(uint8_t* to, size_t& length) noexcept;
  Cut cut(const uint8_t* bytes, size_t length, bool at_end) const noexcept;
  int64_t read_some(uint8_t* to, size_t length) noexcept;
  bool work(Memory& memory, const Unit& unit) noexcept;
  void expect_end(const Unit& unit) noexcept;
  bool write(const uint8_t* bytes, size_t length, const Unit& unit) noexcept;
  bool write_all(const uint8_t* bytes, size_t length, int64_t at, uint64_t index) noexcept;
  bool reserve() noexcept;
  bool wait_for_turn(uint64_t index) noexcept;
  void end_turn() noexcept;
  Wait wait(int descriptor, short events, int timeout_ms) noexcept;
  void fail(uint64_t index, PumpStatus status, int error, uint32_t frame_count) noexcept;
  bool is_stopped() const noexcept;

  const gcm::Key& key_;
  PumpPlan plan_;
  std::vector<uint8_t> format_bytes_;
  FrameFormat format_;
  bool is_ready_ = false;
  /** Tells those who wait for a pipe; negative where the system had no descriptors left for it. */
  int cancel_pipe_[2] = {-1, -1};
  std::atomic<bool> is_cancelled_{false};

  size_t input_capacity_ = 0;
  size_t output_capacity_ = 0;

  /** Guards what follows: the order of reading. */
  std::mutex input_mutex_;
  std::vector<uint8_t> carry_;
  size_t carry_start_ = 0;
  bool is_ended_ = false;
  uint64_t next_index_ = 0;
  uint32_t next_sequence_ = 1;
  int64_t input_at_;
  int64_t output_at_;
  uint64_t plaintext_length_ = 0;
  int input_error_ = 0;
  std::atomic<uint64_t> read_length_{0};

  /** Guards what follows: the order of writing, and the first failure. */
  mutable std::mutex output_mutex_;
  std::condition_variable output_turn_;
  uint64_t turn_ = 0;
  uint64_t written_length_ = 0;
  uint64_t failed_index_ = ~uint64_t{0};
  PumpResult failure_;
};

}  // namespace frameseal
