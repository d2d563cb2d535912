// What the emulator offers beside the stand-ins for CUDA's own headers: to tests its options and errors, to kernels the
// functions that device.h and a project's own wrappers of PTX instructions are made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

// The environment variable that holds the options; another project names its own.
#ifndef EMU_ENVIRONMENT
#define EMU_ENVIRONMENT "ATTNORM_EMULATOR"
#endif

namespace emu {

// A fault of a kernel or of the host code. Thrown on the host's stack: faults of the host at the call, faults of a
// kernel at the next call that synchronises, since a launch only enters a queue. The queue is empty afterwards.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class Schedule { forward, reverse, random };
enum class Fault { none, no_driver, no_device, old_driver, no_image };

struct Options {
  Schedule schedule = Schedule::forward;  // order of the blocks, and of the threads between two barriers
  uint64_t seed = 1;                      // of Schedule::random and of preemption
  uint32_t preempt = 0;                   // a thread gives way at one of so many accesses to memory; 0: never
  bool check = true;                      // bounds, initialisation, alignment, races; barriers are always checked
  bool float_atomics = false;             // allow atomicAdd of floats, whose result depends on the schedule
  Fault fault = Fault::none;              // the machine to play
  size_t memory = size_t{1} << 30;        // bytes of device memory, managed memory included
};

// The options now in force, which may be changed between launches; at first those of the environment variable.
Options& options();

// "schedule=random seed=3 preempt=64 check=off float-atomics=on fault=no-device memory=64MiB", any of them; throws
// Error.
Options parse_options(const std::string& text);
std::string describe(const Options& options);

// Counted since the start of the program.
struct Statistics {
  uint64_t launches = 0;
  uint64_t threads = 0;
  uint64_t switches = 0;
  uint64_t accesses = 0;  // those of kernels to shared, device and managed memory
};
const Statistics& statistics();

// --- for kernels -----------------------------------------------------------------------------------------------------

inline constexpr size_t kMaxParameterBytes = 4096;

struct Caller {
  const char* file;
  int line;
};

// One SHARED_ARRAY of the source, and where the present block has it.
struct SharedSlot {
  size_t bytes;
  size_t alignment;
  const char* name;
  const char* file;
  int line;
  uint64_t block;  // number of the block that `offset` is of
  size_t offset;
};
void* shared_array(SharedSlot& slot);
void* dynamic_shared(size_t alignment);

enum class Shuffle { index, exclusive_or, up, down };
enum class Vote { ballot, any, all };

void sync_threads(Caller caller);
void sync_warp(unsigned mask, Caller caller);
uint64_t shuffle_bits(Shuffle kind, unsigned mask, uint64_t bits, int lane, int width, Caller caller);
unsigned vote(Vote kind, unsigned mask, int predicate, Caller caller);
[[noreturn]] void trap();

// Instructions that have no name in CUDA C++. All 32 lanes of a warp execute them together.

// mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32: d += a b, in ascending order of k, every step rounded to fp32.
void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                       const char* file = __builtin_FILE(), int line = __builtin_LINE());
// ldmatrix.sync.aligned.m8n8.x4(.trans).shared.b16: `row` is the lane's row of 16 bytes.
void ldmatrix_x4(uint32_t (&r)[4], const void* row, const char* file = __builtin_FILE(), int line = __builtin_LINE());
void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, const char* file = __builtin_FILE(),
                       int line = __builtin_LINE());

// cp.async.cg.shared.global 16: the copy is made by cp_async_wait, the thread's own wait for all but the `groups_left`
// last groups. Bytes from `source_bytes` on are zero.
void cp_async_16(void* shared, const void* global, int source_bytes = 16);
void cp_async_commit();
void cp_async_wait(int groups_left);

}  // namespace emu
