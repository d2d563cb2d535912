// Figures 1 and 3 of the SSMax paper (arXiv 2501.19399), which need no training: the weight that softmax and SSMax give to
// the largest of n scores, computed in double by the same headers that the kernels use.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

struct WeightRow {
  double s;       // of SSMax; 0 for softmax
  size_t n;       // scores in the row
  double z_max;   // the largest of them
  double weight;  // what it gets
};

// All scores are -2 but one, +3; n from 10 to 100,000, 8 in each factor of 10. SSMax's s is 0.43.
std::vector<WeightRow> figure1_rows();

// z = (0, 1/(n-2), 2/(n-2), ..., 1, z_max) with z_max from 0 to 12; the paper shows several s and n, whose
// values are not known here; these are 0.43 and 1, and 10, 100, 1000 and 10,000.
std::vector<WeightRow> figure3_rows();

// The z_max from which on more than half of the weight goes there, interpolated between rows of figure3_rows(); NaN where
// no such rows are, or the weight stays below.
double half_weight_score(const std::vector<WeightRow>& rows, double s, size_t n);

// Both figures in one, for gnuplot, as SVG.
std::string figure1_script();
