// Many threads on one piece of work, for ThreadSanitizer: frames sealed and opened, whole and damaged, and segments of
// one message, by an owner and its helpers that start early, late and in between. Each result is compared with that of
// one thread. The caller's chunks are overwritten as soon as `share` has returned, since nobody may read them then.
// usage: threads_test [ROUNDS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "gcm/kernels.h"
#include "unit_work.h"

using namespace frameseal;
using Bytes = std::vector<uint8_t>;

namespace {

uint64_t seed = 0x2545F4914F6CDD1D;
uint64_t random64() {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}
Bytes random_bytes(size_t length) {
  Bytes bytes(length);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random64() >> 32);
  return bytes;
}

void check(bool holds, const char* what) {
  if (holds) return;
  std::printf("threads: DEVIATION in %s\n", what);
  std::exit(1);
}

/** `bytes` in pieces of any length. */
std::vector<Chunk> cut(const Bytes& bytes) {
  std::vector<Chunk> chunks;
  for (size_t at = 0; at < bytes.size();) {
    size_t length = 1 + random64() % 300'000;
    if (length > bytes.size() - at) length = bytes.size() - at;
    chunks.push_back({bytes.data() + at, length});
    at += length;
  }
  return chunks;
}

SharedKey new_key(const gcm::Kernel& kernel) {
  const Bytes raw = random_bytes(gcm::kKeyLength);
  gcm::Key* key = new gcm::Key;
  gcm::key_init(*key, kernel, raw.data());
  return {key, [](const gcm::Key* k) {
            gcm::key_wipe(*const_cast<gcm::Key*>(k));
            delete k;
          }};
}

/** Frame length, two prefixes of 3 and 5 bytes. */
Bytes format_of(uint32_t frame_length) {
  Bytes format = {0, 0, 0, 0, 0, 3, 0, 5, 'r', 'e', 'g', 'f', 'i', 'n', 'a', 'l'};
  for (int i = 0; i < 4; i++) format[static_cast<size_t>(i)] = static_cast<uint8_t>(frame_length >> (24 - 8 * i));
  return format;
}

/** Does `work` with 0 to 3 helpers, and overwrites what it was given as early as the contract allows. */
template <class Work>
void do_with_helpers(Work& work, Bytes& input) {
  const size_t count = random64() % 4;
  const uint64_t delays = random64();
  std::vector<std::thread> helpers;
  for (size_t i = 0; i < count; i++) {
    helpers.emplace_back([&work, delay = delays >> (16 * i) & 0x1ff] {
      if (delay & 1) std::this_thread::sleep_for(std::chrono::microseconds(delay));
      work.help();
    });
  }
  work.share(count);
  std::fill(input.begin(), input.end(), uint8_t{0xee});
  for (std::thread& helper : helpers) helper.join();
  check(work.is_done(), "units left over");
}

void frames(const SharedKey& key) {
  Run run;
  run.frame_length = static_cast<uint32_t>(1 + random64() % (random64() % 2 ? 200'000 : 5'000));
  run.first_sequence = static_cast<uint32_t>(1 + random64() % 1000);
  run.frame_count = static_cast<uint32_t>(random64() % (1 + 1'500'000 / run.frame_length));
  run.final_length = random64() % 3 == 0 ? -1 : static_cast<int64_t>(random64() % (run.frame_length + 1));
  const Bytes format_bytes = format_of(run.frame_length);
  FrameFormat format;
  check(format.parse(format_bytes.data(), format_bytes.size()) && run.is_valid(), "set-up");
  const Bytes plaintext = random_bytes(run.plaintext_length());
  Bytes expected(run.sealed_length()), sealed(run.sealed_length()), opened(run.plaintext_length());
  const Chunk whole{plaintext.data(), plaintext.size()};
  seal_run(*key, format, run, ChunkCursor(&whole, 1), expected.data());

  Bytes input = plaintext;
  SealFramesWork sealing(key, run, format_bytes, cut(input), sealed.data());
  do_with_helpers(sealing, input);
  check(sealed == expected, "sealed frames");

  for (uint64_t damaged = random64() % 4; damaged > 0 && run.total() > 0; damaged--)
    sealed[run.frame(random64() % run.total()).sealed_at] ^= 0x80;
  size_t bad = 0;  // the first one that was damaged, and not back again
  while (bad < run.total() && sealed[run.frame(bad).sealed_at] == expected[run.frame(bad).sealed_at]) bad++;
  input = sealed;
  OpenFramesWork opening(key, run, format_bytes, cut(input), opened.data());
  do_with_helpers(opening, input);
  check(opening.finish() == bad, "count of verified frames");
  const size_t verified = bad == run.total() ? opened.size() : run.frame(bad).plaintext_at;
  Bytes right(plaintext);
  std::fill(right.begin() + static_cast<ptrdiff_t>(verified), right.end(), uint8_t{0});
  check(opened == right, "opened frames");
}

void segment(const SharedKey& key) {
  if (!gcm::has_segments(*key)) return;
  const uint8_t nonce[kNonce] = {9, 8, 7};
  const uint64_t first_block = random64() % 100'000;
  const Bytes plaintext = random_bytes(random64() % 1'500'000);
  Bytes expected(plaintext.size()), output(plaintext.size());
  uint8_t hash[kTag], other[kTag];
  SegmentWork(SegmentWork::Direction::kSeal, key, nonce, first_block, cut(plaintext), expected.data(), expected.size())
      .run_now(hash);
  Bytes input = plaintext;
  SegmentWork sealing(SegmentWork::Direction::kSeal, key, nonce, first_block, cut(input), output.data(), output.size());
  do_with_helpers(sealing, input);
  sealing.finish(other);
  check(output == expected && std::memcmp(hash, other, kTag) == 0, "sealed segment");
  input = expected;
  SegmentWork opening(SegmentWork::Direction::kOpen, key, nonce, first_block, cut(input), output.data(), output.size());
  do_with_helpers(opening, input);
  opening.finish(other);
  check(output == plaintext && std::memcmp(hash, other, kTag) == 0, "opened segment");
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 40;
  size_t works = 0;
  for (size_t i = 0; i < gcm::kernel_count(); i++) {
    const gcm::Kernel& kernel = gcm::kernel_at(i);
    if (gcm::kernel_fitness(kernel) != gcm::Fitness::works) continue;
    for (int round = 0; round < rounds; round++) {
      const SharedKey key = new_key(kernel);
      frames(key);
      segment(key);
      works += gcm::has_segments(*key) ? 4 : 2;
    }
  }
  std::printf("threads: %zu pieces of work with 0 to 3 helpers, 0 deviations\n", works);
  return 0;
}
