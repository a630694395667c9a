#include "frame_worker.h"

#include <algorithm>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "chunks.h"
#include "edge.h"
#include "environment.h"
#include "run_arguments.h"
#include "unit_work.h"

namespace frameseal {
namespace {

constexpr uint64_t kMaxGcmLength = (uint64_t{1} << 36) - 32;
/** So much work of ours may wait in Node's pool before the JavaScript thread does everything itself. */
constexpr uint32_t kMaxActiveWorks = 64;

/**
 * Work whose helpers are threads of Node's pool, and the promise of it. Made and destroyed on the JavaScript thread; the
 * work holds what it needs, so that neither disposing of the key nor tearing down the environment pulls memory from under
 * a thread.
 */
class Job {
 public:
  explicit Job(Environment& environment) : environment_(environment.shared_from_this()) {}
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  virtual ~Job() = default;

  /**
   * Works on the job with the help of worker threads; returns a promise. `keep_alive` are the views that the threads
   * write to. Takes ownership of the job.
   */
  static napi_value start(std::unique_ptr<Job> job, napi_env env, std::initializer_list<napi_value> keep_alive);

 private:
  virtual UnitWork& work() noexcept = 0;
  /** Called on the JavaScript thread when all units are done. */
  virtual napi_value result(napi_env env) noexcept = 0;

  struct Helper {
    Job* job;
    napi_async_work handle;
  };
  static void execute(napi_env env, void* data);
  static void complete(napi_env env, napi_status status, void* data);
  void queue_helpers(napi_env env) noexcept;
  void settle(napi_env env) noexcept;

  std::shared_ptr<Environment> environment_;
  uint32_t pending_helpers_ = 0;
  napi_deferred deferred_ = nullptr;
  std::vector<napi_ref> references_;
};

napi_value Job::start(std::unique_ptr<Job> owned, napi_env env, std::initializer_list<napi_value> keep_alive) {
  napi_value promise = nullptr;
  if (napi_create_promise(env, &owned->deferred_, &promise) != napi_ok) return nullptr;
  Job* const job = owned.release();
  if (job->work().unit_count() > 1 && job->environment_->core_count > 1) {
    bool is_kept = true;
    for (napi_value view : keep_alive) {
      napi_ref reference = nullptr;
      is_kept = is_kept && napi_create_reference(env, view, 1, &reference) == napi_ok;
      if (is_kept) job->references_.push_back(reference);
    }
    if (is_kept) job->queue_helpers(env);
  }
  job->work().share(job->pending_helpers_);
  job->settle(env);
  return promise;
}

void Job::queue_helpers(napi_env env) noexcept {
  napi_value name = nullptr;
  if (napi_create_string_utf8(env, "frameseal", NAPI_AUTO_LENGTH, &name) != napi_ok) return;
  const size_t count = std::min<size_t>(environment_->core_count - 1, work().unit_count() - 1);
  for (size_t i = 0; i < count && environment_->active_works < kMaxActiveWorks; i++) {
    auto helper = std::make_unique<Helper>(Helper{this, nullptr});
    if (napi_create_async_work(env, nullptr, name, execute, complete, helper.get(), &helper->handle) != napi_ok) return;
    if (napi_queue_async_work(env, helper->handle) != napi_ok) {
      napi_delete_async_work(env, helper->handle);
      return;
    }
    helper.release();  // `complete` deletes it
    pending_helpers_++;
    environment_->active_works++;
  }
}

void Job::execute(napi_env, void* data) { static_cast<Helper*>(data)->job->work().help(); }

void Job::complete(napi_env env, napi_status, void* data) {
  const std::unique_ptr<Helper> helper(static_cast<Helper*>(data));
  Job* const job = helper->job;
  napi_delete_async_work(env, helper->handle);
  job->environment_->active_works--;
  job->pending_helpers_--;
  job->settle(env);
}

/**
 * Resolves the promise as soon as all units are done, and ends the job when no thread can look at it any more. Rejects
 * if the environment cancelled the threads on its way down; then probably nobody listens.
 */
void Job::settle(napi_env env) noexcept {
  const bool is_done = work().is_done();
  if (deferred_ != nullptr && (is_done || pending_helpers_ == 0)) {
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
  if (pending_helpers_ == 0) delete this;
}

/** A key by its expanded form; keeps the whole alive. */
SharedKey shared(std::shared_ptr<NativeKey> key) {
  const gcm::Key* const expanded = &key->key;
  return {std::move(key), expanded};
}

template <class Work>
class FramesJob final : public Job {
 public:
  FramesJob(Environment& environment, RunArguments&& run)
      : Job(environment),
        work_(shared(std::move(run.key)), run.run,
              std::vector<uint8_t>(run.format_bytes.data, run.format_bytes.data + run.format_bytes.length),
              std::move(run.chunks), run.output.data) {}

 private:
  UnitWork& work() noexcept override { return work_; }
  napi_value result(napi_env env) noexcept override {
    if constexpr (std::is_same_v<Work, OpenFramesWork>) {
      return number(env, static_cast<double>(work_.finish()));
    } else {
      return undefined(env);
    }
  }

  Work work_;
};

class SegmentJob final : public Job {
 public:
  SegmentJob(Environment& environment, std::unique_ptr<SegmentWork> work, uint8_t* ghash)
      : Job(environment), work_(std::move(work)), ghash_(ghash) {}

 private:
  UnitWork& work() noexcept override { return *work_; }
  napi_value result(napi_env env) noexcept override {
    work_->finish(ghash_);
    return undefined(env);
  }

  std::unique_ptr<SegmentWork> work_;
  uint8_t* ghash_;
};

enum class Threads { kThis, kOther };

/** key, nonce, firstBlock, chunks, output, ghash */
napi_value segment(napi_env env, napi_callback_info info, SegmentWork::Direction direction, Threads threads) {
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
  auto work = std::make_unique<SegmentWork>(direction, shared(std::move(key)), nonce.data, first_block, std::move(chunks),
                                            output.data, output.length);
  if (threads == Threads::kThis) {
    work->run_now(ghash.data);
    return nullptr;
  }
  auto job = std::make_unique<SegmentJob>(environment, std::move(work), ghash.data);
  return Job::start(std::move(job), env, {args.value(4), args.value(5)});
}

}  // namespace

napi_value seal_frames_async(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  RunArguments run(args, RunArguments::Direction::kSeal);
  if (!args.ok()) return nullptr;
  return Job::start(std::make_unique<FramesJob<SealFramesWork>>(args.data<Environment>(), std::move(run)), env, {args.value(3)});
}

napi_value open_frames_async(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  RunArguments run(args, RunArguments::Direction::kOpen);
  if (!args.ok()) return nullptr;
  return Job::start(std::make_unique<FramesJob<OpenFramesWork>>(args.data<Environment>(), std::move(run)), env, {args.value(3)});
}

napi_value seal_segment(napi_env env, napi_callback_info info) {
  return segment(env, info, SegmentWork::Direction::kSeal, Threads::kThis);
}
napi_value open_segment(napi_env env, napi_callback_info info) {
  return segment(env, info, SegmentWork::Direction::kOpen, Threads::kThis);
}
napi_value seal_segment_async(napi_env env, napi_callback_info info) {
  return segment(env, info, SegmentWork::Direction::kSeal, Threads::kOther);
}
napi_value open_segment_async(napi_env env, napi_callback_info info) {
  return segment(env, info, SegmentWork::Direction::kOpen, Threads::kOther);
}

}  // namespace frameseal
