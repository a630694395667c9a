// libFuzzer: runs of frames. Either everything is hostile, format, numbers and bytes: nothing may be read or written out
// of bounds, and nothing may be verified. Or a run is sealed and then altered: exactly the frames before the first altered
// one come out, and zeros after them. In one thread and in several, which must agree.
// Input: kernel and flags 1, format and run as below, then bytes.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "gcm/kernels.h"
#include "parallel_run.h"

using namespace frameseal;
using Bytes = std::vector<uint8_t>;

namespace {

constexpr size_t kMaxLength = 1 << 18;
constexpr size_t kMaxFrames = 1 << 12;

/** The input from front to back; zeros behind its end. */
struct Reader {
  const uint8_t* data;
  size_t size;
  uint64_t number(size_t bytes) {
    uint64_t value = 0;
    for (; bytes > 0; bytes--) {
      value = value << 8 | (size > 0 ? *data : 0);
      if (size > 0) data++, size--;
    }
    return value;
  }
  Bytes bytes(size_t length) {
    Bytes result(length);
    const size_t have = std::min(length, size);
    if (have > 0) std::memcpy(result.data(), data, have);
    data += have;
    size -= have;
    return result;
  }
};

void must(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "frames: %s\n", what);
  std::abort();
}

std::vector<Chunk> cut(const Bytes& bytes, size_t length) {
  std::vector<Chunk> chunks;
  for (size_t at = 0; at < bytes.size(); at += length)
    chunks.push_back({bytes.data() + at, std::min(length, bytes.size() - at)});
  return chunks;
}

using SharedKey = std::shared_ptr<gcm::Key>;

Crew& crew() {
  static Crew crew;
  return crew;
}

SharedKey key_of(const Bytes& raw, size_t kernel_index) {
  const gcm::Kernel* kernel = &gcm::kernel_at(kernel_index % gcm::kernel_count());
  if (gcm::kernel_fitness(*kernel) != gcm::Fitness::works) kernel = gcm::best_kernel();
  auto key = std::make_shared<gcm::Key>();
  gcm::key_init(*key, *kernel, raw.data());
  return key;
}

/** Opens a run in one thread and in several; returns how many frames were verified, with the plaintext. */
size_t open_twice(const SharedKey& key, const Run& run, const Bytes& format_bytes, const Bytes& sealed, size_t piece,
                  Bytes& plaintext) {
  FrameFormat format;
  must(format.parse(format_bytes.data(), format_bytes.size()), "a format that was one is none");
  const std::vector<Chunk> chunks = cut(sealed, piece);
  plaintext.assign(run.plaintext_length(), 0xaa);
  Bytes other(plaintext);
  const size_t verified = open_run(*key, format, run, ChunkCursor(chunks.data(), chunks.size()), plaintext.data());
  must(open_run_in_parallel(crew(), 3, *key, format, run, chunks, other.data()) == verified, "threads verify other frames");
  must(other == plaintext, "threads open other bytes");
  const size_t end = verified == run.total() ? plaintext.size() : run.frame(verified).plaintext_at;
  must(std::all_of(plaintext.begin() + static_cast<ptrdiff_t>(end), plaintext.end(), [](uint8_t b) { return b == 0; }),
       "bytes behind the last verified frame");
  return verified;
}

void hostile(Reader in, size_t kernel) {
  Run run;
  run.first_sequence = static_cast<uint32_t>(in.number(4));
  run.frame_count = static_cast<uint32_t>(in.number(4));
  run.final_length = static_cast<int64_t>(in.number(8));
  const size_t piece = 1 + in.number(2);
  const Bytes format_bytes = in.bytes(in.number(2) % 2200);
  FrameFormat format;
  if (!format.parse(format_bytes.data(), format_bytes.size())) return;
  run.frame_length = format.frame_length;
  if (!run.is_valid()) return;
  if (run.total() > kMaxFrames || run.sealed_length() > kMaxLength) return;
  Bytes plaintext;
  const size_t verified = open_twice(key_of(Bytes(32, 7), kernel), run, format_bytes, in.bytes(run.sealed_length()), piece, plaintext);
  must(verified == 0, "a forgery was verified");
}

void altered(Reader in, size_t kernel) {
  Run run;
  run.frame_length = static_cast<uint32_t>(1 + in.number(2));
  run.first_sequence = static_cast<uint32_t>(1 + in.number(2));
  run.frame_count = static_cast<uint32_t>(in.number(1) % (1 + kMaxLength / 2 / run.frame_length));
  run.final_length = static_cast<int64_t>(in.number(2) % (run.frame_length + 2)) - 1;
  const size_t piece = 1 + in.number(2), alterations = in.number(1) % 4;
  Bytes format_bytes = {0, 0, static_cast<uint8_t>(run.frame_length >> 8), static_cast<uint8_t>(run.frame_length), 0, 1, 0, 2, 9, 8, 7};
  format_bytes[1] = static_cast<uint8_t>(run.frame_length >> 16);
  FrameFormat format;
  must(format.parse(format_bytes.data(), format_bytes.size()) && run.is_valid(), "set-up");
  size_t places[4];
  uint8_t masks[4];
  for (size_t i = 0; i < 4; i++) places[i] = in.number(3), masks[i] = static_cast<uint8_t>(in.number(1));
  const SharedKey key = key_of(in.bytes(32), kernel);
  const Bytes text = in.bytes(run.plaintext_length());
  Bytes sealed(run.sealed_length()), other(run.sealed_length()), opened;
  const std::vector<Chunk> chunks = cut(text, piece);
  seal_run(*key, format, run, ChunkCursor(chunks.data(), chunks.size()), sealed.data());
  seal_run_in_parallel(crew(), 3, *key, format, run, chunks, other.data());
  must(sealed == other, "threads seal other bytes");
  for (size_t i = 0; i < alterations && !sealed.empty(); i++) sealed[places[i] % sealed.size()] ^= masks[i];
  size_t bad = 0;
  for (; bad < run.total(); bad++) {
    const auto begin = static_cast<ptrdiff_t>(run.frame(bad).sealed_at);
    const auto end = static_cast<ptrdiff_t>(bad + 1 < run.total() ? run.frame(bad + 1).sealed_at : sealed.size());
    if (!std::equal(sealed.begin() + begin, sealed.begin() + end, other.begin() + begin)) break;
  }
  must(open_twice(key, run, format_bytes, sealed, piece, opened) == bad, "another first bad frame");
  const size_t end = bad == run.total() ? opened.size() : run.frame(bad).plaintext_at;
  must(std::equal(opened.begin(), opened.begin() + static_cast<ptrdiff_t>(end), text.begin()), "other plaintext");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Reader in{data, size};
  const auto flags = static_cast<size_t>(in.number(1));
  flags & 1 ? hostile(in, flags >> 1) : altered(in, flags >> 1);
  return 0;
}
