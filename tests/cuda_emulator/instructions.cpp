// Instructions of the tensor cores and asynchronous copies, as the PTX document lays their operands out over the lanes.
#include <cstring>
#include <vector>

#include "access.h"

// Sums of products are rounded at every step, whatever the processor and the compiler's options.
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
#endif

namespace emu {
namespace {

constexpr int kRows = 8;  // of a matrix that ldmatrix loads, 8 x 8 elements of 2 bytes
constexpr size_t kRowBytes = 16;

// --- mma.m16n8k16 ----------------------------------------------------------------------------------------------------

struct MmaOperands {
  uint32_t a[4];
  uint32_t b[2];
  float d[4];
};

float bf16_to_float(uint32_t pair, int half) { return __builtin_bit_cast(float, (pair >> (16 * half) & 0xffff) << 16); }

float element_a(const MmaOperands* lanes, int row, int k) {
  return bf16_to_float(lanes[row % 8 * 4 + k % 8 / 2].a[row / 8 + 2 * (k / 8)], k & 1);
}

float element_b(const MmaOperands* lanes, int k, int column) {
  return bf16_to_float(lanes[column * 4 + k % 8 / 2].b[k / 8], k & 1);
}

void combine_mma(Deposit* deposits, unsigned) {
  MmaOperands lanes[kLanes];
  for (unsigned lane = 0; lane < kLanes; ++lane) std::memcpy(&lanes[lane], deposits[lane].bytes, sizeof lanes[lane]);
  float a[16][16], b[8][16];
  for (int k = 0; k < 16; ++k) {
    for (int row = 0; row < 16; ++row) a[row][k] = element_a(lanes, row, k);
    for (int column = 0; column < 8; ++column) b[column][k] = element_b(lanes, k, column);
  }
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + (i & 1);
      float sum = lanes[lane].d[i];
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[column][k];
      lanes[lane].d[i] = sum;
    }
    std::memcpy(deposits[lane].bytes, &lanes[lane], sizeof lanes[lane]);
  }
}

// --- ldmatrix --------------------------------------------------------------------------------------------------------

using Matrices = uint16_t[4][kRows][kRows];

void load_matrices(const Deposit* deposits, Matrices& matrices) {
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    const void* row = load<const void*>(deposits[lane].bytes);
    std::memcpy(matrices[lane / kRows][lane % kRows], row, kRowBytes);
  }
}

// Register m of a lane: two neighbours of matrix m, in a row or (transposed) in a column.
template <bool transposed>
void combine_ldmatrix(Deposit* deposits, unsigned) {
  Matrices matrices;
  load_matrices(deposits, matrices);
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    const unsigned g = lane / 4, q = lane % 4 * 2;
    uint32_t registers[4];
    for (unsigned m = 0; m < 4; ++m) {
      const uint32_t low = transposed ? matrices[m][q][g] : matrices[m][g][q];
      const uint32_t high = transposed ? matrices[m][q + 1][g] : matrices[m][g][q + 1];
      registers[m] = low | high << 16;
    }
    std::memcpy(deposits[lane].bytes, registers, sizeof registers);
  }
}

constexpr Collective kMma = {"mma.m16n8k16", combine_mma, false};
constexpr Collective kLdmatrix = {"ldmatrix.x4", combine_ldmatrix<false>, false};
constexpr Collective kLdmatrixTrans = {"ldmatrix.x4.trans", combine_ldmatrix<true>, false};

void require_shared(const void* pointer, const char* instruction, Caller caller) {
  if (reinterpret_cast<uintptr_t>(pointer) - space.base < kSharedBytes) return;
  begin_report();
  fail(std::string(instruction) + ": the address is not in shared memory", caller);
}

void ldmatrix(const Collective& operation, uint32_t (&r)[4], const void* row, Caller caller, const void* code) {
  if (now.running) {
    require_shared(row, operation.name, caller);
    check<kRowBytes, Kind::read>(row, code);
  }
  unsigned char exchanged[kRowBytes] = {};
  std::memcpy(exchanged, &row, sizeof row);
  exchange(operation, kEveryLane, 0, 0, exchanged, sizeof exchanged, caller);
  std::memcpy(r, exchanged, sizeof r);
}

// --- cp.async --------------------------------------------------------------------------------------------------------

struct AsyncCopy {
  void* to;
  const void* from;
  int bytes;  // the rest of 16 is zero
  unsigned group;
  const void* code;
};

struct AsyncCopies {
  std::vector<AsyncCopy> pending;  // in the order of their groups
  unsigned groups = 0;             // committed so far
};

AsyncCopies g_copies[kMaxThreads];

void read_source(const AsyncCopy& copy) {
  check_range({reinterpret_cast<uintptr_t>(copy.from), static_cast<size_t>(copy.bytes), Kind::read, copy.code});
}

void mark_in_flight(void* to, bool in_flight) {
  if (now.checking) {
    set_state(reinterpret_cast<uintptr_t>(to), kRowBytes, kAllocated | (in_flight ? kInFlight : kInitialised));
  }
}

// The source is read here and again at the wait, so that a change of it in between is a race.
void start(const AsyncCopy& copy) {
  check<kRowBytes, Kind::write>(copy.to, copy.code);
  if (now.checking && reinterpret_cast<uintptr_t>(copy.from) % kRowBytes != 0) {
    report_misaligned({reinterpret_cast<uintptr_t>(copy.from), kRowBytes, Kind::read, copy.code});
  }
  read_source(copy);
  mark_in_flight(copy.to, true);
}

void finish(const AsyncCopy& copy) {
  read_source(copy);
  mark_in_flight(copy.to, false);
  check<kRowBytes, Kind::write>(copy.to, copy.code);
  std::memset(copy.to, 0, kRowBytes);
  std::memcpy(copy.to, copy.from, static_cast<size_t>(copy.bytes));
}

}  // namespace

void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const char* file, int line) {
  MmaOperands operands;
  std::memcpy(operands.a, a, sizeof a);
  std::memcpy(operands.b, b, sizeof b);
  std::memcpy(operands.d, d, sizeof d);
  exchange(kMma, kEveryLane, 0, 0, &operands, sizeof operands, {file, line});
  std::memcpy(d, operands.d, sizeof d);
}

void ldmatrix_x4(uint32_t (&r)[4], const void* row, const char* file, int line) {
  ldmatrix(kLdmatrix, r, row, {file, line}, __builtin_return_address(0));
}

void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, const char* file, int line) {
  ldmatrix(kLdmatrixTrans, r, row, {file, line}, __builtin_return_address(0));
}

void cp_async_16(void* shared, const void* global, int source_bytes) {
  const void* code = __builtin_return_address(0);
  if (!now.running) fail("cp.async is called outside a kernel");
  require_shared(shared, "cp.async", {"the destination", 0});
  if (source_bytes < 0 || source_bytes > static_cast<int>(kRowBytes)) {
    begin_report();
    fail("cp.async copies 0 to 16 bytes, not " + std::to_string(source_bytes));
  }
  AsyncCopies& copies = g_copies[now.thread];
  const AsyncCopy copy{shared, global, source_bytes, copies.groups, code};
  start(copy);
  copies.pending.push_back(copy);
}

void cp_async_commit() {
  if (!now.running) fail("cp.async.commit_group is called outside a kernel");
  ++g_copies[now.thread].groups;
}

void cp_async_wait(int groups_left) {
  if (!now.running) fail("cp.async.wait_group is called outside a kernel");
  AsyncCopies& copies = g_copies[now.thread];
  std::vector<AsyncCopy>& pending = copies.pending;
  size_t done = 0;
  while (done < pending.size() && pending[done].group + static_cast<unsigned>(groups_left) < copies.groups) {
    finish(pending[done++]);
  }
  pending.erase(pending.begin(), pending.begin() + static_cast<std::ptrdiff_t>(done));
}

void begin_async_copies(unsigned thread) {
  g_copies[thread].pending.clear();
  g_copies[thread].groups = 0;
}

void end_async_copies(unsigned thread) {
  const size_t left = g_copies[thread].pending.size();
  if (left == 0) return;
  begin_report();
  fail("the thread ends with " + std::to_string(left) + " copies of cp.async that it has not waited for");
}

}  // namespace emu
