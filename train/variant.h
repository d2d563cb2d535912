// What a program is compiled for, as its build folder and a run's default folder name it: the normalizer, and the
// precision unless it is fp32.
#pragma once

#include <string>

#include "kernels/normalizer/normalizer.h"
#include "kernels/precision.h"

inline std::string variant_name(const std::string& normalizer, const std::string& precision) {
  return precision.empty() || precision == kPrecisionName<fp32> ? normalizer : normalizer + "-" + precision;
}

#ifdef ATTNORM_PRECISION
inline std::string selected_variant() { return variant_name(kSelectedName, kPrecisionName<SelectedPrecision>); }
#endif
