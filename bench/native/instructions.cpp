// Work to be counted by callgrind, which knows AES-NI but nothing wider: dispatch, the AES-NI kernel, frames around it.
// Each case is done once to be warm and once to be counted; counts do not depend on how busy the machine is. Prints one
// JSON object a line for each case; its count is in the dump of that name.  usage: see callgrind.sh
#include <valgrind/callgrind.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "frame_run.h"
#include "gcm/kernels.h"

using namespace frameseal;

namespace {

constexpr size_t kMaxLength = 1 << 20;
/** What the AAD of a frame has before sequence number and length: message id and a text. */
constexpr size_t kAadPrefix = 60;

void count(const std::string& name, size_t bytes, size_t calls, const std::function<void()>& work) {
  CALLGRIND_START_INSTRUMENTATION;
  CALLGRIND_ZERO_STATS;
  work();
  CALLGRIND_DUMP_STATS_AT(name.c_str());
  CALLGRIND_STOP_INSTRUMENTATION;
  std::printf("{\"name\":\"%s\",\"bytes\":%zu,\"calls\":%zu}\n", name.c_str(), bytes, calls);
}

void count_warm(const std::string& name, size_t bytes, size_t calls, const std::function<void()>& work) {
  work();
  count(name, bytes, calls, work);
}

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

struct Buffers {
  uint8_t raw[gcm::kKeyLength] = {1}, nonce[gcm::kNonceLength] = {2}, tag[gcm::kTagLength] = {};
  uint8_t aad[kAadPrefix + 12] = {3};
  std::vector<uint8_t> text = std::vector<uint8_t>(kMaxLength, 4), sealed = std::vector<uint8_t>(2 * kMaxLength),
                       opened = std::vector<uint8_t>(kMaxLength);
};

void messages(const gcm::Key& key, Buffers& b) {
  for (const size_t length : {size_t{16}, size_t{64}, size_t{1000}, size_t{16384}, size_t{65536}}) {
    const std::string suffix = "/" + std::to_string(length);
    count_warm("seal" + suffix, length, 1, [&] {
      gcm::seal(key, b.nonce, b.aad, sizeof b.aad, b.text.data(), length, b.sealed.data(), b.tag);
    });
    count_warm("open" + suffix, length, 1, [&] {
      if (!gcm::open(key, b.nonce, b.aad, sizeof b.aad, b.sealed.data(), length, b.opened.data(), b.tag))
        fail("a right tag was refused");
    });
  }
}

void updates(const gcm::Key& key, Buffers& b) {
  constexpr size_t kLength = 64'000, kPiece = 1000;
  count_warm("update/1000", kLength, kLength / kPiece, [&] {
    gcm::State state;
    gcm::start(key, state, b.nonce, b.aad, sizeof b.aad);
    for (size_t at = 0; at < kLength; at += kPiece)
      gcm::encrypt_update(key, state, b.text.data() + at, kPiece, b.sealed.data() + at);
    gcm::finish(key, state, b.tag);
    gcm::state_wipe(state);
  });
  count_warm("segments/16384", 65536, 4, [&] {
    gcm::State message;
    gcm::start(key, message, b.nonce, b.aad, sizeof b.aad);
    for (size_t part = 0; part < 4; part++) {
      gcm::State segment;
      uint8_t ghash[16];
      gcm::start_segment(key, segment, b.nonce, part * 1024);
      gcm::encrypt_update(key, segment, b.text.data() + part * 16384, 16384, b.sealed.data() + part * 16384);
      gcm::export_segment(key, segment, ghash);
      gcm::append_segment(key, message, ghash, 16384);
      gcm::state_wipe(segment);
    }
    gcm::finish(key, message, b.tag);
    gcm::state_wipe(message);
  });
}

void frames(const gcm::Key& key, Buffers& b) {
  for (const uint32_t length : {16u, 512u, 4096u, 65536u}) {
    FrameFormat format{length, {b.aad, kAadPrefix}, {b.aad, kAadPrefix}};
    const Run run{length, 1, 15, length / 2};
    const size_t bytes = run.plaintext_length();
    const Chunk plaintext{b.text.data(), bytes}, sealed{b.sealed.data(), run.sealed_length()};
    const std::string suffix = "/" + std::to_string(length);
    count_warm("seal-run" + suffix, bytes, run.total(),
               [&] { seal_run(key, format, run, ChunkCursor(&plaintext, 1), b.sealed.data()); });
    const auto open = [&](const Chunk* chunks, size_t chunk_count) {
      if (open_run(key, format, run, ChunkCursor(chunks, chunk_count), b.opened.data()) != run.total())
        fail("a right frame was refused");
    };
    count_warm("open-run" + suffix, bytes, run.total(), [&] { open(&sealed, 1); });
    if (length != 4096) continue;
    std::vector<Chunk> pieces;
    for (size_t at = 0; at < sealed.length; at += 1000)
      pieces.push_back({sealed.data + at, std::min<size_t>(1000, sealed.length - at)});
    count_warm("open-run-scattered" + suffix, bytes, run.total(), [&] { open(pieces.data(), pieces.size()); });
  }
}

}  // namespace

int main() {
  const gcm::Kernel* best = nullptr;
  const auto choose = [&] { best = gcm::best_kernel(); };
  count("dispatch/first", 0, 1, choose);  // with the self-test
  count_warm("dispatch/again", 0, 1, choose);
  if (best != &gcm::kAesni) fail("the AES-NI kernel is not what was chosen");
  Buffers b;
  gcm::Key key;
  count_warm("key/expand", 0, 1, [&] { gcm::key_init(key, *best, b.raw); });
  messages(key, b);
  updates(key, b);
  frames(key, b);
  count("key/wipe", 0, 1, [&] { gcm::key_wipe(key); });
  return 0;
}
