// The same check for every normalizer of the list.
#pragma once

#include <string>

#include "kernels/normalizer/normalizer.h"
#include "tests/catch.h"

// Calls check.operator()<N>(name), a lambda []<class N>(const std::string& name) {...}, for each.
template <class F>
void for_every_normalizer(F check) {
#define ATTNORM_CHECK(name, ...)                   \
  {                                                \
    INFO(#name);                                   \
    check.template operator()<named::name>(#name); \
  }
  EVERY_NORMALIZER(ATTNORM_CHECK)
#undef ATTNORM_CHECK
}
