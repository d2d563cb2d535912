#include "kernels/embedding.h"

#include <vector>

#include "kernels/reference/embedding.h"
#include "tests/any_order.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/device_vector.h"

namespace {

struct Inputs {
  size_t B, T, C, V;
  DeviceVector<int32_t> tokens;
  std::vector<double> wte, wpe, dout, dwte, dwpe;  // wpe has two positions more than needed

  Inputs(size_t B, size_t T, size_t C, size_t V)
      : B(B),
        T(T),
        C(C),
        V(V),
        tokens(B * T),
        wte(random_stored("wte", V * C)),
        wpe(random_stored("wpe", (T + 2) * C)),
        dout(random_stored("dout", B * T * C)),
        dwte(random_stored("dwte", V * C)),
        dwpe(random_vector("dwpe", (T + 2) * C)) {
    Philox stream = {{1, 2}};
    for (size_t i = 0; i < tokens.size(); i++) tokens[i] = int32_t(stream(i)[0] % V);
  }
};

std::vector<float> forward(const Inputs& x, bool positions) {
  auto out = device_nan<S>(x.B * x.T * x.C), wte = device<S>(x.wte), wpe = device<S>(x.wpe);
  backend::embedding_forward(out.data(), x.tokens.data(), wte.data(), positions ? wpe.data() : nullptr, x.B, x.T, x.C);
  return host(out);
}

struct Gradients {
  std::vector<float> dwte, dwpe;
};

Gradients backward(const Inputs& x, bool positions, int times = 1) {
  auto dwte = device<float>(x.dwte), dwpe = device<float>(x.dwpe);
  auto dout = device<S>(x.dout);
  for (int i = 0; i < times; i++)
    backend::embedding_backward(dwte.data(), positions ? dwpe.data() : nullptr, dout.data(), x.tokens.data(), x.B, x.T,
                                x.C);
  return {host(dwte), host(dwpe)};
}

}  // namespace

TEST_CASE("embedding agrees with the reference", "[core][embedding]") {
  for (size_t B : {1, 3})
    for (size_t T : {1, 33})
      for (size_t C : {1, 7, 64, 97})
        for (bool positions : {true, false}) {
          INFO("B " << B << ", T " << T << ", C " << C << (positions ? ", with" : ", without") << " positions");
          Inputs x(B, T, C, 5);  // few tokens: all occur often
          std::vector<double> out(B * T * C), dwte = x.dwte, dwpe = x.dwpe;
          reference::embedding_forward(out.data(), x.tokens.data(), x.wte.data(), positions ? x.wpe.data() : nullptr, B,
                                       T, C);
          reference::embedding_backward(dwte.data(), positions ? dwpe.data() : nullptr, x.dout.data(), x.tokens.data(),
                                        B, T, C);
          CHECK(compare(forward(x, positions), out, stored(kFp32)));
          Gradients got = backward(x, positions);
          CHECK(compare(got.dwte, dwte, kFp32));
          CHECK(compare(got.dwpe, dwpe, kFp32));
        }
}

TEST_CASE("the backward of the reference embedding agrees with central differences", "[core][embedding]") {
  Inputs x(2, 3, 4, 3);
  std::vector<double> out(2 * 3 * 4), dwte(x.wte.size()), dwpe(x.wpe.size());
  reference::embedding_backward(dwte.data(), dwpe.data(), x.dout.data(), x.tokens.data(), 2, 3, 4);
  auto loss = [&] {
    reference::embedding_forward(out.data(), x.tokens.data(), x.wte.data(), x.wpe.data(), 2, 3, 4);
    return inner_product(out, x.dout);
  };
  CHECK(compare(dwte, central_differences(loss, x.wte), kDifferences));
  CHECK(compare(dwpe, central_differences(loss, x.wpe), kDifferences));
}

TEST_CASE("embedding backward twice doubles its gradients", "[core][embedding]") {
  Inputs x(2, 33, 7, 5);
  x.dwte.assign(x.dwte.size(), 0);
  x.dwpe.assign(x.dwpe.size(), 0);
  Gradients once = backward(x, true), twice = backward(x, true, 2);
  CHECK(compare(twice.dwte, times_two(once.dwte), kFp32));
  CHECK(compare(twice.dwpe, times_two(once.dwpe), kFp32));
}

TEST_CASE("embedding gives the same bits in any order of work", "[core][embedding]") {
  for (Inputs x : {Inputs(3, 65, 131, 11), Inputs(1, 5, 3, 7), Inputs(5, 211, 13, 259)})
    CHECK(same_for_any_order([&] {
      Gradients d = backward(x, true);
      return joined({forward(x, true), d.dwte, d.dwpe});
    }));
}
