// Compares every kernel that works here with an oracle that shares no code with them: all lengths, all ways of cutting, in
// place and not, between guard pages, with the counter about to wrap, as segments; and with vectors written by others.
// Prints one line a kernel and exits with 1 on the first deviation.
// usage: gcm_test [--full | --quick], FRAMESEAL_GCM_VECTORS=FILE, FRAMESEAL_TEST_KERNEL=NAME for one tier alone
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <vector>

#include "gcm/kernels.h"
#include "oracle.h"
#include "plain_gcm.h"

#ifdef FRAMESEAL_EMULATED_512
namespace frameseal::gcm {
extern const Kernel kVaes512Emulated;
}
#endif

using namespace frameseal::gcm;

namespace {

uint64_t seed = 0x9E3779B97F4A7C15;
uint64_t executions = 0;
const char* kernel_name = "";

uint64_t random64() {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}
void fill(uint8_t* to, size_t length) {
  for (size_t i = 0; i < length; i += 8) {
    const uint64_t bytes = random64();
    std::memcpy(to + i, &bytes, length - i < 8 ? length - i : 8);
  }
}
Bytes random_bytes(size_t length) {
  Bytes bytes(length);
  fill(bytes.data(), length);
  return bytes;
}

[[noreturn]] void fail(const char* what, size_t length) {
  std::printf("%s: DEVIATION in %s, length %zu\n", kernel_name, what, length);
  std::exit(1);
}
void check(bool ok, const char* what, size_t length) {
  executions++;
  if (!ok) fail(what, length);
}

bool same(const uint8_t* a, const uint8_t* b, size_t length) { return length == 0 || std::memcmp(a, b, length) == 0; }

struct Case {
  uint8_t raw[32], nonce[12], tag[16];
  Bytes aad, plaintext, ciphertext;
  Key key;

  Case(const Kernel& kernel, size_t length, size_t aad_length)
      : aad(random_bytes(aad_length)), plaintext(random_bytes(length)), ciphertext(length) {
    fill(raw, sizeof raw);
    fill(nonce, sizeof nonce);
    oracle_seal(raw, nonce, aad, plaintext.data(), length, ciphertext.data(), tag);
    key_init(key, kernel, raw);
  }
  /** A vector: key, nonce, AAD, plaintext, ciphertext, tag. */
  Case(const Kernel& kernel, const Bytes (&values)[6]) : aad(values[2]), plaintext(values[3]), ciphertext(values[4]) {
    std::memcpy(raw, values[0].data(), sizeof raw);
    std::memcpy(nonce, values[1].data(), sizeof nonce);
    std::memcpy(tag, values[5].data(), sizeof tag);
    key_init(key, kernel, raw);
  }
  ~Case() { key_wipe(key); }
};

void one_call(const Case& c, size_t length, size_t offset) {
  uint8_t tag[16];
  Bytes in(length + offset + 1), out(length + offset + 1);
  if (length > 0) std::memcpy(in.data() + offset, c.plaintext.data(), length);
  seal(c.key, c.nonce, c.aad.data(), c.aad.size(), in.data() + offset, length, out.data() + offset, tag);
  check(same(tag, c.tag, 16) && same(out.data() + offset, c.ciphertext.data(), length), "seal",
        length);
  Bytes back(length + offset + 1);
  check(open(c.key, c.nonce, c.aad.data(), c.aad.size(), out.data() + offset, length, back.data() + offset, tag) &&
            same(back.data() + offset, c.plaintext.data(), length),
        "open", length);
  seal(c.key, c.nonce, c.aad.data(), c.aad.size(), in.data() + offset, length, in.data() + offset, tag);
  check(same(tag, c.tag, 16) && same(in.data() + offset, c.ciphertext.data(), length),
        "seal in place", length);
  check(open(c.key, c.nonce, c.aad.data(), c.aad.size(), in.data() + offset, length, in.data() + offset, tag) &&
            same(in.data() + offset, c.plaintext.data(), length),
        "open in place", length);
  tag[random64() % 16] ^= static_cast<uint8_t>(1u << random64() % 8);
  Bytes zeros(length);
  check(!open(c.key, c.nonce, c.aad.data(), c.aad.size(), out.data() + offset, length, back.data() + offset, tag),
        "refuse", length);
  check(same(back.data() + offset, zeros.data(), length), "wipe", length);
}

void chunked(const Case& c, size_t length) {
  uint8_t tag[16];
  Bytes out(length);
  State state;
  for (int sealing = 0; sealing < 2; sealing++) {
    start(c.key, state, c.nonce, c.aad.data(), c.aad.size());
    const uint8_t* from = sealing ? c.plaintext.data() : c.ciphertext.data();
    for (size_t at = 0; at < length;) {
      size_t part = random64() % 3 == 0 ? random64() % 40 : random64() % (length + 1);
      if (part > length - at) part = length - at;
      (sealing ? encrypt_update : decrypt_update)(c.key, state, from + at, part, out.data() + at);
      at += part;
    }
    if (sealing) {
      finish(c.key, state, tag);
      check(same(tag, c.tag, 16) && same(out.data(), c.ciphertext.data(), length),
            "seal in pieces", length);
    } else {
      check(finish_and_compare(c.key, state, c.tag) && same(out.data(), c.plaintext.data(), length),
            "open in pieces", length);
    }
    state_wipe(state);
  }
}

void segments(const Case& c, size_t length) {
  if (!has_segments(c.key)) return;
  Bytes out(length);
  State head;
  start(c.key, head, c.nonce, c.aad.data(), c.aad.size());
  for (size_t at = 0; at < length || at == 0;) {
    size_t part = (random64() % (length / 16 + 2)) * 16;
    if (part > length - at) part = length - at;
    State state;
    start_segment(c.key, state, c.nonce, at / 16);
    const size_t cut = part == 0 ? 0 : random64() % part;
    encrypt_update(c.key, state, c.plaintext.data() + at, cut, out.data() + at);
    encrypt_update(c.key, state, c.plaintext.data() + at + cut, part - cut, out.data() + at + cut);
    uint8_t ghash[16];
    export_segment(c.key, state, ghash);
    state_wipe(state);
    append_segment(c.key, head, ghash, part);
    at += part;
    if (length == 0) break;
  }
  check(same(out.data(), c.ciphertext.data(), length) && finish_and_compare(c.key, head, c.tag), "segments",
        length);
  state_wipe(head);
}

/** One call, pieces and segments of one case. */
void all_ways(const Case& c, size_t offset) {
  one_call(c, c.plaintext.size(), offset);
  chunked(c, c.plaintext.size());
  segments(c, c.plaintext.size());
}

// Pages with nothing readable on either side.
struct Guarded {
  uint8_t* pages;
  static constexpr size_t kPages = 6;
  Guarded()
      : pages(static_cast<uint8_t*>(
            mmap(nullptr, (kPages + 2) * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    mprotect(pages, 4096, PROT_NONE);
    mprotect(pages + (kPages + 1) * 4096, 4096, PROT_NONE);
  }
  /** `n` bytes that begin at the first readable one, or end at the last. */
  uint8_t* place(bool at_end, size_t n) { return at_end ? pages + (kPages + 1) * 4096 - n : pages + 4096; }
};

void guard_pages(const Kernel& kernel, size_t from_length, size_t to_length, size_t step) {
  static Guarded in, out, aad;
  for (size_t length = from_length; length <= to_length; length += step) {
    Case c(kernel, length, length % 97);
    for (const bool at_end : {false, true}) {
      uint8_t* from = in.place(at_end, length);
      uint8_t* to = out.place(at_end, length);
      uint8_t* with = aad.place(at_end, c.aad.size());
      uint8_t tag[16];
      if (length > 0) std::memcpy(from, c.plaintext.data(), length);
      if (!c.aad.empty()) std::memcpy(with, c.aad.data(), c.aad.size());
      seal(c.key, c.nonce, with, c.aad.size(), from, length, to, tag);
      check(same(tag, c.tag, 16), "guard pages, seal", length);
      check(open(c.key, c.nonce, with, c.aad.size(), to, length, from, tag), "guard pages, open", length);
      const size_t cut = random64() % (length + 1);
      State state;
      start(c.key, state, c.nonce, with, c.aad.size());
      encrypt_update(c.key, state, from, cut, to);
      encrypt_update(c.key, state, from + cut, length - cut, to + cut);
      finish(c.key, state, tag);
      check(same(tag, c.tag, 16), "guard pages, pieces", length);
      state_wipe(state);
    }
  }
}

// Segments far into a message, where the counter wraps in each of its bytes, sealed and opened. The oracle is AES in
// counter mode block by block, and GHASH bit by bit.
void counter_wrap(const Kernel& kernel, bool quick) {
  Case c(kernel, 0, 0);
  if (!has_segments(c.key)) return;
  Bytes h;
  oracle_blocks(c.raw, Bytes(16), h);
  const uint64_t distances[] = {1, 2, 3, 15, 16, 17, 40, 64, 255, 256, 300, 1000, 1270};
  for (int bits = 8; bits <= 32; bits += 8)
    for (const uint64_t distance : distances)
      for (const size_t length : {size_t{80 * 16 + 5}, size_t{1285 * 16 + 11}}) {
        if ((uint64_t{1} << bits) < distance + 2 || (quick && random64() % 4 != 0)) continue;
        const uint64_t first = (uint64_t{1} << bits) - 2 - distance;
        const Bytes in = random_bytes(length);
        Bytes blocks((length + 15) / 16 * 16), stream, expected(length), out(length);
        for (size_t at = 0; at < length; at += 16) {
          std::memcpy(blocks.data() + at, c.nonce, 12);
          const uint32_t counter = static_cast<uint32_t>(first + 2 + at / 16);
          for (size_t i = 0; i < 4; i++) blocks[at + 12 + i] = static_cast<uint8_t>(counter >> (24 - 8 * i));
        }
        oracle_blocks(c.raw, blocks, stream);
        for (size_t i = 0; i < length; i++) expected[i] = in[i] ^ stream[i];
        plain::Ghash ghash(h.data());
        ghash.update(expected.data(), length);
        uint8_t hash[16], own[16];
        ghash.value(hash);
        for (const bool sealing : {true, false}) {
          const Bytes& from = sealing ? in : expected;
          const size_t cut = random64() % 2 ? 0 : random64() % length;
          State state;
          start_segment(c.key, state, c.nonce, first);
          (sealing ? encrypt_update : decrypt_update)(c.key, state, from.data(), cut, out.data());
          (sealing ? encrypt_update : decrypt_update)(c.key, state, from.data() + cut, length - cut, out.data() + cut);
          export_segment(c.key, state, own);
          state_wipe(state);
          check(out == (sealing ? expected : in) && same(hash, own, 16), "counter wrap", static_cast<size_t>(first));
        }
      }
}

bool opens(const Case& c, const uint8_t* tag, Bytes& out) {
  return open(c.key, c.nonce, c.aad.data(), c.aad.size(), c.ciphertext.data(), c.ciphertext.size(), out.data(), tag);
}

// KEY NONCE AAD PLAINTEXT CIPHERTEXT TAG in hex, `-` for nothing, and `valid` or `invalid`, one vector a line.
size_t vectors(const Kernel& kernel, const char* path, bool quick) {
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) fail("vectors: cannot open the file", 0);
  static char line[1 << 18], fields[7][1 << 16];
  size_t count = 0;
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::sscanf(line, "%65535s %65535s %65535s %65535s %65535s %65535s %65535s", fields[0], fields[1], fields[2],
                    fields[3], fields[4], fields[5], fields[6]) != 7)
      fail("vectors: not a vector", count);
    Bytes values[6];
    for (int i = 0; i < 6; i++)
      for (const char* p = fields[i]; *p != '-' && *p != 0; p += 2) {
        unsigned byte = 0;
        std::sscanf(p, "%2x", &byte);
        values[i].push_back(static_cast<uint8_t>(byte));
      }
    const Case c(kernel, values);
    count++;
    const size_t length = c.ciphertext.size();
    Bytes out(length);
    if (std::strcmp(fields[6], "valid") != 0) {
      check(!opens(c, c.tag, out) && out == Bytes(length), "vector that is not authentic", length);
      continue;
    }
    all_ways(c, 0);
    all_ways(c, 1 + random64() % 63);
    uint8_t tag[16];
    std::memcpy(tag, c.tag, 16);
    for (int bit = 0; bit < 128; bit++) {
      if (quick && length > 1024 && random64() % 16 != 0) continue;
      tag[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
      check(!opens(c, tag, out), "vector, wrong tag", length);
      tag[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    }
  }
  std::fclose(file);
  return count;
}

// Every combination of features, also those that no CPU has but a hypervisor may show.
void features() {
  bool CpuFeatures::* const all[] = {&CpuFeatures::ssse3,  &CpuFeatures::sse41, &CpuFeatures::aes,
                                     &CpuFeatures::pclmulqdq, &CpuFeatures::avx2, &CpuFeatures::vaes,
                                     &CpuFeatures::vpclmulqdq, &CpuFeatures::avx512, &CpuFeatures::prefers_512,
                                     &CpuFeatures::pmull};
  constexpr unsigned kCount = std::size(all);
  for (unsigned bits = 0; bits < 1u << kCount; bits++) {
    CpuFeatures cpu, masked = cpu_features();
    for (unsigned i = 0; i < kCount; i++) {
      cpu.*all[i] = bits & 1u << i;
      masked.*all[i] = masked.*all[i] && cpu.*all[i];
    }
    const CpuFeatures sane = consistent(cpu), again = consistent(sane);
    for (const auto member : all) {
      if (sane.*member && !(cpu.*member)) fail("features: one was added", bits);
      if (sane.*member != again.*member) fail("features: not settled", bits);
    }
    if (sane.vaes && !(sane.aes && sane.avx2)) fail("features: VAES alone", bits);
    if (sane.vpclmulqdq && !(sane.pclmulqdq && sane.avx2)) fail("features: VPCLMULQDQ alone", bits);
    if (sane.avx512 && !sane.avx2) fail("features: AVX-512 alone", bits);
    if (sane.prefers_512 && !sane.avx512) fail("features: AVX-512 preferred but absent", bits);
#if defined(__x86_64__)
    const bool has_aes = sane.aes && sane.pclmulqdq;
    if (kAesni.supported(sane) && !(has_aes && sane.ssse3 && sane.sse41)) fail("features: aesni", bits);
    if (kVaes256.supported(sane) && !(has_aes && sane.vaes && sane.vpclmulqdq && sane.avx2)) fail("features: vaes256", bits);
    if (kVaes512.supported(sane) && !(has_aes && sane.vaes && sane.vpclmulqdq && sane.avx512)) fail("features: vaes512", bits);
#endif
    // What a mask leaves of this CPU: the kernel that is taken is one that the mask allows.
    masked = consistent(masked);
    const Kernel* best = best_kernel(masked);
    if (best != nullptr && !best->supported(masked)) fail("features: a kernel that is not supported", bits);
    if (best != nullptr && best->is_wide && !masked.prefers_512) fail("features: 512 bits where they slow the clock", bits);
    if (!masked.aes && best != nullptr && best != &kOpenssl) fail("features: a kernel of ours without AES", bits);
  }
  std::printf("features: %u combinations\n", 1u << kCount);
}

// The two oracles agree.
void oracles() {
  for (size_t length = 0; length < 400; length++) {
    const Bytes raw = random_bytes(32), nonce = random_bytes(12), aad = random_bytes(length * 7 % 90), text = random_bytes(length);
    Bytes a(length), b(length);
    uint8_t tag[16], other[16];
    oracle_seal(raw.data(), nonce.data(), aad, text.data(), length, a.data(), tag);
    plain::seal(raw.data(), nonce.data(), aad.data(), aad.size(), text.data(), length, b.data(), other);
    check(a == b && same(tag, other, 16), "oracles", length);
  }
}

enum class Scope { kQuick, kNormal, kFull };

void differential(const Kernel& kernel, Scope scope) {
  const size_t aad_lengths[] = {0, 1, 15, 16, 72, 1023};
  const auto any_aad = [&] { return aad_lengths[random64() % 5] + (random64() % 16 == 0 ? 1023 + random64() % 100 : 0); };
  for (size_t length = 0; length <= 8192; length += scope == Scope::kQuick ? 1 + random64() % 60 : 1) {
    if (scope != Scope::kFull) {
      all_ways(Case(kernel, length, any_aad()), random64() % 64);
      continue;
    }
    for (const size_t aad_length : aad_lengths) {
      const Case c(kernel, length, aad_length);
      for (size_t offset = 0; offset < 16; offset++) one_call(c, length, offset * 5 % 64);
      chunked(c, length);
      segments(c, length);
    }
  }
  // Around multiples of what kernels work in, where others have been wrong.
  for (const size_t unit : {256, 512, 768, 1024, 4096})
    for (size_t length = unit; scope != Scope::kQuick && length <= 256 * 1024; length += unit)
      for (int i = 0; i < (scope == Scope::kFull ? 6 : 1); i++)
        all_ways(Case(kernel, length - 17 + random64() % 35, any_aad()), random64() % 64);
  const size_t longest = scope == Scope::kQuick ? 300'000 : 4u << 20;
  for (int i = 0; i < (scope == Scope::kFull ? 2000 : scope == Scope::kNormal ? 60 : 6); i++)
    all_ways(Case(kernel, random64() % longest, 72), random64() % 64);
}

}  // namespace

int main(int argc, char** argv) {
  Scope scope = Scope::kNormal;
  if (argc > 1 && std::strcmp(argv[1], "--full") == 0) scope = Scope::kFull;
  if (argc > 1 && std::strcmp(argv[1], "--quick") == 0) scope = Scope::kQuick;
  const bool quick = scope == Scope::kQuick;
  // One tier alone, for tools that do not know the instructions of the others.
  const char* only = std::getenv("FRAMESEAL_TEST_KERNEL");
  const char* vector_file = std::getenv("FRAMESEAL_GCM_VECTORS");
  if (only == nullptr) {
    features();
    oracles();
  }
  std::vector<const Kernel*> kernels;
  for (size_t i = 0; i < kernel_count(); i++) kernels.push_back(&kernel_at(i));
#ifdef FRAMESEAL_EMULATED_512
  kernels.push_back(&kVaes512Emulated);
#endif
  for (const Kernel* kernel : kernels) {
    if (only != nullptr && std::strcmp(only, kernel->name) != 0) continue;
    kernel_name = kernel->name;
    executions = 0;
    const bool listed = find_kernel(kernel->name) == kernel;
    if (listed && kernel_fitness(*kernel) == Fitness::unsupported) {
      std::printf("%s: not run (this CPU or process does not support it)\n", kernel->name);
      continue;
    }
    if (listed && kernel_fitness(*kernel) != Fitness::works) fail("self-test", 0);
    differential(*kernel, scope);
    guard_pages(*kernel, 0, 4352, quick ? 41 : 1);
    guard_pages(*kernel, 16384 - 300, 16384 + 600, quick ? 97 : scope == Scope::kFull ? 1 : 7);
    counter_wrap(*kernel, quick);
    const size_t count = vector_file == nullptr ? 0 : vectors(*kernel, vector_file, quick);
    std::printf("%s: %zu vectors, %llu executions, 0 deviations\n", kernel->name, count,
                static_cast<unsigned long long>(executions));
  }
  for (const char* other : {"vaes512", "vaes256", "aesni", "armv8"})
    if (only == nullptr && find_kernel(other) == nullptr) std::printf("%s: not run (of another architecture)\n", other);
  return 0;
}
