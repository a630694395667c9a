// The pump with several threads, on files and pipes, whole, damaged, cancelled: what comes out, and (under sanitizers)
// how. usage: pump_test FOLDER
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "gcm/kernels.h"
#include "pump.h"

using namespace frameseal;

namespace {

std::string folder;
gcm::Key key;
size_t checks = 0;
constexpr uint32_t kFrameLength = 4096;

void check(bool condition, const char* what, size_t length) {
  checks++;
  if (condition) return;
  std::printf("pump: %s, %zu bytes\n", what, length);
  std::exit(1);
}

std::vector<uint8_t> format() {
  std::vector<uint8_t> bytes(8 + 2 + 3);
  bytes[2] = kFrameLength >> 8;
  bytes[5] = 2;
  bytes[7] = 3;
  return bytes;
}

std::vector<uint8_t> read_file(const char* name) {
  std::vector<uint8_t> bytes;
  FILE* const file = std::fopen((folder + name).c_str(), "rb");
  uint8_t buffer[65536];
  for (size_t count; (count = std::fread(buffer, 1, sizeof buffer, file)) != 0;)
    bytes.insert(bytes.end(), buffer, buffer + count);
  std::fclose(file);
  return bytes;
}

void write_file(const char* name, const std::vector<uint8_t>& bytes) {
  FILE* const file = std::fopen((folder + name).c_str(), "wb");
  if (!bytes.empty()) std::fwrite(bytes.data(), 1, bytes.size(), file);
  std::fclose(file);
}

/** Every second pump finds no descriptor left when it is made. */
PumpResult run(PumpPlan plan, int cancel_after_us = -1) {
  static size_t pumps = 0;
  const std::vector<uint8_t> bytes = format();
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  rlimit none = limit;
  if (pumps++ % 2 == 1) none.rlim_cur = 0;
  setrlimit(RLIMIT_NOFILE, &none);
  Pump pump(key, bytes.data(), bytes.size(), std::move(plan));
  setrlimit(RLIMIT_NOFILE, &limit);
  check(pump.is_ready(), "is ready", 0);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; i++) threads.emplace_back([&pump] { pump.run(); });
  if (cancel_after_us >= 0) {
    usleep(static_cast<useconds_t>(cancel_after_us));
    (void)pump.read_length();
    pump.cancel();
  }
  for (std::thread& thread : threads) thread.join();
  return pump.result();
}

enum class By { kPosition, kOrder, kPipe };

/** From one file of the folder to another, through a pipe on both sides if `by` says so. */
PumpResult move(PumpDirection direction, const char* from, const char* to, By by) {
  const int input = open((folder + from).c_str(), O_RDONLY);
  const int output = open((folder + to).c_str(), O_CREAT | O_TRUNC | O_RDWR, 0600);
  PumpPlan plan;
  plan.direction = direction;
  plan.input = input;
  plan.output = output;
  if (by == By::kPosition) plan.input_at = plan.output_at = 0;
  PumpResult result;
  if (by != By::kPipe) {
    result = run(std::move(plan));
  } else {
    int in[2], out[2];
    if (pipe(in) != 0 || pipe(out) != 0) std::exit(1);
    fcntl(in[0], F_SETFL, O_NONBLOCK);
    fcntl(out[1], F_SETFL, O_NONBLOCK);
    const auto copy = [](int source, int target) {
      uint8_t buffer[5000];
      for (ssize_t count; (count = read(source, buffer, sizeof buffer)) > 0;)
        for (ssize_t at = 0; at < count;) {
          const ssize_t done = write(target, buffer + at, static_cast<size_t>(count - at));
          if (done < 0) return;
          at += done;
        }
    };
    std::thread feeder([&] { copy(input, in[1]), close(in[1]); });
    std::thread reader([&] { copy(out[0], output); });
    plan.input = in[0];
    plan.output = out[1];
    result = run(std::move(plan));
    close(in[0]);  // a feeder that is not done gets EPIPE
    feeder.join();
    close(out[1]);
    reader.join();
    close(out[0]);
  }
  close(input);
  close(output);
  return result;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) return 2;
  signal(SIGPIPE, SIG_IGN);
  folder = std::string(arguments[1]) + "/";
  uint8_t raw[32];
  std::memset(raw, 5, sizeof raw);
  const gcm::Kernel* kernel = nullptr;
  for (size_t i = 0; i < gcm::kernel_count() && kernel == nullptr; i++)
    if (gcm::kernel_fitness(gcm::kernel_at(i)) == gcm::Fitness::works) kernel = &gcm::kernel_at(i);
  gcm::key_init(key, *kernel, raw);

  for (const size_t length : {size_t{0}, size_t{1}, size_t{4095}, size_t{4096}, size_t{4097}, size_t{524287},
                              size_t{524288}, size_t{524289}, size_t{3000000}}) {
    std::vector<uint8_t> text(length);
    for (size_t i = 0; i < length; i++) text[i] = static_cast<uint8_t>(i * 31 + i / 4096);
    write_file("plain", text);
    std::vector<uint8_t> first;
    for (const By by : {By::kPosition, By::kOrder, By::kPipe}) {
      check(move(PumpDirection::kSeal, "plain", "sealed", by).status == PumpStatus::kDone, "seal", length);
      const std::vector<uint8_t> sealed = read_file("sealed");
      check(sealed.size() == length + length / kFrameLength * 32 + 40, "sealed length", length);
      if (first.empty()) first = sealed;
      check(sealed == first, "the same whichever way it went", length);
      const PumpResult opened = move(PumpDirection::kOpen, "sealed", "opened", by);
      check(opened.status == PumpStatus::kDone && opened.plaintext_length == length, "open", length);
      check(read_file("opened") == text, "opened", length);
    }
    const size_t sealed_frame = kFrameLength + 32;
    for (size_t frame = 0; frame * kFrameLength <= length; frame += 1 + length / kFrameLength / 7) {
      std::vector<uint8_t> bad = first;
      bad[frame * sealed_frame + 25] ^= 4;
      write_file("bad", bad);
      std::vector<uint8_t> cut(first.begin(), first.begin() + static_cast<long>(frame * sealed_frame + 10));
      write_file("cut", cut);
      for (const By by : {By::kPosition, By::kOrder, By::kPipe}) {
        const PumpResult result = move(PumpDirection::kOpen, "bad", "opened", by);
        const std::vector<uint8_t> opened = read_file("opened");
        check(result.status == PumpStatus::kNotAuthentic && result.frame_count == frame, "a bad frame", length);
        if (by == By::kPosition) continue;  // what lies behind a gap is thrown away by whoever made the file
        check(opened.size() == frame * kFrameLength, "only what comes before it", length);
        check(std::equal(opened.begin(), opened.end(), text.begin()), "what comes before it", length);
        check(move(PumpDirection::kOpen, "cut", "opened", by).status == PumpStatus::kTruncated, "a cut", length);
        check(read_file("opened").size() == frame * kFrameLength, "what comes before the cut", length);
      }
    }
  }
  // Endless input, and input that never comes.
  for (int i = 0; i < 20; i++) {
    PumpPlan plan;
    plan.input = open("/dev/zero", O_RDONLY);
    plan.output = open("/dev/null", O_WRONLY);
    const int ends[2] = {plan.input, plan.output};
    check(run(std::move(plan), i * 500).status == PumpStatus::kCancelled, "cancelled", 0);
    for (const int end : ends) close(end);
    int idle[2];
    if (pipe(idle) != 0) return 1;
    fcntl(idle[0], F_SETFL, O_NONBLOCK);
    PumpPlan waiting;
    waiting.input = idle[0];
    for (int round = 0; round < 2; round++)
      check(run(waiting, i * 100).status == PumpStatus::kCancelled, "cancelled while it waits", 0);
    for (const int end : idle) close(end);
  }
  gcm::key_wipe(key);
  std::printf("pump: %zu checks, kernel %s\n", checks, kernel->name);
  return 0;
}
