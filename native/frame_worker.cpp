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

/** Bytes that one thread takes at a time, and the least that is worth a thread of its own. */
constexpr size_t kBatchLength = 128 * 1024;
constexpr size_t kWorthAThread = 256 * 1024;
constexpr uint64_t kMaxGcmLength = (uint64_t{1} << 36) - 32;

/**
 * Work cut into units that threads claim one after the other. Made and destroyed on the JavaScript thread; holds what
 * it needs, so that neither disposing of the key nor tearing down the environment pulls memory from under a thread.
 */
class Job {
 public:
  Job() = default;
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  virtual ~Job() = default;

  /**
   * Hands the job to worker threads; returns a promise. `keep_alive` are the views that the threads write to. Takes
   * ownership of the job.
   */
  static napi_value start(std::unique_ptr<Job> job, napi_env env, size_t length,
                          std::initializer_list<napi_value> keep_alive);

 protected:
  /** Number of units, fixed before the start. */
  size_t unit_count_ = 0;
  std::shared_ptr<Environment> environment_;

  /** Called once per unit on any thread, not necessarily in order. */
  virtual void run_unit(size_t unit) noexcept = 0;
  /** Called on the JavaScript thread when all units are done. */
  virtual napi_value result(napi_env env) noexcept = 0;

 private:
  struct Work {
    Job* job;
    napi_async_work handle;
  };
  static void execute(napi_env env, void* data);
  static void complete(napi_env env, napi_status status, void* data);
  void run_units() noexcept;
  void settle(napi_env env) noexcept;

  std::atomic<size_t> next_{0};
  std::atomic<size_t> done_{0};
  uint32_t pending_ = 0;
  napi_deferred deferred_ = nullptr;
  std::vector<napi_ref> references_;
};

napi_value Job::start(std::unique_ptr<Job> owned, napi_env env, size_t length,
                      std::initializer_list<napi_value> keep_alive) {
  napi_value promise = nullptr;
  napi_value name = nullptr;
  if (napi_create_promise(env, &owned->deferred_, &promise) != napi_ok ||
      napi_create_string_utf8(env, "frameseal", NAPI_AUTO_LENGTH, &name) != napi_ok) {
    return nullptr;
  }
  Job* const job = owned.release();
  for (napi_value view : keep_alive) {
    napi_ref reference = nullptr;
    if (napi_create_reference(env, view, 1, &reference) == napi_ok) job->references_.push_back(reference);
  }
  Environment& environment = *job->environment_;
  const uint32_t idle = std::max<uint32_t>(1, environment.core_count - std::min(environment.core_count, environment.active_works));
  const size_t useful = std::max<size_t>(1, std::min(length / kWorthAThread, job->unit_count_));
  const size_t count = std::min<size_t>(idle, useful);
  for (size_t i = 0; i < count; i++) {
    auto work = std::make_unique<Work>(Work{job, nullptr});
    if (napi_create_async_work(env, nullptr, name, execute, complete, work.get(), &work->handle) != napi_ok) break;
    if (napi_queue_async_work(env, work->handle) != napi_ok) {
      napi_delete_async_work(env, work->handle);
      break;
    }
    work.release();  // `complete` deletes it
    job->pending_++;
    environment.active_works++;
  }
  if (job->pending_ == 0) {
    job->run_units();
    job->settle(env);
  }
  return promise;
}

void Job::execute(napi_env, void* data) { static_cast<Work*>(data)->job->run_units(); }

void Job::run_units() noexcept {
  for (;;) {
    const size_t unit = next_.fetch_add(1, std::memory_order_relaxed);
    if (unit >= unit_count_) return;
    run_unit(unit);
    done_.fetch_add(1, std::memory_order_release);
  }
}

void Job::complete(napi_env env, napi_status, void* data) {
  const std::unique_ptr<Work> work(static_cast<Work*>(data));
  Job* const job = work->job;
  napi_delete_async_work(env, work->handle);
  job->environment_->active_works--;
  if (--job->pending_ == 0) job->settle(env);
}

/** Resolves the promise, or rejects it if the environment cancelled the work on its way down. Ends the job. */
void Job::settle(napi_env env) noexcept {
  const std::unique_ptr<Job> owned(this);
  for (napi_ref reference : references_) napi_delete_reference(env, reference);
  if (done_.load(std::memory_order_acquire) == unit_count_) {
    napi_resolve_deferred(env, deferred_, result(env));  // may fail while the environment goes down: nobody waits
    return;
  }
  napi_value message = nullptr;
  napi_value error = nullptr;
  napi_create_string_utf8(env, "internal error: work was cancelled", NAPI_AUTO_LENGTH, &message);
  if (napi_create_error(env, nullptr, message, &error) == napi_ok) napi_reject_deferred(env, deferred_, error);
}

/** Frames of one run; a unit is some neighbouring frames. */
class FrameJob : public Job {
 public:
  FrameJob(Arguments& args, RunArguments&& run)
      : key_(std::move(run.key)),
        run_(run.run),
        format_bytes_(run.format_bytes.data, run.format_bytes.data + run.format_bytes.length),
        output_(run.output.data) {
    format_.parse(format_bytes_.data(), format_bytes_.size());
    frames_per_unit_ = std::max<size_t>(1, kBatchLength / run_.frame_length);
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
};

class SealFramesJob final : public FrameJob {
 public:
  using FrameJob::FrameJob;

 private:
  void run_unit(size_t unit) noexcept override {
    const size_t end = std::min(run_.total(), (unit + 1) * frames_per_unit_);
    for (size_t i = unit * frames_per_unit_; i < end; i++) {
      seal_in_place(key_->key, format_, run_.frame(i), output_);
    }
  }
  napi_value result(napi_env env) noexcept override { return undefined(env); }
};

class OpenFramesJob final : public FrameJob {
 public:
  OpenFramesJob(Arguments& args, RunArguments&& run, std::unique_ptr<StoredFrame[]> stored)
      : FrameJob(args, std::move(run)), stored_(std::move(stored)), first_bad_(run_.total()) {}

 private:
  void run_unit(size_t unit) noexcept override {
    const size_t end = std::min(run_.total(), (unit + 1) * frames_per_unit_);
    for (size_t i = unit * frames_per_unit_; i < end; i++) {
      if (i > first_bad_.load(std::memory_order_relaxed)) return;
      if (!open_in_place(key_->key, format_, run_.frame(i), stored_[i], output_)) {
        size_t bad = first_bad_.load(std::memory_order_relaxed);
        while (i < bad && !first_bad_.compare_exchange_weak(bad, i)) {
        }
        return;
      }
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

  std::unique_ptr<StoredFrame[]> stored_;
  std::atomic<size_t> first_bad_;
};

/** A part of one GCM message; a unit is a smaller part, and their GHASH values are joined at the end. */
class SegmentJob final : public Job {
 public:
  enum class Direction { kSeal, kOpen };

  SegmentJob(Environment& environment, Direction direction, std::shared_ptr<NativeKey> key, const uint8_t* nonce,
             uint64_t first_block, Bytes output, uint8_t* ghash)
      : direction_(direction), key_(std::move(key)), first_block_(first_block), output_(output), ghash_(ghash) {
    std::memcpy(nonce_, nonce, kNonce);
    unit_count_ = std::max<size_t>(1, (output.length + kUnitLength - 1) / kUnitLength);
    hashes_.resize(unit_count_ * kTag);
    environment_ = environment.shared_from_this();
  }
  ~SegmentJob() override { wipe(hashes_.data(), hashes_.size()); }
  /** The same on the calling thread, without the copy: from `chunks` to the output. */
  void run_now(ChunkCursor cursor) noexcept {
    ScopedState state;
    gcm::start_segment(key_->key, state, nonce_, first_block_);
    uint8_t* out = output_.data;
    for (size_t rest = output_.length; rest != 0;) {
      const Chunk piece = cursor.next(rest);
      apply(state, piece.data, piece.length, out);
      out += piece.length;
      rest -= piece.length;
    }
    gcm::export_segment(key_->key, state, ghash_);
  }

 private:
  /** A multiple of 16. */
  static constexpr size_t kUnitLength = 256 * 1024;

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
  void run_unit(size_t unit) noexcept override {
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
  const std::vector<Chunk> chunks = elements.read(args, output.length);
  for (const Chunk& chunk : chunks) {
    if (overlaps(chunk.data, chunk.length, output.data, output.length)) args.fail("output overlaps a chunk");
  }
  if (!args.ok()) return nullptr;
  auto job = std::make_unique<SegmentJob>(environment, direction, std::move(key), nonce.data, first_block, output,
                                          ghash.data);
  ChunkCursor cursor(chunks.data(), chunks.size());
  if (threads == Threads::kThis) {
    job->run_now(cursor);
    return nullptr;
  }
  cursor.copy_to(output.data, output.length);
  return Job::start(std::move(job), env, output.length, {args.value(4), args.value(5)});
}

}  // namespace

napi_value seal_frames_async(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  RunArguments run(args, RunArguments::Direction::kSeal);
  if (!args.ok()) return nullptr;
  scatter_plaintext(run.run, ChunkCursor(run.chunks.data(), run.chunks.size()), run.output.data);
  const size_t length = run.run.plaintext_length();
  return Job::start(std::make_unique<SealFramesJob>(args, std::move(run)), env, length, {args.value(3)});
}

napi_value open_frames_async(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  RunArguments run(args, RunArguments::Direction::kOpen);
  if (!args.ok()) return nullptr;
  auto stored = std::make_unique<StoredFrame[]>(run.run.total());
  gather_ciphertext(run.run, ChunkCursor(run.chunks.data(), run.chunks.size()), run.output.data, stored.get());
  const size_t length = run.run.plaintext_length();
  auto job = std::make_unique<OpenFramesJob>(args, std::move(run), std::move(stored));
  return Job::start(std::move(job), env, length, {args.value(3)});
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
