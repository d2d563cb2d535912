// What a program is compiled for, as its build folder and a run's default folder name it: the normalizer, the device
// unless it is the CPU, and the precision unless it is fp32.
#pragma once

#include <string>

#include "kernels/normalizer/normalizer.h"
#include "kernels/precision.h"
#include "model/backend.h"

inline std::string variant_name(const std::string& normalizer, const std::string& precision, bool on_gpu = false) {
  const std::string device = on_gpu ? "-cuda" : "";
  return normalizer + device + (precision.empty() || precision == kPrecisionName<fp32> ? "" : "-" + precision);
}

#ifdef ATTNORM_PRECISION
inline std::string selected_variant() {
  return variant_name(kSelectedName, kPrecisionName<SelectedPrecision>, !backend::kOnHost);
}
#endif
