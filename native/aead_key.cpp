#include "aead_key.h"

#include <cstring>
#include <memory>
#include <utility>

#include "chunks.h"
#include "edge.h"
#include "environment.h"
#include "gcm/kernels.h"
#include "parallel_run.h"
#include "run_arguments.h"
#include "scoped_state.h"
#include "secret.h"

namespace frameseal {
namespace {

constexpr uint64_t kMaxGcmLength = (uint64_t{1} << 36) - 32;
constexpr char kDisposed[] = "internal error: key has been disposed of";
constexpr char kFinished[] = "internal error: message has been finished";

/** The key of argument 0; null with an error pending if there is none. */
NativeKey* find_key(Arguments& args) {
  const uint32_t handle = args.any_uint32(0);
  if (!args.ok()) return nullptr;
  NativeKey* key = args.data<Environment>().keys.find(handle).get();
  if (key == nullptr) args.fail_internally(kDisposed);
  return key;
}

NativeMessage* find_message(Arguments& args) {
  const uint32_t handle = args.uint32(0);
  if (!args.ok()) return nullptr;
  NativeMessage* message = args.data<Environment>().messages.find(handle).get();
  if (message == nullptr) args.fail_internally(kFinished);
  return message;
}

/** Nonce, AAD and text as they lie in the scratch memory: arguments 1 and 2 are the lengths of AAD and text. */
struct Scratch {
  uint8_t* nonce;
  uint8_t* aad;
  size_t aad_length;
  uint8_t* text;
  size_t text_length;

  Scratch(Arguments& args, size_t tail) {
    const Environment& environment = args.data<Environment>();
    aad_length = args.any_uint32(1);
    text_length = args.any_uint32(2);
    if (args.ok() && environment.scratch_length < kNonce + aad_length + text_length + tail) {
      args.fail("scratch memory is too short");
    }
    nonce = environment.scratch;
    aad = nonce + kNonce;
    text = aad + aad_length;
  }
};

bool is_parallel(const RunArguments& run) noexcept {
  return run.threads > 1 && run.run.plaintext_length() >= kMinParallelLength;
}

}  // namespace

napi_value create_key(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const Bytes raw = args.bytes_of_length(0, 32);
  const uint64_t index = args.integer(1, gcm::kernel_count() - 1);
  if (!args.ok()) return nullptr;
  const gcm::Kernel* kernel = &gcm::kernel_at(index);
  if (gcm::kernel_fitness(*kernel) != gcm::Fitness::works) {
    args.fail_internally("internal error: kernel does not work here");
    return nullptr;
  }
  auto key = std::make_shared<NativeKey>();
  gcm::key_init(key->key, *kernel, raw.data);
  const uint32_t handle = args.data<Environment>().keys.add(std::move(key));
  if (handle == 0) {
    args.fail_internally("too many keys are in use; dispose of some");
    return nullptr;
  }
  return number(env, handle);
}

napi_value dispose_key(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const uint32_t handle = args.uint32(0);
  if (args.ok()) args.data<Environment>().keys.remove(handle);
  return nullptr;
}

napi_value seal(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const NativeKey* key = find_key(args);
  const Bytes nonce = args.bytes_of_length(1, kNonce);
  const Bytes aad = args.bytes(2);
  const Bytes plaintext = args.bytes(3);
  const Bytes output = args.bytes_of_length(4, plaintext.length + kTag);
  if (args.ok() && plaintext.length > kMaxGcmLength) args.fail("plaintext is too long");
  if (!args.ok()) return nullptr;
  gcm::seal(key->key, nonce.data, aad.data, aad.length, plaintext.data, plaintext.length, output.data,
            output.data + plaintext.length);
  return nullptr;
}

napi_value open(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const NativeKey* key = find_key(args);
  const Bytes nonce = args.bytes_of_length(1, kNonce);
  const Bytes aad = args.bytes(2);
  const Bytes sealed = args.bytes(3);
  if (args.ok() && (sealed.length < kTag || sealed.length - kTag > kMaxGcmLength)) args.fail("wrong length");
  const Bytes output = args.bytes_of_length(4, sealed.length - kTag);
  if (!args.ok()) return nullptr;
  const bool is_authentic = gcm::open(key->key, nonce.data, aad.data, aad.length, sealed.data, output.length,
                                      output.data, sealed.data + output.length);
  return boolean(env, is_authentic);
}

napi_value set_scratch(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const Bytes bytes = args.bytes(0);
  Environment& environment = args.data<Environment>();
  if (args.ok() && environment.scratch != nullptr) args.fail_internally("internal error: scratch memory is set once");
  napi_ref reference = nullptr;  // lives as long as the environment
  if (!args.ok() || napi_create_reference(env, args.value(0), 1, &reference) != napi_ok) return nullptr;
  environment.scratch = bytes.data;
  environment.scratch_length = bytes.length;
  return nullptr;
}

napi_value seal_small(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const NativeKey* key = find_key(args);
  const Scratch scratch(args, kTag);
  if (!args.ok()) return nullptr;
  gcm::seal(key->key, scratch.nonce, scratch.aad, scratch.aad_length, scratch.text, scratch.text_length, scratch.text,
            scratch.text + scratch.text_length);
  return nullptr;
}

napi_value open_small(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const NativeKey* key = find_key(args);
  const Scratch scratch(args, 0);
  if (args.ok() && scratch.text_length < kTag) args.fail("wrong length");
  if (!args.ok()) return nullptr;
  const size_t length = scratch.text_length - kTag;
  const bool is_authentic = gcm::open(key->key, scratch.nonce, scratch.aad, scratch.aad_length, scratch.text, length,
                                      scratch.text, scratch.text + length);
  return boolean(env, is_authentic);
}

napi_value seal_frames(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  RunArguments run(args, RunArguments::Direction::kSeal);
  if (!args.ok()) return nullptr;
  if (is_parallel(run)) {
    Crew& crew = *args.data<Environment>().crew;
    seal_run_in_parallel(crew, run.threads, run.key->key, run.format, run.run, std::move(run.chunks), run.output.data);
    return nullptr;
  }
  seal_run(run.key->key, run.format, run.run, ChunkCursor(run.chunks.data(), run.chunks.size()), run.output.data);
  return nullptr;
}

napi_value open_frames(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  RunArguments run(args, RunArguments::Direction::kOpen);
  if (!args.ok()) return nullptr;
  if (is_parallel(run)) {
    Crew& crew = *args.data<Environment>().crew;
    return number(env, static_cast<double>(open_run_in_parallel(crew, run.threads, run.key->key, run.format, run.run,
                                                                std::move(run.chunks), run.output.data)));
  }
  const ChunkCursor cursor(run.chunks.data(), run.chunks.size());
  return number(env, static_cast<double>(open_run(run.key->key, run.format, run.run, cursor, run.output.data)));
}

napi_value start_message(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const uint32_t handle = args.uint32(0);
  const Bytes nonce = args.bytes_of_length(1, kNonce);
  const Bytes aad = args.bytes(2);
  if (!args.ok()) return nullptr;
  Environment& environment = args.data<Environment>();
  auto message = std::make_shared<NativeMessage>();
  message->key = environment.keys.find(handle);
  if (message->key == nullptr) {
    args.fail_internally(kDisposed);
    return nullptr;
  }
  gcm::start(message->key->key, message->state, nonce.data, aad.data, aad.length);
  const uint32_t result = environment.messages.add(std::move(message));
  if (result == 0) {
    args.fail_internally("too many messages are in progress");
    return nullptr;
  }
  return number(env, result);
}

template <typename Update>
napi_value update_message(napi_env env, napi_callback_info info, Update update) {
  Arguments args(env, info);
  NativeMessage* message = find_message(args);
  const Bytes input = args.bytes(1);
  const Bytes output = args.bytes_of_length(2, input.length);
  if (!args.ok()) return nullptr;
  if (message->length + input.length > kMaxGcmLength) {
    args.fail_internally("internal error: message is too long");
    return nullptr;
  }
  message->length += input.length;
  if (input.length != 0) update(message->key->key, message->state, input.data, input.length, output.data);
  return nullptr;
}

napi_value seal_update(napi_env env, napi_callback_info info) {
  return update_message(env, info, gcm::encrypt_update);
}

napi_value open_update(napi_env env, napi_callback_info info) {
  return update_message(env, info, gcm::decrypt_update);
}

napi_value finish_seal(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  NativeMessage* message = find_message(args);
  const Bytes output = args.bytes_of_length(1, kTag);
  if (!args.ok()) return nullptr;
  gcm::finish(message->key->key, message->state, output.data);
  args.data<Environment>().messages.remove(args.uint32(0));
  return nullptr;
}

napi_value finish_open(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  NativeMessage* message = find_message(args);
  const Bytes tag = args.bytes_of_length(1, kTag);
  if (!args.ok()) return nullptr;
  const bool is_authentic = gcm::finish_and_compare(message->key->key, message->state, tag.data);
  args.data<Environment>().messages.remove(args.uint32(0));
  return boolean(env, is_authentic);
}

napi_value drop_message(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const uint32_t handle = args.uint32(0);
  if (args.ok()) args.data<Environment>().messages.remove(handle);
  return nullptr;
}

napi_value finish_segments(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const NativeKey* key = find_key(args);
  const Bytes nonce = args.bytes_of_length(1, kNonce);
  const Bytes aad = args.bytes(2);
  const Bytes hashes = args.bytes(3);
  const Bytes lengths = args.bytes_of_length(4, hashes.length / kTag * sizeof(double));
  const Bytes output = args.bytes_of_length(5, kTag);
  if (args.ok() && hashes.length % kTag != 0) args.fail("expected 16 bytes per part");
  if (args.ok() && !gcm::has_segments(key->key)) args.fail_internally("internal error: kernel has no segments");
  if (!args.ok()) return nullptr;
  ScopedState state;
  gcm::start(key->key, state, nonce.data, aad.data, aad.length);
  uint64_t total = 0;
  for (size_t i = 0; i < hashes.length / kTag; i++) {
    double length = 0;
    std::memcpy(&length, lengths.data + i * sizeof(double), sizeof(double));
    if (!is_integer(length, kMaxGcmLength) || total % 16 != 0) {
      args.fail("expected whole blocks before the last part");
      return nullptr;
    }
    total += static_cast<uint64_t>(length);
    if (total > kMaxGcmLength) {
      args.fail("message is too long");
      return nullptr;
    }
    gcm::append_segment(key->key, state, hashes.data + i * kTag, static_cast<uint64_t>(length));
  }
  gcm::finish(key->key, state, output.data);
  return nullptr;
}

}  // namespace frameseal
