// Work cut into units that one owner thread and its helpers do together. Plain C++; knows nothing of Node.
//
// Copying a unit for another thread costs a third of sealing it, and its bytes then have to wander from core to core; so
// the owner copies units only as fast as others take them, from the last one down, and works on the first ones itself,
// straight from the caller's chunks. With two cores that is about half; with many cores it does little but copy; if all
// others are busy it does everything.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "frame_run.h"

namespace frameseal {

/** Bytes that one thread takes at a time; less than two of these are not worth a thread. */
constexpr size_t kUnitLength = 128 * 1024;

/** A key that work shares, so that it outlives whoever disposes of it. */
using SharedKey = std::shared_ptr<const gcm::Key>;

class UnitWork {
 public:
  UnitWork(const UnitWork&) = delete;
  UnitWork& operator=(const UnitWork&) = delete;
  virtual ~UnitWork() = default;

  size_t unit_count() const noexcept { return unit_count_; }
  /** Called once, by the owner: does units, and copies others for `helpers` threads. Does not touch chunks after that. */
  void share(size_t helpers) noexcept;
  /** Called by each helper, on a thread of its own, before, during or after `share`: does copied units until none is left. */
  void help() noexcept;
  /** Whether all units are done; then what they wrote can be seen. Helpers may still be about to return. */
  bool is_done() const noexcept { return done_.load(std::memory_order_acquire) == unit_count_; }

 protected:
  UnitWork() = default;
  /** Fixed before `share` and `help`. */
  size_t unit_count_ = 0;

 private:
  /** Does a unit straight from the caller's chunks. Called by the owner. */
  virtual void run_from_chunks(size_t unit) noexcept = 0;
  /** Copies what a unit needs out of the caller's chunks. Called by the owner. */
  virtual void copy_unit(size_t unit) noexcept = 0;
  /** Does a unit that has been copied, on any thread. */
  virtual void run_copied(size_t unit) noexcept = 0;

  /** In the counter of copied units: no more will come. */
  static constexpr size_t kClosed = ~(~size_t{0} >> 1);
  /** Units that were copied; the first one is the last of the work. */
  std::atomic<size_t> copied_{0};
  /** Copied units that were claimed; may be ahead, because threads claim and then wait. */
  std::atomic<size_t> claimed_{0};
  std::atomic<size_t> done_{0};
};

/** Frames of one run; a unit is some neighbouring frames. Output is borrowed, as are chunks until `share` has returned. */
class FramesWork : public UnitWork {
 public:
  FramesWork(SharedKey key, const Run& run, std::vector<uint8_t> format_bytes, std::vector<Chunk> chunks, uint8_t* output);

 protected:
  size_t first_frame(size_t unit) const noexcept;

  SharedKey key_;
  Run run_;
  std::vector<uint8_t> format_bytes_;
  FrameFormat format_;
  ChunkList chunks_;
  uint8_t* output_;
  size_t frames_per_unit_;
};

class SealFramesWork final : public FramesWork {
 public:
  using FramesWork::FramesWork;

 private:
  void run_from_chunks(size_t unit) noexcept override;
  void copy_unit(size_t unit) noexcept override;
  void run_copied(size_t unit) noexcept override;
};

class OpenFramesWork final : public FramesWork {
 public:
  OpenFramesWork(SharedKey key, const Run& run, std::vector<uint8_t> format_bytes, std::vector<Chunk> chunks,
                 uint8_t* output);
  /** When all is done: how many frames were verified before the first bad one. Wipes what lies behind them. */
  size_t finish() noexcept;

 private:
  void run_from_chunks(size_t unit) noexcept override;
  void copy_unit(size_t unit) noexcept override;
  void run_copied(size_t unit) noexcept override;
  void found_bad(size_t index) noexcept;

  std::vector<StoredFrame> stored_;
  std::atomic<size_t> first_bad_;
};

/** A part of one GCM message; a unit is a smaller part, and their GHASH values are joined at the end. */
class SegmentWork final : public UnitWork {
 public:
  enum class Direction { kSeal, kOpen };

  /** `length` bytes, which is also what the chunks hold. */
  SegmentWork(Direction direction, SharedKey key, const uint8_t nonce[kNonce], uint64_t first_block,
              std::vector<Chunk> chunks, uint8_t* output, size_t length);
  ~SegmentWork() override;
  /** Does everything on this thread, in one unit. */
  void run_now(uint8_t ghash[kTag]) noexcept { hash_from_chunks(0, length_, ghash); }
  /** When all is done: the GHASH value of the whole part. */
  void finish(uint8_t ghash[kTag]) noexcept;

 private:
  static_assert(kUnitLength % gcm::kBlockLength == 0);
  void apply(gcm::State& state, const uint8_t* in, size_t length, uint8_t* out) noexcept;
  size_t length_of(size_t unit) const noexcept;
  void hash_from_chunks(size_t at, size_t length, uint8_t* ghash) noexcept;
  void run_from_chunks(size_t unit) noexcept override;
  void copy_unit(size_t unit) noexcept override;
  void run_copied(size_t unit) noexcept override;

  Direction direction_;
  SharedKey key_;
  uint8_t nonce_[kNonce];
  uint64_t first_block_;
  ChunkList chunks_;
  uint8_t* output_;
  size_t length_;
  std::vector<uint8_t> hashes_;
};

}  // namespace frameseal
