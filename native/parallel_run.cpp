#include "parallel_run.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "scoped_state.h"
#include "secret.h"

namespace frameseal {
namespace {

/** Bytes of plaintext that a thread takes at a time: 6 µs of work, so that nobody waits for the last one for long. */
constexpr size_t kUnitLength = 64 * 1024;

/** One run of frames, in units for several threads. */
class RunUnits : public Work {
 public:
  RunUnits(const gcm::Key& key, const FrameFormat& format, const Run& run, std::vector<Chunk> input, uint8_t* output)
      : key_(key), format_(format), run_(run), input_(std::move(input)), output_(output) {}

 protected:
  const gcm::Key& key_;
  const FrameFormat& format_;
  const Run& run_;
  const ChunkList input_;
  uint8_t* const output_;
};

/** A unit is some neighbouring frames. */
class FrameUnits : public RunUnits {
 public:
  using RunUnits::RunUnits;
  size_t count() const noexcept { return (run_.total() + frames_per_unit_ - 1) / frames_per_unit_; }

 protected:
  size_t first_frame(size_t unit) const noexcept { return std::min(run_.total(), unit * frames_per_unit_); }

 private:
  const size_t frames_per_unit_ = std::max<size_t>(1, kUnitLength / run_.frame_length);
};

class SealUnits final : public FrameUnits {
 public:
  using FrameUnits::FrameUnits;
  void run(size_t unit) noexcept override {
    ChunkCursor cursor = input_.at(run_.frame(first_frame(unit)).plaintext_at);
    for (size_t i = first_frame(unit); i < first_frame(unit + 1); i++) {
      seal_frame(key_, format_, run_.frame(i), cursor, output_);
    }
  }
  void finish() noexcept {}
};

class OpenUnits final : public FrameUnits {
 public:
  using FrameUnits::FrameUnits;
  void run(size_t unit) noexcept override {
    ChunkCursor cursor = input_.at(run_.frame(first_frame(unit)).sealed_at);
    for (size_t i = first_frame(unit); i < first_frame(unit + 1); i++) {
      if (i > first_bad_.load(std::memory_order_relaxed)) return;
      if (!open_frame(key_, format_, run_.frame(i), cursor, output_)) return found_bad(i);
    }
  }
  /** After all units: wipes what is not verified; returns the number of frames before. */
  size_t finish() noexcept {
    const size_t verified = std::min(run_.total(), first_bad_.load(std::memory_order_relaxed));
    if (verified < run_.total()) {
      const size_t at = run_.frame(verified).plaintext_at;
      wipe(output_ + at, run_.plaintext_length() - at);
    }
    return verified;
  }

 private:
  std::atomic<size_t> first_bad_{~size_t{0}};

  void found_bad(size_t index) noexcept {
    size_t bad = first_bad_.load(std::memory_order_relaxed);
    while (index < bad && !first_bad_.compare_exchange_weak(bad, index, std::memory_order_relaxed)) {
    }
  }
};

/**
 * Long frames: a unit is a piece of one, so that a single frame keeps several threads busy. Each piece gives its own
 * GHASH value; they are joined to the frame's tag by the calling thread.
 */
class PieceUnits : public RunUnits {
 public:
  using RunUnits::RunUnits;
  ~PieceUnits() { wipe(hashes_.data(), hashes_.size()); }
  size_t count() const noexcept { return run_.total() * pieces_per_frame_; }

 protected:
  using Update = void (*)(const gcm::Key&, gcm::State&, const uint8_t* in, size_t length, uint8_t* out) noexcept;

  const size_t pieces_per_frame_ = (run_.frame_length + kUnitLength - 1) / kUnitLength;

  size_t length_of(const Frame& frame, size_t piece) const noexcept {
    return std::min(kUnitLength, frame.length - std::min<size_t>(frame.length, piece * kUnitLength));
  }
  /** Does one piece of text, which begins `at` bytes into the input. */
  void run_piece(const Frame& frame, size_t unit, const uint8_t* nonce, size_t at, uint8_t* out, Update update) noexcept {
    const size_t piece = unit % pieces_per_frame_;
    const size_t length = length_of(frame, piece);
    if (length == 0) return;
    ScopedState state;
    gcm::start_segment(key_, state, nonce, piece * (kUnitLength / gcm::kBlockLength));
    ChunkCursor cursor = input_.at(at + piece * kUnitLength);
    out += piece * kUnitLength;
    for (size_t rest = length; rest != 0;) {
      const Chunk chunk = cursor.next(rest);
      update(key_, state, chunk.data, chunk.length, out);
      out += chunk.length;
      rest -= chunk.length;
    }
    gcm::export_segment(key_, state, hashes_.data() + unit * kTag);
  }
  /** Starts the tag of a frame and appends all its pieces. */
  void join(gcm::State& state, size_t index, const Frame& frame, const uint8_t* nonce) noexcept {
    const Aad aad(format_, frame);
    gcm::start(key_, state, nonce, aad.bytes, aad.length);
    for (size_t piece = 0; piece < pieces_per_frame_; piece++) {
      const size_t length = length_of(frame, piece);
      if (length != 0) {
        gcm::append_segment(key_, state, hashes_.data() + (index * pieces_per_frame_ + piece) * kTag, length);
      }
    }
  }

 private:
  static_assert(kUnitLength % gcm::kBlockLength == 0);
  std::vector<uint8_t> hashes_ = std::vector<uint8_t>(run_.total() * pieces_per_frame_ * kTag);
};

class SealPieces final : public PieceUnits {
 public:
  using PieceUnits::PieceUnits;
  void run(size_t unit) noexcept override {
    const Frame frame = run_.frame(unit / pieces_per_frame_);
    uint8_t head[kFinalHead];  // every piece has its own: the frame's place in the output is written once, by `finish`
    const uint8_t* const nonce = write_head(frame, head);
    run_piece(frame, unit, nonce, frame.plaintext_at, text_of(frame), gcm::encrypt_update);
  }
  void finish() noexcept {
    for (size_t i = 0; i < run_.total(); i++) {
      const Frame frame = run_.frame(i);
      const uint8_t* const nonce = write_head(frame, output_ + frame.sealed_at);
      ScopedState state;
      join(state, i, frame, nonce);
      gcm::finish(key_, state, text_of(frame) + frame.length);
    }
  }

 private:
  uint8_t* text_of(const Frame& frame) const noexcept { return output_ + frame.sealed_at + frame.head_length(); }
};

class OpenPieces final : public PieceUnits {
 public:
  OpenPieces(const gcm::Key& key, const FrameFormat& format, const Run& run, std::vector<Chunk> input, uint8_t* output)
      : PieceUnits(key, format, run, std::move(input), output), stored_(run.total()) {
    for (size_t i = 0; i < run.total(); i++) {
      const Frame frame = run.frame(i);
      input_.at(frame.sealed_at).copy_to(stored_[i].head, frame.head_length());
      input_.at(frame.sealed_at + frame.head_length() + frame.length).copy_to(stored_[i].tag, kTag);
    }
  }
  void run(size_t unit) noexcept override {
    const size_t index = unit / pieces_per_frame_;
    const Frame frame = run_.frame(index);
    const uint8_t* const nonce = read_head(frame, stored_[index].head);
    if (nonce == nullptr) return;
    run_piece(frame, unit, nonce, frame.sealed_at + frame.head_length(), output_ + frame.plaintext_at,
              gcm::decrypt_update);
  }
  size_t finish() noexcept {
    for (size_t i = 0; i < run_.total(); i++) {
      const Frame frame = run_.frame(i);
      if (is_authentic(i, frame)) continue;
      wipe(output_ + frame.plaintext_at, run_.plaintext_length() - frame.plaintext_at);
      return i;
    }
    return run_.total();
  }

 private:
  std::vector<StoredFrame> stored_;

  bool is_authentic(size_t index, const Frame& frame) noexcept {
    const uint8_t* const nonce = read_head(frame, stored_[index].head);
    if (nonce == nullptr) return false;
    ScopedState state;
    join(state, index, frame, nonce);
    return gcm::finish_and_compare(key_, state, stored_[index].tag);
  }
};

bool are_long(const gcm::Key& key, const Run& run) noexcept {
  return run.frame_length >= 2 * kUnitLength && gcm::has_segments(key);
}

/** Does a run on this thread and others: by whole frames, or by pieces of them where they are long. */
template <typename Frames, typename Pieces>
auto run_in_parallel(Crew& crew, size_t threads, const gcm::Key& key, const FrameFormat& format, const Run& run,
                     std::vector<Chunk> input, uint8_t* output) {
  const auto work_off = [&crew, threads](auto&& units) {
    crew.run(units, units.count(), threads - 1);
    return units.finish();
  };
  if (are_long(key, run)) return work_off(Pieces(key, format, run, std::move(input), output));
  return work_off(Frames(key, format, run, std::move(input), output));
}

}  // namespace

void seal_run_in_parallel(Crew& crew, size_t threads, const gcm::Key& key, const FrameFormat& format, const Run& run,
                          std::vector<Chunk> plaintext, uint8_t* sealed) {
  run_in_parallel<SealUnits, SealPieces>(crew, threads, key, format, run, std::move(plaintext), sealed);
}

size_t open_run_in_parallel(Crew& crew, size_t threads, const gcm::Key& key, const FrameFormat& format, const Run& run,
                            std::vector<Chunk> sealed, uint8_t* plaintext) {
  return run_in_parallel<OpenUnits, OpenPieces>(crew, threads, key, format, run, std::move(sealed), plaintext);
}

}  // namespace frameseal
