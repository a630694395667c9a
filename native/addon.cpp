// The addon: its functions, and what one environment owns. Functions get that as their data pointer.
#include <node_api.h>

#include <memory>

#if defined(__GLIBC__)
#include <malloc.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "aead_key.h"
#include "edge.h"
#include "environment.h"
#include "file_lock.h"
#include "message_hash.h"
#include "gcm/kernels.h"
#include "gcm/cpu.h"
#include "pump_task.h"
#include "segment.h"

namespace frameseal {
namespace {

napi_value text(napi_env env, const char* string) {
  napi_value result = nullptr;
  napi_create_string_utf8(env, string, NAPI_AUTO_LENGTH, &result);
  return result;
}

/**
 * adviseHugePages(output): asks the system to back fresh memory with large pages. The first touch of a 4 KiB page costs
 * about 2 µs, more than it takes to encrypt it three times.
 */
napi_value advise_huge_pages(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  [[maybe_unused]] const Bytes output = args.bytes(0);
  if (!args.ok()) return nullptr;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  static const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t start = (reinterpret_cast<uintptr_t>(output.data) + page - 1) & ~(page - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(output.data) + output.length) & ~(page - 1);
  if (end > start) madvise(reinterpret_cast<void*>(start), end - start, MADV_HUGEPAGE);  // a hint; failing is no harm
#endif
  return nullptr;
}

/** kernels() -> [{ name, works, preferred, segments, reason }], best first; what is not preferred is for those who name it */
napi_value kernels(napi_env env, napi_callback_info) {
  napi_value list = nullptr;
  napi_create_array(env, &list);
  for (size_t i = 0; i < gcm::kernel_count(); i++) {
    const gcm::Kernel& kernel = gcm::kernel_at(i);
    const gcm::Fitness fitness = gcm::kernel_fitness(kernel);
    const bool preferred = !kernel.is_wide || gcm::cpu_features().prefers_512;
    const char* const reason = fitness == gcm::Fitness::works && !preferred ? "works, but wide registers slow this CPU's clock"
                               : fitness == gcm::Fitness::works             ? "works"
                               : fitness == gcm::Fitness::unsupported ? "not supported by this CPU or process"
                                                                      : "failed its self-test";
    napi_value entry = nullptr;
    napi_create_object(env, &entry);
    napi_set_named_property(env, entry, "name", text(env, kernel.name));
    napi_set_named_property(env, entry, "works", boolean(env, fitness == gcm::Fitness::works));
    napi_set_named_property(env, entry, "preferred", boolean(env, preferred));
    napi_set_named_property(env, entry, "segments", boolean(env, kernel.multiply != nullptr));
    napi_set_named_property(env, entry, "reason", text(env, reason));
    napi_set_element(env, list, static_cast<uint32_t>(i), entry);
  }
  return list;
}

/** cpuFeatures() -> names of the instruction-set extensions that matter here */
napi_value cpu_features(napi_env env, napi_callback_info) {
  const char* names[16];
  const size_t count = gcm::feature_names(gcm::cpu_features(), names, 16);
  napi_value list = nullptr;
  napi_create_array(env, &list);
  for (size_t i = 0; i < count; i++) napi_set_element(env, list, static_cast<uint32_t>(i), text(env, names[i]));
  return list;
}

/** keepFreedMemory() -> whether the C library does so from now on; see src/engine/native/freed-memory.ts */
napi_value keep_freed_memory(napi_env env, napi_callback_info) {
#if defined(__GLIBC__)
  constexpr int kLargestMapped = 32 << 20;  // glibc takes no more
  return boolean(env, mallopt(M_MMAP_THRESHOLD, kLargestMapped) == 1 && mallopt(M_TRIM_THRESHOLD, 2 * kLargestMapped) == 1);
#else
  return boolean(env, false);
#endif
}

/**
 * recycle(result): frees its memory now instead of at the next garbage collection; all views of it become empty. Nothing here
 * may be at work on it, and it is nobody's pool.
 */
napi_value recycle(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  args.bytes(0);
  napi_value buffer = nullptr;
  if (!args.ok()) return nullptr;
  if (napi_get_typedarray_info(env, args.value(0), nullptr, nullptr, nullptr, &buffer, nullptr) == napi_ok) {
    napi_detach_arraybuffer(env, buffer);  // fails if somebody forbade it: then the collector will do it
  }
  return nullptr;
}

void delete_environment(napi_env, void* data, void*) { delete static_cast<std::shared_ptr<Environment>*>(data); }

struct Function {
  const char* name;
  napi_callback callback;
};

}  // namespace
}  // namespace frameseal

NAPI_MODULE_INIT() {
  using namespace frameseal;
  auto owned = std::make_unique<std::shared_ptr<Environment>>(std::make_shared<Environment>());
  Environment* const environment = owned->get();
  if (napi_set_instance_data(env, owned.get(), delete_environment, nullptr) != napi_ok) return nullptr;
  owned.release();  // `delete_environment` has it now
  const Function functions[] = {
      {"createKey", create_key},
      {"disposeKey", dispose_key},
      {"seal", seal},
      {"open", open},
      {"setScratch", set_scratch},
      {"sealSmall", seal_small},
      {"openSmall", open_small},
      {"sealFrames", seal_frames},
      {"openFrames", open_frames},
      {"startMessage", start_message},
      {"sealUpdate", seal_update},
      {"openUpdate", open_update},
      {"finishSeal", finish_seal},
      {"finishOpen", finish_open},
      {"dropMessage", drop_message},
      {"sealSegment", seal_segment},
      {"openSegment", open_segment},
      {"finishSegments", finish_segments},
      {"startHash", start_hash},
      {"updateHash", update_hash},
      {"updateHashAsync", update_hash_async},
      {"finishHash", finish_hash},
      {"dropHash", drop_hash},
      {"signDigest", sign_digest},
      {"verifyDigest", verify_digest},
      {"adviseHugePages", advise_huge_pages},
      {"keepFreedMemory", keep_freed_memory},
      {"recycle", recycle},
#if defined(__unix__) || defined(__APPLE__)
      {"lockFile", lock_file},
      {"startPump", start_pump},
      {"pumpReadLength", pump_read_length},
      {"cancelPump", cancel_pump},
#endif
      {"kernels", kernels},
      {"cpuFeatures", cpu_features},
  };
  for (const Function& function : functions) {
    napi_value value = nullptr;
    if (napi_create_function(env, function.name, NAPI_AUTO_LENGTH, function.callback, environment, &value) != napi_ok ||
        napi_set_named_property(env, exports, function.name, value) != napi_ok) {
      return nullptr;
    }
  }
  return exports;
}
