#include "pump_task.h"

#include "clean_up_hook.h"
#include "edge.h"
#include "environment.h"
#include "pump.h"
#include "thread.h"

#if defined(__unix__) || defined(__APPLE__)
#include <array>
#include <atomic>
#include <cstring>
#include <memory>

namespace frameseal {

/** Made on the JavaScript thread; its threads, the callback and the environment's table share it. */
class PumpTask : public std::enable_shared_from_this<PumpTask> {
 public:
  static constexpr size_t kMaxThreads = 64;

  PumpTask(std::shared_ptr<NativeKey> key, const Bytes& format, PumpPlan plan)
      : key_(std::move(key)), pump(key_->key, format.data, format.length, std::move(plan)) {}

  static napi_value start(napi_env env, Environment& environment, std::shared_ptr<PumpTask> task, uint32_t thread_count,
                          napi_value on_done);

 private:
  std::shared_ptr<NativeKey> key_;  // before the pump, which uses it

 public:
  Pump pump;

 private:
  static void run(void* task) noexcept;
  static void call_back(napi_env env, napi_value on_done, void* context, void* data);
  static void stop(void* task) noexcept;
  static void release(napi_env env, void* data, void* hint);
  bool start_threads(uint32_t count) noexcept;
  void join() noexcept;

  std::shared_ptr<Environment> environment_;
  uint32_t handle_ = 0;
  napi_threadsafe_function notify_ = nullptr;
  std::atomic<uint32_t> running_{0};
  CleanUpHook hook_;
  std::array<Thread, kMaxThreads> threads_;  // last, so that they have ended before anything they use is gone
};

napi_value PumpTask::start(napi_env env, Environment& environment, std::shared_ptr<PumpTask> task,
                           uint32_t thread_count, napi_value on_done) {
  napi_value name = nullptr;
  auto context = std::make_unique<std::shared_ptr<PumpTask>>(task);
  if (napi_create_string_utf8(env, "frameseal", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_threadsafe_function(env, on_done, nullptr, name, 0, 1, context.get(), release, context.get(),
                                      call_back, &task->notify_) != napi_ok) {
    napi_throw_error(env, nullptr, "internal error: no way back from another thread");
    return nullptr;
  }
  context.release();  // `release` deletes it
  const uint32_t handle = environment.pumps.add(task);
  // After the function, so that at the end of the environment the threads are gone before it is.
  if (handle == 0 || !task->hook_.add(env, stop, task.get()) || !task->start_threads(thread_count)) {
    task->hook_.remove();
    environment.pumps.remove(handle);
    napi_release_threadsafe_function(task->notify_, napi_tsfn_abort);
    return number(env, 0);
  }
  // The callback comes on this thread, so not before this returns.
  task->environment_ = environment.shared_from_this();
  task->handle_ = handle;
  return number(env, handle);
}

bool PumpTask::start_threads(uint32_t count) noexcept {
  running_ = 1;  // so that the first one does not end the task before the last one has started
  bool has_any = false;
  for (uint32_t i = 0; i < count && i < kMaxThreads; i++) {
    running_++;
    if (threads_[i].start("frameseal pump", run, this)) {
      has_any = true;
    } else {
      running_--;
    }
  }
  if (!has_any) return false;
  if (--running_ == 0) napi_call_threadsafe_function(notify_, nullptr, napi_tsfn_nonblocking);
  return true;
}

void PumpTask::run(void* data) noexcept {
  auto* const task = static_cast<PumpTask*>(data);
  task->pump.run();
  if (--task->running_ == 0) napi_call_threadsafe_function(task->notify_, nullptr, napi_tsfn_nonblocking);
}

void PumpTask::join() noexcept {
  for (Thread& thread : threads_) thread.join();
}

void PumpTask::stop(void* data) noexcept {
  auto* const task = static_cast<PumpTask*>(data);
  task->pump.cancel();
  task->join();
  task->environment_.reset();  // which holds this task
}

void PumpTask::call_back(napi_env env, napi_value on_done, void* context, void*) {
  if (env == nullptr) return;  // on its way down: `stop` has been called, and `release` may have been
  const std::shared_ptr<PumpTask> task = *static_cast<std::shared_ptr<PumpTask>*>(context);
  task->join();
  task->hook_.remove();
  task->environment_->pumps.remove(task->handle_);
  task->environment_.reset();
  const PumpResult result = task->pump.result();
  napi_value arguments[] = {number(env, static_cast<double>(result.status)),
                            number(env, result.error),
                            number(env, result.frame_count),
                            number(env, static_cast<double>(result.read_length)),
                            number(env, static_cast<double>(result.written_length)),
                            number(env, static_cast<double>(result.plaintext_length))};
  napi_call_function(env, undefined(env), on_done, 6, arguments, nullptr);
  napi_release_threadsafe_function(task->notify_, napi_tsfn_release);
}

void PumpTask::release(napi_env, void* data, void*) { delete static_cast<std::shared_ptr<PumpTask>*>(data); }

napi_value start_pump(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const uint32_t handle = args.uint32(0);
  const Bytes format = args.bytes(1);
  const Bytes head = args.bytes(2);
  double numbers[9];
  const Bytes number_bytes = args.bytes_of_length(3, sizeof numbers);
  if (!args.ok()) return nullptr;
  std::memcpy(numbers, number_bytes.data, sizeof numbers);
  static constexpr uint64_t kAny = 9007199254740991;
  static constexpr uint64_t kHighest[] = {1, 0x7fffffff, 0x7fffffff, kAny, kAny, kAny, kAny, 0xffffffff, PumpTask::kMaxThreads};
  for (size_t i = 0; args.ok() && i < 9; i++) {
    const bool may_be_none = i >= 2 && i <= 4;
    if (!is_integer(numbers[i], kHighest[i]) && !(may_be_none && numbers[i] == -1)) args.fail("expected whole numbers");
  }
  if (args.ok() && numbers[8] == 0) args.fail("expected a number of threads");
  Environment& environment = args.data<Environment>();
  const std::shared_ptr<NativeKey> key = environment.keys.find(handle);
  if (args.ok() && key == nullptr) args.fail_internally("internal error: key has been disposed of");
  if (!args.ok()) return nullptr;
  PumpPlan plan;
  plan.direction = numbers[0] == 0 ? PumpDirection::kSeal : PumpDirection::kOpen;
  plan.input = static_cast<int>(numbers[1]);
  plan.output = static_cast<int>(numbers[2]);
  plan.input_at = static_cast<int64_t>(numbers[3]);
  plan.output_at = static_cast<int64_t>(numbers[4]);
  plan.reserved_length = static_cast<uint64_t>(numbers[5]);
  plan.max_plaintext_length = static_cast<uint64_t>(numbers[6]);
  plan.max_frame_count = static_cast<uint32_t>(numbers[7]);
  plan.head.assign(head.data, head.data + head.length);
  auto task = std::make_shared<PumpTask>(key, format, std::move(plan));
  if (!task->pump.is_ready()) {
    args.fail_internally("internal error: no frame format for a pump");
    return nullptr;
  }
  return PumpTask::start(env, environment, std::move(task), static_cast<uint32_t>(numbers[8]), args.value(4));
}

napi_value pump_read_length(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const uint32_t handle = args.uint32(0);
  if (!args.ok()) return nullptr;
  const std::shared_ptr<PumpTask>& task = args.data<Environment>().pumps.find(handle);
  return number(env, task == nullptr ? 0 : static_cast<double>(task->pump.read_length()));
}

napi_value cancel_pump(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const uint32_t handle = args.uint32(0);
  if (!args.ok()) return nullptr;
  const std::shared_ptr<PumpTask>& task = args.data<Environment>().pumps.find(handle);
  if (task != nullptr) task->pump.cancel();
  return nullptr;
}

}  // namespace frameseal
#endif
