#include "thread.h"

#if !defined(_WIN32)
#include <signal.h>
#endif

namespace frameseal {

#if defined(_WIN32)

bool Thread::start(const char*, Run, void*) noexcept { return false; }
void Thread::join() noexcept {}

#else

bool Thread::start(const char* name, Run run, void* owner) noexcept {
  if (is_started_) return false;
  name_ = name;
  run_ = run;
  owner_ = owner;
  // A new thread has the mask of the one that makes it: so there is no moment in which a signal could reach it.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return false;
  is_started_ = pthread_create(&thread_, nullptr, begin, this) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return is_started_;
}

void Thread::join() noexcept {
  if (!is_started_) return;
  pthread_join(thread_, nullptr);
  is_started_ = false;
}

void* Thread::begin(void* self) noexcept {
  const auto* const thread = static_cast<const Thread*>(self);
#if defined(__linux__)
  pthread_setname_np(pthread_self(), thread->name_);
#endif
  thread->run_(thread->owner_);
  return nullptr;
}

#endif

}  // namespace frameseal
