// The parts of CPU attention that are the same for every normalizer: how a head is cut into blocks, the products of two
// blocks, and the ways between the caller's arrays and blocks.
//
// A block is dense and small, its rows whole packs, so that its products need no tails and its lines collide in no
// cache. Copying k and v there costs 1 % of the work and spares the strides of qkv, 3C floats: where C is a multiple of
// 256, a head's rows would share a quarter of the cache sets or fewer.
#pragma once

#include <cstddef>

#include "kernels/cpu/pack.h"
#include "kernels/cpu/parallel.h"

namespace cpu {

// 64 queries against 64 keys at a time: with HS = 64 each operand of a product is 16 KB, and all three fit an L1 cache
// of 48 KB. A multiple of the tile and a divisor of the usual T.
inline constexpr size_t kQueries = 64, kKeys = 64;
// On the diagonal a step is 16 keys, against those queries that see any of them: at most 15 keys per query are wasted.
inline constexpr size_t kStep = 16;
inline constexpr size_t kPacks = kQueries / num::kPackWidth;
static_assert(kQueries % kKeys == 0 && kKeys % kStep == 0 && kStep % num::kPackWidth == 0);

// A row of HS numbers in a block: whole packs.
inline size_t padded(size_t HS) { return round_up(HS, num::kPackWidth); }

// Rows that will be needed soon. Each tile of a product asks for two of them, so that they come from memory while the
// tiles compute.
class Ahead {
 public:
  // n > 0 rows of HS numbers, `stride` floats apart. At most 5 calls after a clear().
  void add(const float* rows, size_t stride, size_t n, size_t HS) { lists_[count_++] = {rows, stride, n, HS}; }
  void clear() { at_ = count_ = 0; }
  void fetch() {
    for (int i = 0; i < 2 && at_ < count_; i++) {
      Rows& rows = lists_[at_];
      for (size_t d = 0; d < rows.HS; d += 16) __builtin_prefetch(rows.next + d);
      rows.next += rows.stride;
      if (--rows.left == 0) at_++;
    }
  }

 private:
  struct Rows {
    const float* next;
    size_t stride, left, HS;
  };
  Rows lists_[5];
  int at_ = 0, count_ = 0;
};

// C (M,N) = (or, with `add`, +=) A (M,K) B (K,N); M a multiple of 8, N of packs; rows of A, B, C are a_row, b_row and
// c_row floats apart.
void product(float* c, size_t c_row, const float* a, size_t a_row, const float* b, size_t b_row, size_t M, size_t N,
             size_t K, bool add, Ahead& ahead);

// The same with A stored as its transpose, (K,M).
void product_transposed(float* c, size_t c_row, const float* a, size_t a_row, const float* b, size_t b_row, size_t M,
                        size_t N, size_t K, bool add, Ahead& ahead);

// to (n rounded up to kStep, padded) = `from` (n, HS), whose rows are `stride` floats apart; 0 beyond both.
void copy_rows(float* to, const float* from, size_t stride, size_t n, size_t HS);

// columns (padded, kQueries) = scale * `from` (n, HS) transposed, and, unless null, rows (kQueries, padded) = scale *
// from; 0 beyond n queries, rounded up to kStep, and beyond HS.
void load_queries(float* columns, float* rows, const float* from, size_t stride, float scale, size_t n, size_t HS);

// to (n, HS), rows `stride` floats apart, = scale[i] * row i of `from` (n, padded).
void store_rows(float* to, size_t stride, const float* from, const float* scale, size_t n, size_t HS);

// dots[i] = <row i of a, row i of b> for n rows of HS numbers that are `stride` floats apart; 0 beyond n rounded up to
// packs.
void row_dots(float* dots, const float* a, const float* b, size_t stride, size_t n, size_t HS);

// How the work is shared. The queries of a head are cut into `parts` of about equal work, each with its own dk and dv,
// which are then added in order. Depends on the shape alone, so that the bits depend on nothing else.
struct Split {
  static constexpr size_t kMaxParts = 32;

  size_t parts;
  // Part p has the queries begin[p] .. begin[p + 1] - 1; begin[p] is a multiple of kQueries. The queries see the keys
  // 0 .. begin[p + 1] - 1.
  size_t begin[kMaxParts + 1];
  // Rows of dk of all parts before p: begin[1] + ... + begin[p], each rounded up to kStep.
  size_t rows_before[kMaxParts + 1];

  Split(size_t B, size_t T, size_t NH);

  // Where a part's dk and dv (keys, HSP) are among the partial results, those of all parts of all heads.
  size_t dk_offset(size_t head, size_t part, size_t HSP) const {
    return (head * rows_before[parts] + rows_before[part]) * 2 * HSP;
  }
  size_t dv_offset(size_t head, size_t part, size_t HSP) const {
    return dk_offset(head, part, HSP) + (rows_before[part + 1] - rows_before[part]) * HSP;
  }
  // Floats of the partial results; none where a head is one part.
  size_t partial_floats(size_t heads, size_t HSP) const {
    return parts == 1 ? 0 : heads * rows_before[parts] * 2 * HSP;
  }
};

// Overwrites dk and dv in dqkv (B,T,3C) with the sums of the partial results.
void add_parts(float* dqkv, const float* partials, const Split& split, size_t B, size_t T, size_t C, size_t NH);

}  // namespace cpu
