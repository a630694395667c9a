// Compares every kernel that works here with OpenSSL's EVP interface, which shares no code with them: all lengths, all
// ways of cutting, in place and not, between guard pages, with the counter about to wrap, and as segments. Prints one
// line a kernel and exits with 1 on the first deviation.
#include <openssl/evp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "gcm/kernels.h"

#ifdef FRAMESEAL_EMULATED_512
namespace frameseal::gcm {
extern const Kernel kVaes512Emulated;
}
#endif

using namespace frameseal::gcm;
using Bytes = std::vector<uint8_t>;

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
  for (size_t i = 0; i < length; i++) to[i] = static_cast<uint8_t>(random64() >> 32);
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

// The oracle.
void reference_seal(const uint8_t* raw, const uint8_t* nonce, const Bytes& aad, const uint8_t* in, size_t length,
                    uint8_t* out, uint8_t* tag) {
  static EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  int written = 0;
  EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), nullptr, raw, nonce);
  if (!aad.empty()) EVP_EncryptUpdate(context, nullptr, &written, aad.data(), static_cast<int>(aad.size()));
  if (length > 0) EVP_EncryptUpdate(context, out, &written, in, static_cast<int>(length));
  EVP_EncryptFinal_ex(context, out + length, &written);
  EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, 16, tag);
}

struct Case {
  uint8_t raw[32], nonce[12], tag[16];
  Bytes aad, plaintext, ciphertext;
  Key key;

  Case(const Kernel& kernel, size_t length, size_t aad_length)
      : aad(random_bytes(aad_length)), plaintext(random_bytes(length)), ciphertext(length + 16) {
    fill(raw, sizeof raw);
    fill(nonce, sizeof nonce);
    reference_seal(raw, nonce, aad, plaintext.data(), length, ciphertext.data(), tag);
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

// A page with nothing readable on either side.
struct Guarded {
  uint8_t* pages;
  size_t length;
  static constexpr size_t kPages = 3;
  Guarded() : length(kPages * 4096) {
    pages = static_cast<uint8_t*>(mmap(nullptr, (kPages + 2) * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(pages, 4096, PROT_NONE);
    mprotect(pages + (kPages + 1) * 4096, 4096, PROT_NONE);
  }
  uint8_t* front() { return pages + 4096; }
  uint8_t* back(size_t n) { return pages + (kPages + 1) * 4096 - n; }
};

void guard_pages(const Kernel& kernel, size_t max, size_t step) {
  static Guarded in, out, aad;
  for (size_t length = 0; length <= max; length += step) {
    Case c(kernel, length, length % 97);
    for (int at_end = 0; at_end < 2; at_end++) {
      uint8_t* from = at_end ? in.back(length) : in.front();
      uint8_t* to = at_end ? out.back(length) : out.front();
      uint8_t* with = at_end ? aad.back(c.aad.size()) : aad.front();
      uint8_t tag[16];
      if (length > 0) std::memcpy(from, c.plaintext.data(), length);
      if (!c.aad.empty()) std::memcpy(with, c.aad.data(), c.aad.size());
      seal(c.key, c.nonce, with, c.aad.size(), from, length, to, tag);
      check(same(tag, c.tag, 16), "guard pages, seal", length);
      check(open(c.key, c.nonce, with, c.aad.size(), to, length, from, tag), "guard pages, open", length);
    }
  }
}

// Segments far into a message: the counter wraps in every byte. The oracle is AES in counter mode block by block.
void counter_wrap(const Kernel& kernel) {
  Case c(kernel, 0, 0);
  if (!has_segments(c.key)) return;
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  const uint64_t places[] = {0xF0, 0xFFF0, 0xFFFFF0, 0xFFFFFF00 - 2, 0xFFFFFFFF - 40};
  for (uint64_t first : places) {
    const size_t length = 80 * 16 + 5;
    const Bytes in = random_bytes(length);
    Bytes out(length), expected(length + 16);
    State state;
    start_segment(c.key, state, c.nonce, first);
    encrypt_update(c.key, state, in.data(), length, out.data());
    state_wipe(state);
    for (size_t at = 0; at < length; at += 16) {
      uint8_t block[16], stream[32];
      std::memcpy(block, c.nonce, 12);
      const uint32_t counter = static_cast<uint32_t>(first + 2 + at / 16);
      for (int i = 0; i < 4; i++) block[12 + i] = static_cast<uint8_t>(counter >> (24 - 8 * i));
      int written = 0;
      EVP_EncryptInit_ex(context, EVP_aes_256_ecb(), nullptr, c.raw, nullptr);
      EVP_EncryptUpdate(context, stream, &written, block, 16);
      for (size_t i = at; i < at + 16 && i < length; i++) expected[i] = in[i] ^ stream[i - at];
    }
    check(same(out.data(), expected.data(), length), "counter wrap", static_cast<size_t>(first));
  }
  EVP_CIPHER_CTX_free(context);
}

// KEY NONCE AAD PLAINTEXT CIPHERTEXT TAG in hex, `-` for nothing, one vector a line.
size_t vectors(const Kernel& kernel, const char* path) {
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) return 0;
  static char line[1 << 18], fields[6][1 << 16];
  size_t count = 0;
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::sscanf(line, "%65535s %65535s %65535s %65535s %65535s %65535s", fields[0], fields[1], fields[2], fields[3],
                    fields[4], fields[5]) != 6)
      continue;
    Bytes values[6];
    for (int i = 0; i < 6; i++)
      for (const char* p = fields[i]; *p != '-' && *p != 0; p += 2) {
        unsigned byte = 0;
        std::sscanf(p, "%2x", &byte);
        values[i].push_back(static_cast<uint8_t>(byte));
      }
    Key key;
    key_init(key, kernel, values[0].data());
    const size_t length = values[3].size();
    Bytes out(length);
    uint8_t tag[16];
    seal(key, values[1].data(), values[2].data(), values[2].size(), values[3].data(), length, out.data(), tag);
    check(out == values[4] && same(tag, values[5].data(), 16), "vector, seal", length);
    check(open(key, values[1].data(), values[2].data(), values[2].size(), values[4].data(), length, out.data(), tag) &&
              out == values[3],
          "vector, open", length);
    for (int bit = 0; bit < 128; bit++) {
      tag[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
      check(!open(key, values[1].data(), values[2].data(), values[2].size(), values[4].data(), length, out.data(), tag),
            "vector, wrong tag", length);
      tag[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    }
    key_wipe(key);
    count++;
  }
  std::fclose(file);
  return count;
}

void impossible_features() {
  CpuFeatures cpu = cpu_features();
  cpu.aes = false;  // a hypervisor hides AES-NI but not VAES
  const CpuFeatures masked = consistent(cpu);
  if (masked.vaes) fail("features: VAES without AES-NI", 0);
  const Kernel* best = best_kernel(masked);
  if (best != nullptr && best != &kOpenssl) fail("features: a kernel of ours without AES-NI", 0);
  cpu = cpu_features();
  cpu.avx2 = false;
  if (consistent(cpu).vaes || consistent(cpu).avx512) fail("features: VAES without AVX2", 0);
}

}  // namespace

int main(int argc, char** argv) {
  const bool full = argc > 1 && std::strcmp(argv[1], "--full") == 0;
  const bool quick = argc > 1 && std::strcmp(argv[1], "--quick") == 0;
  // One tier alone, for tools that do not know the instructions of the others.
  const char* only = std::getenv("FRAMESEAL_TEST_KERNEL");
  const char* vector_file = std::getenv("FRAMESEAL_GCM_VECTORS");
  if (only == nullptr) impossible_features();
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
    for (size_t length = 0; length <= 8192; length += full || (!quick && length < 1200) ? 1 : 1 + random64() % (quick ? 60 : 13)) {
      const size_t aad_lengths[] = {0, 1, 15, 16, 72, 1023 + random64() % 100};
      const size_t rounds = full ? 6 : 1;
      for (size_t i = 0; i < rounds; i++) {
        Case c(*kernel, length, full ? aad_lengths[i] : aad_lengths[random64() % 6]);
        one_call(c, length, random64() % 64);
        chunked(c, length);
        segments(c, length);
      }
    }
    for (int i = 0; i < (full ? 2000 : quick ? 4 : 60); i++) {
      const size_t length = random64() % (4u << 20);
      Case c(*kernel, length, 72);
      one_call(c, length, random64() % 64);
      chunked(c, length);
      segments(c, length);
    }
    guard_pages(*kernel, 4352, full ? 1 : quick ? 41 : 7);
    counter_wrap(*kernel);
    const size_t count = vector_file == nullptr ? 0 : vectors(*kernel, vector_file);
    std::printf("%s: %zu vectors, %llu executions, 0 deviations\n", kernel->name, count,
                static_cast<unsigned long long>(executions));
  }
  return 0;
}
