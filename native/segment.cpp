#include "segment.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "chunks.h"
#include "crew.h"
#include "edge.h"
#include "environment.h"
#include "scoped_state.h"
#include "secret.h"

namespace frameseal {
namespace {

constexpr uint64_t kMaxGcmLength = (uint64_t{1} << 36) - 32;
/** Bytes that a thread takes at a time. */
constexpr size_t kUnitLength = 64 * 1024;
static_assert(kUnitLength % gcm::kBlockLength == 0);

using Update = void (*)(const gcm::Key&, gcm::State&, const uint8_t* in, size_t length, uint8_t* out) noexcept;

/** A unit is a smaller part; their GHASH values are joined at the end. */
class SegmentUnits final : public Work {
 public:
  SegmentUnits(const gcm::Key& key, Update update, const uint8_t* nonce, uint64_t first_block, std::vector<Chunk> chunks,
               Bytes output)
      : key_(key),
        update_(update),
        nonce_(nonce),
        first_block_(first_block),
        chunks_(std::move(chunks)),
        output_(output),
        hashes_(count() * kTag) {}
  ~SegmentUnits() { wipe(hashes_.data(), hashes_.size()); }

  size_t count() const noexcept { return (output_.length + kUnitLength - 1) / kUnitLength; }
  void run(size_t unit) noexcept override {
    const size_t at = unit * kUnitLength;
    ScopedState state;
    gcm::start_segment(key_, state, nonce_, first_block_ + at / gcm::kBlockLength);
    ChunkCursor cursor = chunks_.at(at);
    uint8_t* out = output_.data + at;
    for (size_t rest = length_of(unit); rest != 0;) {
      const Chunk piece = cursor.next(rest);
      update_(key_, state, piece.data, piece.length, out);
      out += piece.length;
      rest -= piece.length;
    }
    gcm::export_segment(key_, state, hashes_.data() + unit * kTag);
  }
  /** After all units: the GHASH value of the whole part. */
  void join(uint8_t ghash[kTag]) noexcept {
    ScopedState state;
    gcm::start_segment(key_, state, nonce_, first_block_);
    for (size_t unit = 0; unit < count(); unit++) {
      gcm::append_segment(key_, state, hashes_.data() + unit * kTag, length_of(unit));
    }
    gcm::export_segment(key_, state, ghash);
  }

 private:
  const gcm::Key& key_;
  const Update update_;
  const uint8_t* const nonce_;
  const uint64_t first_block_;
  const ChunkList chunks_;
  const Bytes output_;
  std::vector<uint8_t> hashes_;

  size_t length_of(size_t unit) const noexcept { return std::min(kUnitLength, output_.length - unit * kUnitLength); }
};

/** key, nonce, firstBlock, chunks, output, ghash, threads */
napi_value run_segment(napi_env env, napi_callback_info info, Update update) {
  Arguments args(env, info);
  Environment& environment = args.data<Environment>();
  const uint32_t handle = args.uint32(0);
  const uint64_t first_block = args.integer(2, kMaxGcmLength / 16);
  const uint32_t threads = args.any_uint32(6);
  if (!args.ok()) return nullptr;
  const std::shared_ptr<NativeKey> key = environment.keys.find(handle);
  if (key == nullptr) {
    args.fail_internally("internal error: key has been disposed of");
    return nullptr;
  }
  const ChunkElements elements(args, 3);  // may run JavaScript; nothing below does
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
  if (args.ok() && !gcm::has_segments(key->key)) args.fail_internally("internal error: kernel has no segments");
  if (!args.ok()) return nullptr;
  SegmentUnits units(key->key, update, nonce.data, first_block, std::move(chunks), output);
  environment.crew->run(units, units.count(), std::max(1u, threads) - 1);
  units.join(ghash.data);
  return nullptr;
}

}  // namespace

napi_value seal_segment(napi_env env, napi_callback_info info) { return run_segment(env, info, gcm::encrypt_update); }
napi_value open_segment(napi_env env, napi_callback_info info) { return run_segment(env, info, gcm::decrypt_update); }

}  // namespace frameseal
