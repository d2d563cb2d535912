// What ThreadSanitizer is tried on before it is believed (tests/test_races.sh): races that it has to find, and shared
// memory that OpenMP's barriers, locks and joins order, of which it knows through the library's tool Archer alone.
//
//   planted_race team | thread | kernel | file | none
#include <fcntl.h>
#include <omp.h>

#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "data/file_descriptor.h"
#include "kernels/gelu.h"

namespace {

int shared = 0, copies = 0;

void race_in_a_team() {
#pragma omp parallel num_threads(4)
  shared++;
}

void race_with_a_thread() {
  std::thread other([] { shared++; });
  shared++;
  other.join();
}

// Two kernels that write the same: their accesses are those of SIMD registers.
void race_of_kernels() {
  constexpr size_t n = 67;
  const std::vector<float> x(n, 1);
  std::vector<float> y(n);
  std::thread other([&] { cpu::gelu_forward(y.data(), x.data(), n); });
  cpu::gelu_forward(y.data(), x.data(), n);
  other.join();
}

// A block that changes while a thread writes it to a file, as a checkpoint's would without a copy.
void race_with_a_file() {
  std::vector<float> block(64);
  const FileDescriptor file(open("/dev/null", O_WRONLY));
  std::thread writer([&] { write_all(file, block.data(), block.size() * sizeof(float)); });
  for (float& x : block) x++;
  writer.join();
}

// Each round one thread writes what all read behind a barrier, and the next round's team may be other threads.
void ordered() {
  for (int round = 0; round < 100; round++) {
#pragma omp parallel for num_threads(4) schedule(dynamic)
    for (int i = 0; i < 64; i++)
      if (i == round % 64) shared++;
#pragma omp parallel num_threads(4)
    {
#pragma omp single
      shared++;
#pragma omp critical
      copies += shared;
    }
  }
  std::thread other([] { shared++; });
  other.join();
  shared++;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string race = argc > 1 ? argv[1] : "";
  if (race == "team") race_in_a_team();
  if (race == "thread") race_with_a_thread();
  if (race == "kernel") race_of_kernels();
  if (race == "file") race_with_a_file();
  if (race == "none") ordered();
  std::printf("%d %d\n", shared, copies);
}
