#include "frame_worker.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "chunks.h"
#include "edge.h"
#include "environment.h"
#include "run_arguments.h"
#include "scoped_state.h"
#include "secret.h"

namespace frameseal {
namespace {

/** Bytes that one thread takes at a time; less than two of these are not worth a thread. */
constexpr size_t kUnitLength = 128 * 1024;
constexpr uint64_t kMaxGcmLength = (uint64_t{1} << 36) - 32;
/** So much work of ours may wait in Node's pool before the JavaScript thread does everything itself. */
constexpr uint32_t kMaxActiveWorks = 64;

/**
 * Work cut into units. Copying a unit for another thread costs a third of sealing it, and its bytes then have to wander
 * from core to core; so the JavaScript thread copies units only as fast as other threads take them, from the last one
 * down, and works on the first ones itself, straight from the caller's chunks. With two cores that is about half; with
 * many cores it does little but copy; if all others are busy it does everything.
 *
 * Made and destroyed on the JavaScript thread; holds what it needs, so that neither disposing of the key nor tearing
 * down the environment pulls memory from under a thread.
 */
class Job {
 public:
  Job() = default;
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  virtual ~Job() = default;

  /**
   * Works on the job with the help of worker threads; returns a promise. `keep_alive` are the views that the threads
   * write to. Takes ownership of the job.
   */
  static napi_value start(std::unique_ptr<Job> job, napi_env env, std::initializer_list<napi_value> keep_alive);

 protected:
  /** Number of units, fixed before the start. */
  size_t unit_count_ = 0;
  std::shared_ptr<Environment> environment_;

  /** Does a unit straight from the caller's chunks. Called by the JavaScript thread during `start`. */
  virtual void run_from_chunks(size_t unit) noexcept = 0;
  /** Copies what a unit needs out of the caller's chunks. Called by the JavaScript thread during `start`. */
  virtual void copy_unit(size_t unit) noexcept = 0;
  /** Does a unit that has been copied, on any thread. */
  virtual void run_copied(size_t unit) noexcept = 0;
  /** Called on the JavaScript thread when all units are done. */
  virtual napi_value result(napi_env env) noexcept = 0;

 private:
  struct Work {
    Job* job;
    napi_async_work handle;
  };
  static void execute(napi_env env, void* data);
  static void complete(napi_env env, napi_status status, void* data);
  void queue_works(napi_env env) noexcept;
  void share_units() noexcept;
  void run_copied_units() noexcept;
  void settle(napi_env env) noexcept;

  /** In the counter of copied units: no more will come. */
  static constexpr size_t kClosed = ~(~size_t{0} >> 1);
  /** Units that were copied; the first one is the last of the job. */
  std::atomic<size_t> copied_{0};
  /** Copied units that were claimed; may be ahead, because threads claim and then wait. */
  std::atomic<size_t> claimed_{0};
  std::atomic<size_t> done_{0};
  uint32_t pending_works_ = 0;
  napi_deferred deferred_ = nullptr;
  std::vector<napi_ref> references_;
};

napi_value Job::start(std::unique_ptr<Job> owned, napi_env env, std::initializer_list<napi_value> keep_alive) {
  napi_value promise = nullptr;
  if (napi_create_promise(env, &owned->deferred_, &promise) != napi_ok) return nullptr;
  Job* const job = owned.release();
  if (job->unit_count_ > 1 && job->environment_->core_count > 1) {
    bool is_kept = true;
    for (napi_value view : keep_alive) {
      napi_ref reference = nullptr;
      is_kept = is_kept && napi_create_reference(env, view, 1, &reference) == napi_ok;
      if (is_kept) job->references_.push_back(reference);
    }
    if (is_kept) job->queue_works(env);
  }
  job->share_units();
  job->settle(env);
  return promise;
}

void Job::queue_works(napi_env env) noexcept {
  napi_value name = nullptr;
  if (napi_create_string_utf8(env, "frameseal", NAPI_AUTO_LENGTH, &name) != napi_ok) return;
  const size_t count = std::min<size_t>(environment_->core_count - 1, unit_count_ - 1);
  for (size_t i = 0; i < count && environment_->active_works < kMaxActiveWorks; i++) {
    auto work = std::make_unique<Work>(Work{this, nullptr});
    if (napi_create_async_work(env, nullptr, name, execute, complete, work.get(), &work->handle) != napi_ok) return;
    if (napi_queue_async_work(env, work->handle) != napi_ok) {
      napi_delete_async_work(env, work->handle);
      return;
    }
    work.release();  // `complete` deletes it
    pending_works_++;
    environment_->active_works++;
  }
}

void Job::share_units() noexcept {
  size_t mine = 0;
  size_t copied = 0;
  while (mine + copied < unit_count_) {
    // One unit per thread waits ready, so that nobody who is quick has to wait for the copy.
    if (copied < claimed_.load(std::memory_order_relaxed) + pending_works_) {
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

void Job::run_copied_units() noexcept {
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

void Job::execute(napi_env, void* data) { static_cast<Work*>(data)->job->run_copied_units(); }

void Job::complete(napi_env env, napi_status, void* data) {
  const std::unique_ptr<Work> work(static_cast<Work*>(data));
  Job* const job = work->job;
  napi_delete_async_work(env, work->handle);
  job->environment_->active_works--;
  job->pending_works_--;
  job->settle(env);
}

/**
 * Resolves the promise as soon as all units are done, and ends the job when no thread can look at it any more. Rejects
 * if the environment cancelled the threads on its way down; then probably nobody listens.
 */
void Job::settle(napi_env env) noexcept {
  const bool is_done = done_.load(std::memory_order_acquire) == unit_count_;
  if (deferred_ != nullptr && (is_done || pending_works_ == 0)) {
    for (napi_ref reference : references_) napi_delete_reference(env, reference);
    references_.clear();
    napi_value value = nullptr;
    if (is_done) {
      napi_resolve_deferred(env, deferred_, result(env));
    } else if (napi_create_string_utf8(env, "internal error: work was cancelled", NAPI_AUTO_LENGTH, &value) == napi_ok &&
               napi_create_error(env, nullptr, value, &value) == napi_ok) {
      napi_reject_deferred(env, deferred_, value);
    }
    deferred_ = nullptr;
  }
  if (pending_works_ == 0) delete this;
}

/** Frames of one run; a unit is some neighbouring frames. */
class FrameJob : public Job {
 public:
  FrameJob(Arguments& args, RunArguments&& run)
      : key_(std::move(run.key)),
        run_(run.run),
        format_bytes_(run.format_bytes.data, run.format_bytes.data + run.format_bytes.length),
        output_(run.output.data),
        frames_per_unit_(std::max<size_t>(1, kUnitLength / run_.frame_length)),
        chunks_(std::move(run.chunks)) {
    format_.parse(format_bytes_.data(), format_bytes_.size());
    unit_count_ = (run_.total() + frames_per_unit_ - 1) / frames_per_unit_;
    environment_ = args.data<Environment>().shared_from_this();
  }

 protected:
  std::shared_ptr<NativeKey> key_;
  Run run_;
  FrameFormat format_;
  std::vector<uint8_t> format_bytes_;
  uint8_t* output_;
  size_t frames_per_unit_;
  /** The caller's memory: not to be touched after `start`. */
  ChunkList chunks_;

  size_t first_frame(size_t unit) const noexcept { return std::min(run_.total(), unit * frames_per_unit_); }
};

class SealFramesJob final : public FrameJob {
 public:
  using FrameJob::FrameJob;

 private:
  void run_from_chunks(size_t unit) noexcept override {
    ChunkCursor cursor = chunks_.at(run_.frame(first_frame(unit)).plaintext_at);
    for (size_t i = first_frame(unit); i < first_frame(unit + 1); i++) {
      seal_frame(key_->key, format_, run_.frame(i), cursor, output_);
    }
  }
  void copy_unit(size_t unit) noexcept override {
    ChunkCursor cursor = chunks_.at(run_.frame(first_frame(unit)).plaintext_at);
    for (size_t i = first_frame(unit); i < first_frame(unit + 1); i++) {
      scatter_plaintext(run_.frame(i), cursor, output_);
    }
  }
  void run_copied(size_t unit) noexcept override {
    for (size_t i = first_frame(unit); i < first_frame(unit + 1); i++) {
      seal_in_place(key_->key, format_, run_.frame(i), output_);
    }
  }
  napi_value result(napi_env env) noexcept override { return undefined(env); }
};

class OpenFramesJob final : public FrameJob {
 public:
  OpenFramesJob(Arguments& args, RunArguments&& run)
      : FrameJob(args, std::move(run)), stored_(run_.total()), first_bad_(run_.total()) {}

 private:
  void run_from_chunks(size_t unit) noexcept override {
    ChunkCursor cursor = chunks_.at(run_.frame(first_frame(unit)).sealed_at);
    for (size_t i = first_frame(unit); i < first_frame(unit + 1); i++) {
      if (i > first_bad_.load(std::memory_order_relaxed)) return;
      if (!open_frame(key_->key, format_, run_.frame(i), cursor, output_)) return found_bad(i);
    }
  }
  void copy_unit(size_t unit) noexcept override {
    ChunkCursor cursor = chunks_.at(run_.frame(first_frame(unit)).sealed_at);
    for (size_t i = first_frame(unit); i < first_frame(unit + 1); i++) {
      gather_ciphertext(run_.frame(i), cursor, output_, stored_[i]);
    }
  }
  void run_copied(size_t unit) noexcept override {
    for (size_t i = first_frame(unit); i < first_frame(unit + 1); i++) {
      if (i > first_bad_.load(std::memory_order_relaxed)) return;
      if (!open_in_place(key_->key, format_, run_.frame(i), stored_[i], output_)) return found_bad(i);
    }
  }
  void found_bad(size_t index) noexcept {
    size_t bad = first_bad_.load(std::memory_order_relaxed);
    while (index < bad && !first_bad_.compare_exchange_weak(bad, index)) {
    }
  }
  napi_value result(napi_env env) noexcept override {
    const size_t verified = first_bad_.load();
    if (verified < run_.total()) {
      const size_t at = run_.frame(verified).plaintext_at;
      wipe(output_ + at, run_.plaintext_length() - at);
    }
    return number(env, static_cast<double>(verified));
  }

  std::vector<StoredFrame> stored_;
  std::atomic<size_t> first_bad_;
};

/** A part of one GCM message; a unit is a smaller part, and their GHASH values are joined at the end. */
class SegmentJob final : public Job {
 public:
  enum class Direction { kSeal, kOpen };

  SegmentJob(Environment& environment, Direction direction, std::shared_ptr<NativeKey> key, const uint8_t* nonce,
             uint64_t first_block, std::vector<Chunk> chunks, Bytes output, uint8_t* ghash)
      : direction_(direction),
        key_(std::move(key)),
        first_block_(first_block),
        output_(output),
        ghash_(ghash),
        chunks_(std::move(chunks)) {
    std::memcpy(nonce_, nonce, kNonce);
    unit_count_ = std::max<size_t>(1, (output.length + kUnitLength - 1) / kUnitLength);
    hashes_.resize(unit_count_ * kTag);
    environment_ = environment.shared_from_this();
  }
  ~SegmentJob() override { wipe(hashes_.data(), hashes_.size()); }
  /** Does everything on this thread, in one unit. */
  void run_now() noexcept {
    hash_from_chunks(0, output_.length, ghash_);
  }

 private:
  static_assert(kUnitLength % 16 == 0);

  void apply(gcm::State& state, const uint8_t* in, size_t length, uint8_t* out) noexcept {
    if (length == 0) return;
    if (direction_ == Direction::kSeal) {
      gcm::encrypt_update(key_->key, state, in, length, out);
    } else {
      gcm::decrypt_update(key_->key, state, in, length, out);
    }
  }
  size_t length_of(size_t unit) const noexcept {
    return std::min(kUnitLength, output_.length - std::min(output_.length, unit * kUnitLength));
  }
  void hash_from_chunks(size_t at, size_t length, uint8_t* ghash) noexcept {
    ScopedState state;
    gcm::start_segment(key_->key, state, nonce_, first_block_ + at / 16);
    ChunkCursor cursor = chunks_.at(at);
    uint8_t* out = output_.data + at;
    for (size_t rest = length; rest != 0;) {
      const Chunk piece = cursor.next(rest);
      apply(state, piece.data, piece.length, out);
      out += piece.length;
      rest -= piece.length;
    }
    gcm::export_segment(key_->key, state, ghash);
  }
  void run_from_chunks(size_t unit) noexcept override {
    hash_from_chunks(unit * kUnitLength, length_of(unit), hashes_.data() + unit * kTag);
  }
  void copy_unit(size_t unit) noexcept override {
    chunks_.at(unit * kUnitLength).copy_to(output_.data + unit * kUnitLength, length_of(unit));
  }
  void run_copied(size_t unit) noexcept override {
    ScopedState state;
    gcm::start_segment(key_->key, state, nonce_, first_block_ + unit * (kUnitLength / 16));
    uint8_t* const bytes = output_.data + unit * kUnitLength;
    apply(state, bytes, length_of(unit), bytes);
    gcm::export_segment(key_->key, state, hashes_.data() + unit * kTag);
  }
  napi_value result(napi_env env) noexcept override {
    ScopedState state;
    gcm::start_segment(key_->key, state, nonce_, first_block_);
    for (size_t unit = 0; unit < unit_count_; unit++) {
      gcm::append_segment(key_->key, state, hashes_.data() + unit * kTag, length_of(unit));
    }
    gcm::export_segment(key_->key, state, ghash_);
    return undefined(env);
  }

  Direction direction_;
  std::shared_ptr<NativeKey> key_;
  uint8_t nonce_[kNonce];
  uint64_t first_block_;
  Bytes output_;
  uint8_t* ghash_;
  std::vector<uint8_t> hashes_;
  /** The caller's memory: not to be touched after `start` or `run_now`. */
  ChunkList chunks_;
};

enum class Threads { kThis, kOther };

/** key, nonce, firstBlock, chunks, output, ghash */
napi_value segment(napi_env env, napi_callback_info info, SegmentJob::Direction direction, Threads threads) {
  Arguments args(env, info);
  Environment& environment = args.data<Environment>();
  const uint32_t handle = args.uint32(0);
  const uint64_t first_block = args.integer(2, kMaxGcmLength / 16);
  if (!args.ok()) return nullptr;
  std::shared_ptr<NativeKey> key = environment.keys.find(handle);
  if (key == nullptr) {
    args.fail_internally("internal error: key has been disposed of");
    return nullptr;
  }
  const ChunkElements elements(args, 3);
  const Bytes nonce = args.bytes_of_length(1, kNonce);
  const Bytes output = args.bytes(4);
  const Bytes ghash = args.bytes_of_length(5, kTag);
  if (args.ok() && (output.length > kMaxGcmLength || first_block * 16 + output.length > kMaxGcmLength)) {
    args.fail("part lies beyond the longest message");
  }
  std::vector<Chunk> chunks = elements.read(args, output.length);
  for (const Chunk& chunk : chunks) {
    if (overlaps(chunk.data, chunk.length, output.data, output.length)) args.fail("output overlaps a chunk");
  }
  if (!args.ok()) return nullptr;
  auto job = std::make_unique<SegmentJob>(environment, direction, std::move(key), nonce.data, first_block,
                                          std::move(chunks), output, ghash.data);
  if (threads == Threads::kThis) {
    job->run_now();
    return nullptr;
  }
  return Job::start(std::move(job), env, {args.value(4), args.value(5)});
}

}  // namespace

napi_value seal_frames_async(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  RunArguments run(args, RunArguments::Direction::kSeal);
  if (!args.ok()) return nullptr;
  return Job::start(std::make_unique<SealFramesJob>(args, std::move(run)), env, {args.value(3)});
}

napi_value open_frames_async(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  RunArguments run(args, RunArguments::Direction::kOpen);
  if (!args.ok()) return nullptr;
  return Job::start(std::make_unique<OpenFramesJob>(args, std::move(run)), env, {args.value(3)});
}

napi_value seal_segment(napi_env env, napi_callback_info info) {
  return segment(env, info, SegmentJob::Direction::kSeal, Threads::kThis);
}
napi_value open_segment(napi_env env, napi_callback_info info) {
  return segment(env, info, SegmentJob::Direction::kOpen, Threads::kThis);
}
napi_value seal_segment_async(napi_env env, napi_callback_info info) {
  return segment(env, info, SegmentJob::Direction::kSeal, Threads::kOther);
}
napi_value open_segment_async(napi_env env, napi_callback_info info) {
  return segment(env, info, SegmentJob::Direction::kOpen, Threads::kOther);
}

}  // namespace frameseal
