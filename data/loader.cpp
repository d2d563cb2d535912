#include "data/loader.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "data/error.h"
#include "kernels/random.h"

std::vector<uint64_t> shuffled_windows(uint64_t W, uint64_t data_seed, uint64_t epoch) {
  std::vector<uint64_t> order(W);
  std::iota(order.begin(), order.end(), 0);
  Philox stream{{uint32_t(data_seed), uint32_t(epoch)}};
  uint64_t upper = data_seed >> 32 | epoch >> 32 << 32;
  for (uint64_t i = W; i-- > 1;) {
    auto words = stream(i, upper);
    std::swap(order[i], order[below(i + 1, words[0], words[1])]);
  }
  return order;
}

Loader::Loader(const TokenStream& stream, int B, int T, int accum, Order order, uint64_t data_seed)
    : stream_(stream), B_(B), T_(T), accum_(accum), order_(order), data_seed_(data_seed) {
  if (B < 1 || T < 1 || accum < 1)
    throw Error("--batch-size " + std::to_string(B) + ", --seq-len " + std::to_string(T) + " and --grad-accum " +
                std::to_string(accum) + " must each be at least 1");
  uint64_t N = stream.size(), rows = uint64_t(B) * accum;
  if (N < uint64_t(T) + 1)
    throw Error("--seq-len " + std::to_string(T) + " is too long: it needs " + std::to_string(uint64_t(T) + 1) +
                " tokens, but " + stream.name() + " holds " + std::to_string(N) + ", enough for at most " +
                std::to_string(N > 0 ? N - 1 : 0));
  W_ = (N - 1) / T;
  U_ = W_ / rows;
  if (U_ == 0)
    throw Error("--batch-size " + std::to_string(B) + " times --grad-accum " + std::to_string(accum) + " is " +
                std::to_string(rows) + " sequences of " + std::to_string(T) + " tokens, but " + stream.name() +
                " holds only " + std::to_string(W_) + "; their product may be at most " + std::to_string(W_));
  tokens_.resize(size_t(T) + 1);
}

uint64_t Loader::window(uint64_t update, uint64_t row) {
  uint64_t epoch = update / U_, place = update % U_ * (uint64_t(B_) * accum_) + row;
  if (order_ == Order::kSequential) return place;
  if (permutation_.empty() || epoch_ != epoch) {
    permutation_ = {};  // gives its memory back before the next takes as much
    permutation_ = shuffled_windows(W_, data_seed_, epoch);
    epoch_ = epoch;
  }
  return permutation_[place];
}

void Loader::load(uint64_t update, int micro, int32_t* inputs, int32_t* targets) {
  for (int b = 0; b < B_; b++) {
    uint64_t begin = window(update, uint64_t(micro) * B_ + b) * T_;
    stream_.copy(begin, tokens_.size(), tokens_.data());
    std::copy_n(tokens_.data(), T_, inputs + size_t(b) * T_);
    std::copy_n(tokens_.data() + 1, T_, targets + size_t(b) * T_);
  }
}
