#include "unit_work.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "scoped_state.h"
#include "secret.h"

namespace frameseal {

void UnitWork::share(size_t helpers) noexcept {
  size_t mine = 0;
  size_t copied = 0;
  while (mine + copied < unit_count_) {
    // One unit per thread waits ready, so that nobody who is quick has to wait for the copy.
    if (copied < claimed_.load(std::memory_order_relaxed) + helpers) {
      copied++;
      copy_unit(unit_count_ - copied);
      copied_.store(copied, std::memory_order_release);
      copied_.notify_all();
    } else {
      run_from_chunks(mine++);
      done_.fetch_add(1, std::memory_order_release);
    }
  }
  copied_.store(copied | kClosed, std::memory_order_release);
  copied_.notify_all();
}

void UnitWork::help() noexcept {
  for (;;) {
    const size_t index = claimed_.fetch_add(1, std::memory_order_relaxed);
    for (;;) {
      const size_t copied = copied_.load(std::memory_order_acquire);
      if (index < (copied & ~kClosed)) break;
      if ((copied & kClosed) != 0) return;
      copied_.wait(copied, std::memory_order_acquire);
    }
    run_copied(unit_count_ - 1 - index);
    done_.fetch_add(1, std::memory_order_release);
  }
}

FramesWork::FramesWork(SharedKey key, const Run& run, std::vector<uint8_t> format_bytes, std::vector<Chunk> chunks,
                       uint8_t* output)
    : key_(std::move(key)),
      run_(run),
      format_bytes_(std::move(format_bytes)),
      chunks_(std::move(chunks)),
      output_(output),
      frames_per_unit_(std::max<size_t>(1, kUnitLength / run_.frame_length)) {
  format_.parse(format_bytes_.data(), format_bytes_.size());
  unit_count_ = (run_.total() + frames_per_unit_ - 1) / frames_per_unit_;
}

size_t FramesWork::first_frame(size_t unit) const noexcept { return std::min(run_.total(), unit * frames_per_unit_); }

void SealFramesWork::run_from_chunks(size_t unit) noexcept {
  ChunkCursor cursor = chunks_.at(run_.frame(first_frame(unit)).plaintext_at);
  for (size_t i = first_frame(unit); i < first_frame(unit + 1); i++) {
    seal_frame(*key_, format_, run_.frame(i), cursor, output_);
  }
}

void SealFramesWork::copy_unit(size_t unit) noexcept {
  ChunkCursor cursor = chunks_.at(run_.frame(first_frame(unit)).plaintext_at);
  for (size_t i = first_frame(unit); i < first_frame(unit + 1); i++) scatter_plaintext(run_.frame(i), cursor, output_);
}

void SealFramesWork::run_copied(size_t unit) noexcept {
  for (size_t i = first_frame(unit); i < first_frame(unit + 1); i++) {
    seal_in_place(*key_, format_, run_.frame(i), output_);
  }
}

OpenFramesWork::OpenFramesWork(SharedKey key, const Run& run, std::vector<uint8_t> format_bytes,
                               std::vector<Chunk> chunks, uint8_t* output)
    : FramesWork(std::move(key), run, std::move(format_bytes), std::move(chunks), output),
      stored_(run.total()),
      first_bad_(run.total()) {}

void OpenFramesWork::run_from_chunks(size_t unit) noexcept {
  ChunkCursor cursor = chunks_.at(run_.frame(first_frame(unit)).sealed_at);
  for (size_t i = first_frame(unit); i < first_frame(unit + 1); i++) {
    if (i > first_bad_.load(std::memory_order_relaxed)) return;
    if (!open_frame(*key_, format_, run_.frame(i), cursor, output_)) return found_bad(i);
  }
}

void OpenFramesWork::copy_unit(size_t unit) noexcept {
  ChunkCursor cursor = chunks_.at(run_.frame(first_frame(unit)).sealed_at);
  for (size_t i = first_frame(unit); i < first_frame(unit + 1); i++) {
    gather_ciphertext(run_.frame(i), cursor, output_, stored_[i]);
  }
}

void OpenFramesWork::run_copied(size_t unit) noexcept {
  for (size_t i = first_frame(unit); i < first_frame(unit + 1); i++) {
    if (i > first_bad_.load(std::memory_order_relaxed)) return;
    if (!open_in_place(*key_, format_, run_.frame(i), stored_[i], output_)) return found_bad(i);
  }
}

void OpenFramesWork::found_bad(size_t index) noexcept {
  size_t bad = first_bad_.load(std::memory_order_relaxed);
  while (index < bad && !first_bad_.compare_exchange_weak(bad, index)) {
  }
}

size_t OpenFramesWork::finish() noexcept {
  const size_t verified = first_bad_.load();
  if (verified < run_.total()) {
    const size_t at = run_.frame(verified).plaintext_at;
    wipe(output_ + at, run_.plaintext_length() - at);
  }
  return verified;
}

SegmentWork::SegmentWork(Direction direction, SharedKey key, const uint8_t nonce[kNonce], uint64_t first_block,
                         std::vector<Chunk> chunks, uint8_t* output, size_t length)
    : direction_(direction),
      key_(std::move(key)),
      first_block_(first_block),
      chunks_(std::move(chunks)),
      output_(output),
      length_(length) {
  std::memcpy(nonce_, nonce, kNonce);
  unit_count_ = std::max<size_t>(1, (length + kUnitLength - 1) / kUnitLength);
  hashes_.resize(unit_count_ * kTag);
}

SegmentWork::~SegmentWork() { wipe(hashes_.data(), hashes_.size()); }

void SegmentWork::apply(gcm::State& state, const uint8_t* in, size_t length, uint8_t* out) noexcept {
  if (length == 0) return;
  if (direction_ == Direction::kSeal) {
    gcm::encrypt_update(*key_, state, in, length, out);
  } else {
    gcm::decrypt_update(*key_, state, in, length, out);
  }
}

size_t SegmentWork::length_of(size_t unit) const noexcept {
  return std::min(kUnitLength, length_ - std::min(length_, unit * kUnitLength));
}

void SegmentWork::hash_from_chunks(size_t at, size_t length, uint8_t* ghash) noexcept {
  ScopedState state;
  gcm::start_segment(*key_, state, nonce_, first_block_ + at / gcm::kBlockLength);
  ChunkCursor cursor = chunks_.at(at);
  uint8_t* out = output_ + at;
  for (size_t rest = length; rest != 0;) {
    const Chunk piece = cursor.next(rest);
    apply(state, piece.data, piece.length, out);
    out += piece.length;
    rest -= piece.length;
  }
  gcm::export_segment(*key_, state, ghash);
}

void SegmentWork::run_from_chunks(size_t unit) noexcept {
  hash_from_chunks(unit * kUnitLength, length_of(unit), hashes_.data() + unit * kTag);
}

void SegmentWork::copy_unit(size_t unit) noexcept {
  chunks_.at(unit * kUnitLength).copy_to(output_ + unit * kUnitLength, length_of(unit));
}

void SegmentWork::run_copied(size_t unit) noexcept {
  ScopedState state;
  gcm::start_segment(*key_, state, nonce_, first_block_ + unit * (kUnitLength / gcm::kBlockLength));
  uint8_t* const bytes = output_ + unit * kUnitLength;
  apply(state, bytes, length_of(unit), bytes);
  gcm::export_segment(*key_, state, hashes_.data() + unit * kTag);
}

void SegmentWork::finish(uint8_t ghash[kTag]) noexcept {
  ScopedState state;
  gcm::start_segment(*key_, state, nonce_, first_block_);
  for (size_t unit = 0; unit < unit_count_; unit++) {
    gcm::append_segment(*key_, state, hashes_.data() + unit * kTag, length_of(unit));
  }
  gcm::export_segment(*key_, state, ghash);
}

}  // namespace frameseal
