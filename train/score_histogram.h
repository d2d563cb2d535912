// How the attention scores of a head are spread: a histogram whose bins are as narrow as their range allows, for scores
// lie within a few tenths at the start of training and may take tens at its end.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

// Bin k counts the scores in [k w, (k + 1) w), where the width w is the smallest power of two from 2^-10 on with which all
// that was added lies in at most 64 neighbouring bins, with k between -2^31 and 2^31. So the bins depend on the scores
// alone, not on their order; 0 is always an edge; and bins of two histograms lie within each other, so that the finer one
// can be brought to the width of the other without loss: each bin k becomes part of floor(k / 2) at twice the width.
class ScoreHistogram {
 public:
  static constexpr size_t kMostBins = 64;
  static constexpr double kNarrowest = 0x1p-10;

  // Counts the score `count` times; one that is not finite is left out.
  void add(double score, uint64_t count = 1) {
    if (!std::isfinite(score)) return;
    while (!fits(bin_of(score))) widen();
    const auto bin = int64_t(bin_of(score));
    if (counts_.empty()) first_ = bin;
    if (bin < first_) {
      counts_.insert(counts_.begin(), size_t(first_ - bin), 0);
      first_ = bin;
    }
    if (end() <= bin) counts_.resize(size_t(bin - first_) + 1);
    counts_[size_t(bin - first_)] += count;
  }

  void add(const ScoreHistogram& other) {
    while (width_ < other.width_) widen();
    for (size_t i = 0; i < other.counts_.size(); i++)
      if (other.counts_[i] > 0) add(double(other.first_ + int64_t(i)) * other.width_, other.counts_[i]);
  }

  // {"width": w, "first": k of the first bin, "counts": [...]}; neither the first nor the last count is 0. Without any
  // score, no counts.
  nlohmann::ordered_json to_json() const { return {{"width", width_}, {"first", first_}, {"counts", counts_}}; }

 private:
  int64_t end() const { return first_ + int64_t(counts_.size()); }

  double bin_of(double score) const { return std::floor(score / width_); }

  bool fits(double bin) const {
    if (std::abs(bin) >= 0x1p31) return false;
    if (counts_.empty()) return true;
    const double low = std::min(bin, double(first_)), high = std::max(bin, double(end() - 1));
    return high - low < double(kMostBins);
  }

  // Doubles the width.
  void widen() {
    width_ *= 2;
    const int64_t old_first = first_;
    first_ >>= 1;  // floor(k / 2), below 0 too
    std::vector<uint64_t> wide;
    for (size_t i = 0; i < counts_.size(); i++) {
      const auto bin = size_t(((old_first + int64_t(i)) >> 1) - first_);
      wide.resize(bin + 1);
      wide[bin] += counts_[i];
    }
    counts_ = wide;
  }

  double width_ = kNarrowest;
  int64_t first_ = 0;
  std::vector<uint64_t> counts_;
};
