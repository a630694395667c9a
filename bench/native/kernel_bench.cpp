// One thread, the key kept, out of place into the same buffer: each kernel of ours beside EVP of the system's OpenSSL and
// Intel's multi-buffer library, in rounds that take turns, so that a busy neighbour slows all alike. Prints a table, or
// with --json one object a line. Times are thread CPU times; cycles come from the core's clock, which a loop of dependent
// additions measures in every round.  usage: kernel_bench [--json] [--rounds N]
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "subjects.h"

using namespace frameseal;
using namespace frameseal::bench;

namespace {

enum class Direction { seal, open, set_key };
const char* const kDirections[] = {"seal", "open", "setKey"};

constexpr size_t kMaxLength = 1 << 20;
/** What a frame of an AWS Encryption SDK message has: message id 32, text 28, sequence number 4, length 8. */
constexpr size_t kAadLength = 72;
constexpr double kSliceSeconds = 0.003;

struct Work {
  Direction direction;
  size_t length;
};
constexpr Work kWorks[] = {
    {Direction::seal, 4096},    {Direction::open, 4096},    {Direction::seal, 65536}, {Direction::open, 65536},
    {Direction::seal, 1 << 20}, {Direction::open, 1 << 20}, {Direction::seal, 16},    {Direction::open, 16},
    {Direction::set_key, 0},
};
constexpr size_t kWorkCount = std::size(kWorks);

/** Text begins at a page; what is sealed lies 16 bytes behind one, as behind the head of a frame. */
struct Buffers {
  alignas(64) uint8_t key[kKeyLength]{}, nonce[kNonceLength]{}, aad[kAadLength]{}, tag[kTagLength]{};
  uint8_t* text = new_pages();
  uint8_t* sealed = new_pages() + 16;
  uint8_t* opened = new_pages();

  static uint8_t* new_pages() {  // for as long as the program runs
    auto* pages = static_cast<uint8_t*>(std::aligned_alloc(4096, kMaxLength + 4096));
    if (pages == nullptr) std::abort();
    std::memset(pages, 0, kMaxLength + 4096);
    return pages;
  }
};

double thread_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/** Cycles a second, by additions that wait for each other. Of registers: some cores rename constants away. */
double measure_clock() {
  constexpr size_t kLoops = 200'000;
  uint64_t sum = 0, one = 1;
  const double start = thread_seconds();
  for (size_t i = 0; i < kLoops; i++) {
#if defined(__x86_64__)
#define ADD "add %1, %0\n\t"
#else
#define ADD "add %0, %0, %1\n\t"
#endif
#define ADD_16 ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD
    __asm__ volatile(ADD_16 ADD_16 ADD_16 ADD_16 : "+r"(sum) : "r"(one));
  }
  const double seconds = thread_seconds() - start;
  return static_cast<double>(sum) / seconds;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

void do_once(Subject& subject, const Work& work, Buffers& b) {
  const Bytes aad{b.aad, kAadLength};
  switch (work.direction) {
    case Direction::seal:
      b.nonce[11]++;
      subject.seal(b.nonce, aad, {b.text, work.length}, b.sealed, b.tag);
      return;
    case Direction::open:  // of what was sealed under this nonce by `prepare`
      if (!subject.open(b.nonce, aad, {b.sealed, work.length}, b.opened, b.tag)) {
        std::printf("%s refused a right tag\n", subject.name.c_str());
        std::exit(1);
      }
      return;
    case Direction::set_key:
      b.key[31]++;
      subject.set_key(b.key);
  }
}

void prepare(Subject& subject, const Work& work, Buffers& b) {
  subject.set_key(b.key);
  do_once(subject, {Direction::seal, work.length}, b);
}

double seconds_each(Subject& subject, const Work& work, Buffers& b, size_t count) {
  prepare(subject, work, b);
  const double start = thread_seconds();
  for (size_t i = 0; i < count; i++) do_once(subject, work, b);
  return (thread_seconds() - start) / static_cast<double>(count);
}

/** All subjects must make the same bytes, or nothing that follows means anything. */
void agree(const std::vector<std::unique_ptr<Subject>>& subjects, Buffers& b) {
  for (const Work& work : kWorks) {
    if (work.direction != Direction::seal) continue;
    std::vector<uint8_t> first;
    for (const auto& subject : subjects) {
      b.nonce[11] = 7;
      prepare(*subject, work, b);
      std::vector<uint8_t> sealed(b.sealed, b.sealed + work.length);
      sealed.insert(sealed.end(), b.tag, b.tag + kTagLength);
      do_once(*subject, {Direction::open, work.length}, b);
      if (first.empty()) first = sealed;
      if (sealed == first && std::memcmp(b.opened, b.text, work.length) == 0) continue;
      std::printf("%s makes other bytes than %s at %zu\n", subject->name.c_str(), subjects[0]->name.c_str(), work.length);
      std::exit(1);
    }
  }
}

struct Row {
  std::string subject;
  Work work;
  double seconds, cycles, times_openssl, times_ipsec_mb;  // a message; medians of rounds; 0: not run
  double bytes_per_second() const { return static_cast<double>(work.length) / seconds; }
  double cycles_per_64() const { return work.length == 0 ? 0 : cycles * 64 / static_cast<double>(work.length); }
};

void print_json(const Row& row) {
  std::printf("{\"subject\":\"%s\",\"direction\":\"%s\",\"length\":%zu,\"nanoseconds\":%.1f,\"cycles\":%.1f", row.subject.c_str(),
              kDirections[static_cast<int>(row.work.direction)], row.work.length, row.seconds * 1e9, row.cycles);
  if (row.work.length > 0)
    std::printf(",\"bytesPerSecond\":%.0f,\"cyclesPer64\":%.2f", row.bytes_per_second(), row.cycles_per_64());
  std::printf(",\"timesOpenssl\":%.3f", row.times_openssl);
  if (row.times_ipsec_mb > 0) std::printf(",\"timesIpsecMb\":%.3f", row.times_ipsec_mb);
  std::printf("}\n");
}

void print_row(const Row& row) {
  const bool is_long = row.work.length >= 1024;
  std::printf("%-16s %-7s %8zu  ", row.subject.c_str(), kDirections[static_cast<int>(row.work.direction)], row.work.length);
  if (is_long) {
    std::printf("%7.2f GB/s  %8.2f", row.bytes_per_second() * 1e-9, row.cycles_per_64());
  } else {
    std::printf("%9.1f ns  %8s", row.seconds * 1e9, "");
  }
  std::printf("  %8.2f", row.times_openssl);
  if (row.times_ipsec_mb > 0) std::printf("  %9.2f", row.times_ipsec_mb);
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  bool json = false;
  size_t rounds = 41;
  for (int i = 1; i < argc; i++) {
    if (std::strcmp(argv[i], "--json") == 0) json = true;
    if (std::strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) rounds = std::max(1, std::atoi(argv[++i]));
  }
  std::vector<std::string> not_run;
  std::vector<std::unique_ptr<Subject>> subjects;
  subjects.push_back(std::make_unique<OpensslEvp>());  // the first: ratios are to it
  size_t ipsec_mb = 0;
  std::string versions = OpenSSL_version(OPENSSL_VERSION);
#ifdef FRAMESEAL_IPSEC_MB
  auto intel = std::make_unique<IntelIpsecMb>();
  if (intel->works()) {
    ipsec_mb = subjects.size();
    versions += std::string(", intel-ipsec-mb ") + imb_get_version_str() + " (" + intel->architecture() + ")";
    subjects.push_back(std::move(intel));
  }
#endif
  if (ipsec_mb == 0) not_run.push_back("intel-ipsec-mb");
  for (size_t i = 0; i < gcm::kernel_count(); i++) {
    const gcm::Kernel& kernel = gcm::kernel_at(i);
    if (&kernel == &gcm::kOpenssl) continue;  // it is EVP again
    if (gcm::kernel_fitness(kernel) == gcm::Fitness::works) {
      subjects.push_back(std::make_unique<OwnKernel>(kernel));
    } else {
      not_run.push_back(kernel.name);
    }
  }
  Buffers b;
  for (size_t i = 0; i < kMaxLength; i++) b.text[i] = static_cast<uint8_t>(i * 31 + (i >> 8));
  agree(subjects, b);

  const size_t count = subjects.size();
  std::vector<double> clocks, seconds[kWorkCount][16], cycles[kWorkCount][16];
  size_t repeats[kWorkCount][16];
  for (size_t w = 0; w < kWorkCount; w++)
    for (size_t s = 0; s < count; s++) {
      seconds_each(*subjects[s], kWorks[w], b, 3);
      repeats[w][s] = 1 + static_cast<size_t>(kSliceSeconds / seconds_each(*subjects[s], kWorks[w], b, 20));
    }
  for (size_t round = 0; round < rounds; round++)
    for (size_t w = 0; w < kWorkCount; w++) {
      const double clock = measure_clock();
      clocks.push_back(clock);
      for (size_t s = 0; s < count; s++) {
        seconds[w][s].push_back(seconds_each(*subjects[s], kWorks[w], b, repeats[w][s]));
        cycles[w][s].push_back(seconds[w][s].back() * clock);
      }
    }

  const double clock = median(clocks);
  if (json) {
    std::printf("{\"clockHertz\":%.0f,\"rounds\":%zu,\"versions\":\"%s\"}\n", clock, rounds, versions.c_str());
    for (const std::string& name : not_run) std::printf("{\"subject\":\"%s\",\"notRun\":true}\n", name.c_str());
  } else {
    std::printf("%s\ncore clock %.3f GHz by dependent additions; medians of %zu rounds; AAD %zu bytes; one thread\n",
                versions.c_str(), clock * 1e-9, rounds, kAadLength);
    for (const std::string& name : not_run) std::printf("%s: not run\n", name.c_str());
    std::printf("%-16s %-7s %8s  %12s  %8s  %8s  %9s\n", "subject", "", "bytes", "median", "cyc/64 B", "x EVP", "x ipsecmb");
  }
  for (size_t w = 0; w < kWorkCount; w++)
    for (size_t s = 0; s < count; s++) {
      // Speed of this subject over another's of the same round.
      const auto times = [&](size_t other) {
        std::vector<double> ratios;
        for (size_t r = 0; r < rounds; r++) ratios.push_back(seconds[w][other][r] / seconds[w][s][r]);
        return median(ratios);
      };
      const Row row{subjects[s]->name, kWorks[w],    median(seconds[w][s]), median(cycles[w][s]),
                    times(0),          ipsec_mb > 0 ? times(ipsec_mb) : 0};
      json ? print_json(row) : print_row(row);
    }
  return 0;
}
