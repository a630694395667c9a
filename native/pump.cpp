#include "pump.h"

#if defined(__unix__) || defined(__APPLE__)
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "secret.h"

namespace frameseal {
namespace {

/** Whole frames of about this many bytes at a time: input and output of a thread stay in its core's cache. */
constexpr size_t kUnitLength = 512 * 1024;
/** Frames that have come through a pipe wait this long for more, so that a trickle is not a system call a frame. */
constexpr int kGatherMs = 1;
/** Each thread has memory for a frame of input and of output. */
constexpr uint32_t kMaxFrameLength = 64 * 1024 * 1024;
/** Without a pipe that tells of it, a thread that waits looks this often whether it was cancelled. */
constexpr int kLookMs = 50;
constexpr int kPipeLength = 1024 * 1024;
constexpr uint32_t kFinalMarker = 0xffffffffu;
/** Final frame: marker, sequence number, nonce, then its length. */
constexpr size_t kFinalLengthAt = 20;

uint32_t load32(const uint8_t* from) noexcept {
  return uint32_t{from[0]} << 24 | uint32_t{from[1]} << 16 | uint32_t{from[2]} << 8 | from[3];
}

/** More in a pipe means fewer changes between its two sides; 1 MiB is what Linux allows everybody. */
void widen_pipe([[maybe_unused]] int descriptor) noexcept {
#if defined(F_SETPIPE_SZ)
  if (descriptor >= 0 && fcntl(descriptor, F_GETPIPE_SZ) < kPipeLength) fcntl(descriptor, F_SETPIPE_SZ, kPipeLength);
#endif
}

}  // namespace

/** Input and output of one thread; wiped at the end. */
struct Pump::Memory {
  uint8_t* input;
  uint8_t* output;
  size_t input_length = 0;
  size_t input_capacity;
  size_t output_capacity;

  Memory(size_t input_size, size_t output_size) noexcept
      : input(allocate(input_size)),
        output(allocate(output_size)),
        input_capacity(input_size),
        output_capacity(output_size) {}
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
    if (input != nullptr) wipe(input, input_capacity);
    if (output != nullptr) wipe(output, output_capacity);
    std::free(input);
    std::free(output);
  }
  static uint8_t* allocate(size_t length) noexcept {
    return static_cast<uint8_t*>(std::aligned_alloc(4096, (length + 4095) / 4096 * 4096));
  }
};

Pump::Pump(const gcm::Key& key, const uint8_t* format, size_t format_length, PumpPlan plan)
    : key_(key),
      plan_(std::move(plan)),
      format_bytes_(format, format + format_length),
      input_at_(plan_.input_at),
      output_at_(plan_.output_at) {
  if (!format_.parse(format_bytes_.data(), format_bytes_.size()) || format_.frame_length > kMaxFrameLength) return;
  const size_t frames = std::max<size_t>(1, kUnitLength / format_.frame_length);
  const size_t plaintext = frames * format_.frame_length;
  const size_t sealed = plaintext + frames * (kRegularHead + kTag) + kFinalHead + kTag;
  const bool is_sealing = plan_.direction == PumpDirection::kSeal;
  input_capacity_ = is_sealing ? plaintext : sealed;
  output_capacity_ = is_sealing ? plan_.head.size() + sealed : plaintext + format_.frame_length;
  carry_.reserve(std::max(plan_.head.size(), sealed));
  if (!is_sealing) carry_.assign(plan_.head.begin(), plan_.head.end());
  for (const int end : {plan_.input, plan_.output}) widen_pipe(end);
  is_ready_ = true;
  if (pipe(cancel_pipe_) != 0) return;  // no descriptor left: `wait` does without
  for (const int end : cancel_pipe_) fcntl(end, F_SETFD, FD_CLOEXEC);
}

Pump::~Pump() {
  wipe(carry_.data(), carry_.size());
  for (const int end : cancel_pipe_) {
    if (end >= 0) close(end);
  }
}

void Pump::cancel() noexcept {
  if (is_cancelled_.exchange(true)) return;
  const char byte = 0;
  while (cancel_pipe_[1] >= 0 && ::write(cancel_pipe_[1], &byte, 1) < 0 && errno == EINTR) {
  }
  const std::lock_guard<std::mutex> lock(output_mutex_);
  output_turn_.notify_all();
}

PumpResult Pump::result() const noexcept {
  const std::lock_guard<std::mutex> lock(output_mutex_);
  PumpResult result = failure_;
  if (failed_index_ == ~uint64_t{0} && is_cancelled_) result.status = PumpStatus::kCancelled;
  result.read_length = read_length_.load();
  result.written_length = written_length_;
  result.plaintext_length = plaintext_length_;
  return result;
}

bool Pump::is_stopped() const noexcept {
  if (is_cancelled_.load(std::memory_order_relaxed)) return true;
  const std::lock_guard<std::mutex> lock(output_mutex_);
  return failed_index_ != ~uint64_t{0};
}

void Pump::fail(uint64_t index, PumpStatus status, int error, uint32_t frame_count) noexcept {
  const std::lock_guard<std::mutex> lock(output_mutex_);
  if (index >= failed_index_) return;  // what comes first in the message counts
  failed_index_ = index;
  failure_.status = status;
  failure_.error = error;
  failure_.frame_count = frame_count;
  output_turn_.notify_all();
}

void Pump::run() noexcept {
  Memory memory(input_capacity_, output_capacity_);
  if (memory.input == nullptr || memory.output == nullptr) return fail(0, PumpStatus::kReadFailed, ENOMEM, 0);
  Unit unit;
  while (claim(memory, unit) == Claim::kUnit) {
    if (!work(memory, unit)) return;
    if (unit.is_last) return expect_end(unit);
  }
}

/** Reads the next unit; nothing if there is none, or after a failure. */
Pump::Claim Pump::claim(Memory& memory, Unit& unit) noexcept {
  const std::lock_guard<std::mutex> lock(input_mutex_);
  if (is_ended_ || is_stopped()) return Claim::kNothing;
  unit = Unit{};
  unit.index = next_index_;
  size_t length = std::min(carry_.size() - carry_start_, input_capacity_);
  if (length != 0) std::memcpy(memory.input, carry_.data() + carry_start_, length);
  carry_start_ += length;
  fill(memory.input, length);
  if (is_cancelled_) return Claim::kNothing;
  const Cut found = cut(memory.input, length, is_ended_);
  const uint32_t done = next_sequence_ - 1;
  if (input_error_ != 0) {
    is_ended_ = true;
    fail(unit.index, PumpStatus::kReadFailed, input_error_, done);
    return Claim::kNothing;
  }
  unit.run.frame_length = format_.frame_length;
  unit.run.first_sequence = next_sequence_;
  unit.run.frame_count = found.frame_count;
  unit.run.final_length = found.final_length;
  const bool is_final = found.final_length >= 0;
  const size_t plaintext = unit.run.plaintext_length();
  if (unit.run.total() == 0) {
    // Nothing comes before what is wrong, or the input ends inside a frame.
    is_ended_ = true;
    fail(unit.index, found.fault == PumpStatus::kDone ? PumpStatus::kTruncated : found.fault, 0, done);
    return Claim::kNothing;
  }
  const size_t rest = length - found.length;
  if (carry_start_ == carry_.size()) {
    wipe(carry_.data(), carry_.size());
    carry_.assign(memory.input + found.length, memory.input + length);
    carry_start_ = 0;
  } else {
    carry_start_ -= rest;  // it has just been copied from there
  }
  memory.input_length = found.length;
  unit.is_last = is_final;
  unit.has_more_behind = is_final && carry_start_ != carry_.size();
  is_ended_ = is_final;
  plaintext_length_ += plaintext;
  next_sequence_ += static_cast<uint32_t>(unit.run.total());
  next_index_++;
  if (output_at_ >= 0) {
    const bool is_sealing = plan_.direction == PumpDirection::kSeal;
    unit.output_at = output_at_;
    output_at_ += static_cast<int64_t>(is_sealing ? unit.run.sealed_length() : plaintext);
    if (is_sealing && unit.index == 0) output_at_ += static_cast<int64_t>(plan_.head.size());
  }
  return Claim::kUnit;
}

/**
 * Which whole frames the bytes hold, up to the limits, and what is wrong with the frame behind them: the rules of
 * src/message/frame-walk.ts.
 */
Pump::Cut Pump::cut(const uint8_t* bytes, size_t length, bool at_end) const noexcept {
  Cut found;
  const size_t frame_length = format_.frame_length;
  const bool is_sealing = plan_.direction == PumpDirection::kSeal;
  const size_t input_length = is_sealing ? frame_length : frame_length + kRegularHead + kTag;
  // The last number is kept for a final frame.
  const auto fault_of = [&](size_t text, bool is_final) {
    const uint64_t max = uint64_t{plan_.max_frame_count} - (is_final ? 0 : 1);
    if (uint64_t{next_sequence_} + found.frame_count > max) return PumpStatus::kTooManyFrames;
    const uint64_t before = plaintext_length_ + uint64_t{found.frame_count} * frame_length;
    return before + text > plan_.max_plaintext_length ? PumpStatus::kTooLong : PumpStatus::kDone;
  };
  for (;; found.frame_count++, found.length += input_length) {
    const uint8_t* const frame = bytes + found.length;
    const size_t available = length - found.length;
    const bool is_final = is_sealing ? at_end && available < frame_length
                                     : available >= 4 && load32(frame) == kFinalMarker;
    if (is_final) {
      if (!is_sealing && available < kFinalHead) return found;
      const size_t text = is_sealing ? available : load32(frame + kFinalLengthAt);
      found.fault = text > frame_length ? PumpStatus::kNotAuthentic : fault_of(text, true);
      const size_t whole = is_sealing ? text : kFinalHead + kTag + text;
      if (found.fault != PumpStatus::kDone || available < whole) return found;
      found.final_length = static_cast<int64_t>(text);
      found.length += whole;
      return found;
    }
    if (available < (is_sealing ? input_length : 4)) return found;
    found.fault = fault_of(frame_length, false);
    if (found.fault != PumpStatus::kDone || available < input_length) return found;
  }
}

/**
 * Reads behind `length` bytes until the unit is full or the input ends, which sets `is_ended_`; from a pipe, until a
 * frame is whole and no more has come for a moment.
 */
void Pump::fill(uint8_t* to, size_t& length) noexcept {
  while (length < input_capacity_) {
    const int64_t count = read_some(to + length, input_capacity_ - length);
    if (count > 0) {
      length += static_cast<size_t>(count);
      continue;
    }
    if (count == 0) {
      is_ended_ = true;
      return;
    }
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      input_error_ = errno;
      return;
    }
    const Cut found = cut(to, length, false);
    const bool has_frame = found.frame_count != 0 || found.final_length >= 0 || found.fault != PumpStatus::kDone;
    if (wait(plan_.input, POLLIN, has_frame ? kGatherMs : -1) != Wait::kReady) return;
  }
}

int64_t Pump::read_some(uint8_t* to, size_t length) noexcept {
  for (;;) {
    const ssize_t count = input_at_ >= 0 ? pread(plan_.input, to, length, input_at_) : ::read(plan_.input, to, length);
    if (count < 0 && errno == EINTR) continue;
    if (count > 0) {
      if (input_at_ >= 0) input_at_ += count;
      read_length_.fetch_add(static_cast<uint64_t>(count), std::memory_order_relaxed);
    }
    return count;
  }
}

/** Seals or opens a unit and writes it. False when this thread has nothing more to do. */
bool Pump::work(Memory& memory, const Unit& unit) noexcept {
  const Chunk input{memory.input, memory.input_length};
  if (plan_.direction == PumpDirection::kSeal) {
    const size_t head = unit.index == 0 ? plan_.head.size() : 0;
    if (head != 0) std::memcpy(memory.output, plan_.head.data(), head);
    seal_run(key_, format_, unit.run, ChunkCursor(&input, 1), memory.output + head);
    return write(memory.output, head + unit.run.sealed_length(), unit);
  }
  const size_t verified = open_run(key_, format_, unit.run, ChunkCursor(&input, 1), memory.output);
  const bool is_authentic = verified == unit.run.total();
  const size_t length = is_authentic ? unit.run.plaintext_length() : verified * format_.frame_length;
  // Before this turn ends, so that nothing behind the bad frame is written.
  if (!is_authentic) {
    fail(unit.index, PumpStatus::kNotAuthentic, 0, unit.run.first_sequence - 1 + static_cast<uint32_t>(verified));
  }
  return write(memory.output, length, unit) && is_authentic;
}

/** Opening: nothing may follow the final frame. */
void Pump::expect_end(const Unit& unit) noexcept {
  if (plan_.direction == PumpDirection::kSeal) return;
  bool has_more = unit.has_more_behind;
  while (!has_more) {
    uint8_t byte = 0;
    const int64_t count = read_some(&byte, 1);
    if (count == 0) return;
    if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
      return fail(unit.index, PumpStatus::kReadFailed, errno, unit.run.frame_count);
    has_more = count > 0;
    if (!has_more && wait(plan_.input, POLLIN, -1) == Wait::kStopped) return;
  }
  fail(unit.index, PumpStatus::kTrailingData, 0, unit.run.frame_count);
}

bool Pump::write(const uint8_t* bytes, size_t length, const Unit& unit) noexcept {
  if (unit.output_at >= 0) return write_all(bytes, length, unit.output_at, unit.index);
  if (!wait_for_turn(unit.index)) return false;
  const bool is_written = write_all(bytes, length, -1, unit.index);
  if (is_written) end_turn();
  return is_written;
}

bool Pump::write_all(const uint8_t* bytes, size_t length, int64_t at, uint64_t index) noexcept {
  const size_t whole = length;
  if (index == 0 && !reserve()) return false;
  while (length != 0 && plan_.output >= 0) {
    if (is_cancelled_.load(std::memory_order_relaxed)) return false;
    const ssize_t count = at >= 0 ? pwrite(plan_.output, bytes, length, at) : ::write(plan_.output, bytes, length);
    if (count > 0) {
      bytes += count;
      length -= static_cast<size_t>(count);
      if (at >= 0) at += count;
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (wait(plan_.output, POLLOUT, -1) == Wait::kStopped) return false;
      continue;
    }
    fail(index, PumpStatus::kWriteFailed, count == 0 ? EIO : errno, 0);
    return false;
  }
  const std::lock_guard<std::mutex> lock(output_mutex_);
  written_length_ += whole;
  return true;
}

/** Asks for the disk space of the whole output at once, so that a full disk is noticed before the work is done. */
bool Pump::reserve() noexcept {
#if defined(__linux__)
  if (plan_.reserved_length == 0 || plan_.output_at < 0) return true;
  if (fallocate(plan_.output, 0, 0, static_cast<off_t>(plan_.reserved_length)) == 0) return true;
  if (errno != ENOSPC && errno != EDQUOT && errno != EFBIG) return true;  // this file system has no such thing
  fail(0, PumpStatus::kWriteFailed, errno, 0);
  return false;
#else
  return true;
#endif
}

bool Pump::wait_for_turn(uint64_t index) noexcept {
  std::unique_lock<std::mutex> lock(output_mutex_);
  output_turn_.wait(lock, [&] { return turn_ == index || failed_index_ < index || is_cancelled_; });
  return turn_ == index && failed_index_ >= index && !is_cancelled_;
}

void Pump::end_turn() noexcept {
  const std::lock_guard<std::mutex> lock(output_mutex_);
  turn_++;
  output_turn_.notify_all();
}

Pump::Wait Pump::wait(int descriptor, short events, int timeout_ms) noexcept {
  pollfd ends[2] = {{descriptor, events, 0}, {cancel_pipe_[0], POLLIN, 0}};  // a negative one is passed over
  const bool must_look = cancel_pipe_[0] < 0 && timeout_ms < 0;
  for (;;) {
    const int count = poll(ends, 2, must_look ? kLookMs : timeout_ms);
    if (count < 0 && errno != EINTR) return Wait::kReady;  // the call that follows will tell
    if (ends[1].revents != 0 || is_cancelled_) return Wait::kStopped;
    if (count > 0) return Wait::kReady;
    if (count == 0 && !must_look) return Wait::kTimeout;
  }
}

}  // namespace frameseal
#endif
