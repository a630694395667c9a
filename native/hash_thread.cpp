#include "hash_thread.h"

#include <algorithm>
#include <thread>

namespace frameseal {
namespace {

/** More messages than this at a time are hashed on the JavaScript thread. */
constexpr int kMaxThreads = 64;
std::atomic<int> thread_count{0};
/** Bytes between two looks at whether the environment is going down. */
constexpr size_t kStep = size_t{1} << 20;

}  // namespace

napi_value HashThread::add(napi_env env, napi_value view, Bytes bytes) {
  auto piece = std::make_unique<Piece>(Piece{this, bytes, nullptr, nullptr});
  napi_value promise = nullptr;
  if (napi_create_promise(env, &piece->deferred, &promise) != napi_ok) return nullptr;
  const bool has_thread = reports_ != nullptr || start(env);
  if (!has_thread || napi_create_reference(env, view, 1, &piece->view) != napi_ok) {
    // Pieces before this one must be hashed first, so only an idle hash may do it here.
    if (is_idle()) {
      digest.update(bytes.data, bytes.length);
      napi_resolve_deferred(env, piece->deferred, undefined(env));
    } else {
      napi_value reason = nullptr;
      napi_create_string_utf8(env, "internal error: hash is in work", NAPI_AUTO_LENGTH, &reason);
      napi_create_error(env, nullptr, reason, &reason);
      napi_reject_deferred(env, piece->deferred, reason);
    }
    return promise;
  }
  if (pending_++ == 0) napi_ref_threadsafe_function(env, reports_);  // the process lives until it is settled
  {
    const std::lock_guard lock(mutex_);
    pieces_.push_back(piece.release());  // `settle` deletes it
  }
  changed_.notify_one();
  return promise;
}

void HashThread::end() noexcept {
  {
    const std::lock_guard lock(mutex_);
    is_ended_ = true;
  }
  changed_.notify_one();
}

bool HashThread::start(napi_env env) noexcept {
  // On a single core it would only take turns with the caller.
  if (std::thread::hardware_concurrency() < 2 || thread_count.load() >= kMaxThreads) return false;
  const auto run = [](void* hash) noexcept { static_cast<HashThread*>(hash)->work(); };
  if (!thread_.start("frameseal hash", run, this)) return false;
  thread_count++;
  // The thread waits for its first piece, so it finds what is made here.
  napi_value name = nullptr;
  auto self = std::make_unique<std::shared_ptr<HashThread>>(shared_from_this());
  if (napi_create_string_utf8(env, "frameseal hash", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, self.get(), on_thread_ended, nullptr, settle,
                                      &reports_) != napi_ok) {
    reports_ = nullptr;
    end();
    join();
    is_ended_ = false;
    return false;
  }
  self.release();  // `on_thread_ended` deletes it
  napi_unref_threadsafe_function(env, reports_);
  // Hooks run last in, first out: this one before that of `reports_`, so that the thread never reports to nobody.
  hook_.add(env, on_teardown, this);
  return true;
}

void HashThread::work() noexcept {
  for (;;) {
    Piece* piece = nullptr;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return is_ended_ || !pieces_.empty(); });
      if (pieces_.empty()) break;
      piece = pieces_.front();
      pieces_.pop_front();
    }
    // On teardown nobody is left to hear of it, and the environment frees the reference.
    if (!update(piece->bytes) || napi_call_threadsafe_function(reports_, piece, napi_tsfn_nonblocking) != napi_ok) {
      delete piece;
    }
  }
  if (reports_ != nullptr) napi_release_threadsafe_function(reports_, napi_tsfn_release);
}

bool HashThread::update(const Bytes& bytes) noexcept {
  for (size_t at = 0; at < bytes.length; at += kStep) {
    if (is_torn_down_.load(std::memory_order_relaxed)) return false;
    digest.update(bytes.data + at, std::min(kStep, bytes.length - at));
  }
  return !is_torn_down_.load(std::memory_order_relaxed);
}

void HashThread::join() noexcept {
  if (!thread_.is_started()) return;
  thread_.join();
  thread_count--;
}

void HashThread::settle(napi_env env, napi_value, void*, void* data) {
  const std::unique_ptr<Piece> piece(static_cast<Piece*>(data));
  if (env == nullptr) return;
  HashThread& hash = *piece->hash;
  if (--hash.pending_ == 0) napi_unref_threadsafe_function(env, hash.reports_);
  napi_delete_reference(env, piece->view);
  napi_resolve_deferred(env, piece->deferred, undefined(env));
}

void HashThread::on_thread_ended(napi_env env, void* data, void*) {
  const std::unique_ptr<std::shared_ptr<HashThread>> self(static_cast<std::shared_ptr<HashThread>*>(data));
  HashThread& hash = **self;
  hash.join();
  hash.hook_.remove();
}

void HashThread::on_teardown(void* data) noexcept {
  auto* hash = static_cast<HashThread*>(data);
  hash->is_torn_down_.store(true, std::memory_order_relaxed);
  hash->end();
  hash->join();
}

}  // namespace frameseal
