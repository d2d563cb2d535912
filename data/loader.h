// Which tokens each update sees. A stream of N tokens has W = floor((N - 1) / T) windows; window w holds the tokens
// [wT, (w+1)T + 1): T inputs and, shifted by one, T targets. With A micro-batches of B rows an update has AB rows and
// an epoch U = floor(W / (AB)) updates. Row r of update u (both from 0) is window pi_e((u mod U) AB + r), e = floor(u /
// U), and row b of micro-batch m is row r = mB + b. So B x A and BA x 1 give the same rows in the same order.
#pragma once

#include <cstdint>
#include <vector>

#include "data/token_file.h"

// kSequential: pi is the identity, llm.c's order (over one file). kShuffled: pi_e is the Fisher-Yates shuffle of
// 0..W-1:
//   for i = W-1, ..., 1: exchange entries i and j, j = floor(x (i + 1) / 2^64),
// with x the 64 bits (word 0 high, word 1 low) that Philox gives for the key (data_seed, e) and the counter i. Of both
// parts of the key the low 32 bits are the key's words; the high 32 bits, zero in practice, are the counter's upper
// words. j is uniform up to a bias below W / 2^64.
enum class Order { kShuffled, kSequential };

// The permutation pi_e of 0..W-1 as above.
std::vector<uint64_t> shuffled_windows(uint64_t W, uint64_t data_seed, uint64_t epoch);

// The memory that a loader's permutation takes, for a stream of so many tokens.
inline uint64_t permutation_bytes(uint64_t tokens, int T, Order order) {
  return order == Order::kShuffled && tokens > 0 ? (tokens - 1) / uint64_t(T) * sizeof(uint64_t) : 0;
}

// Has no state but the permutation of the epoch last used, so a run that resumes needs the update's number only.
class Loader {
 public:
  // The stream must outlive the loader. Error if T is longer than the stream allows or U is 0, naming what fits.
  Loader(const TokenStream& stream, int B, int T, int accum, Order order, uint64_t data_seed);

  // Rows of micro-batch `micro` (0 .. accum-1) of an update: inputs and targets, (B,T) each, are overwritten.
  void load(uint64_t update, int micro, int32_t* inputs, int32_t* targets);

  // The window that is row `row` (0 .. B accum - 1) of an update.
  uint64_t window(uint64_t update, uint64_t row);

  uint64_t windows() const { return W_; }            // W
  uint64_t updates_per_epoch() const { return U_; }  // U

 private:
  const TokenStream& stream_;
  int B_, T_, accum_;
  Order order_;
  uint64_t data_seed_, W_, U_;
  uint64_t epoch_ = 0;                 // of permutation_
  std::vector<uint64_t> permutation_;  // empty until the first use, and always in sequential order
  std::vector<int32_t> tokens_;        // one window, T + 1
};
