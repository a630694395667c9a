// For LD_PRELOAD: of the calls of pthread_create that come from frameseal.node, those whose numbers FAIL_THREADS gives,
// as "2" or "1-3" or "1-", find that the system has no thread left. All others are let through.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef int Create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static atomic_long calls;

static int must_fail(long call) {
  const char *const range = getenv("FAIL_THREADS");
  if (range == NULL) return 0;
  char *end;
  const long first = strtol(range, &end, 10);
  const long last = *end != '-' ? first : end[1] == 0 ? LONG_MAX : strtol(end + 1, NULL, 10);
  return call >= first && call <= last;
}

__attribute__((visibility("default"))) int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                                                          void *(*start)(void *), void *argument) {
  Dl_info caller;
  const int is_ours = dladdr(__builtin_return_address(0), &caller) != 0 && caller.dli_fname != NULL &&
                      strstr(caller.dli_fname, "frameseal.node") != NULL;
  if (is_ours && must_fail(atomic_fetch_add(&calls, 1) + 1)) return EAGAIN;
  Create *const create = (Create *)dlsym(RTLD_NEXT, "pthread_create");
  return create(thread, attributes, start, argument);
}
