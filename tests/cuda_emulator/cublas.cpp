// cuBLAS for the emulated device: every column that a product touches must lie in one live allocation, and what it
// reads must have been written. Sums are fp32, in ascending order of k.
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "include/cublas_v2.h"
#include "memory.h"
#include "runtime.h"
#include "shadow.h"

// Sums of products are rounded at every step, whatever the processor and the compiler's options.
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
#endif

struct cublasContext {
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
};

namespace emu {
namespace {

// One operand as it lies in memory: `columns` columns of `rows` elements, `ld` elements apart.
struct Matrix {
  const char* name;
  const void* data;
  cudaDataType type;
  int rows, columns;
  int64_t ld;

  size_t element_bytes() const { return type == CUDA_R_32F ? sizeof(float) : sizeof(uint16_t); }
  const char* column(int j) const {
    return static_cast<const char*>(data) + static_cast<int64_t>(j) * ld * static_cast<int64_t>(element_bytes());
  }
  size_t column_bytes() const { return static_cast<size_t>(rows) * element_bytes(); }
};

struct Product {
  bool transpose_a, transpose_b;
  int m, n, k;
  float alpha, beta;
  Matrix a, b, c;
  bool tf32;
};

Matrix advanced(Matrix matrix, int64_t elements) {
  matrix.data = static_cast<const char*>(matrix.data) + elements * static_cast<int64_t>(matrix.element_bytes());
  return matrix;
}

float bf16_to_float(uint16_t bits) { return __builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16); }

// To the nearest, ties to even; a NaN becomes 0x7fff, as the hardware has it.
uint16_t float_to_bf16(float value) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// 10 bits of mantissa, to the nearest, ties away from zero.
float round_to_tf32(float value) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  if ((bits & 0x7f800000) == 0x7f800000) return value;
  return __builtin_bit_cast(float, (bits + 0x1000) & ~uint32_t{0x1fff});
}

void check_columns(const Matrix& matrix, bool is_read) {
  const std::string what = "cuBLAS: matrix " + std::string(matrix.name);
  for (int j = 0; j < matrix.columns; ++j) {
    const std::string column = what + ", column " + std::to_string(j) + ",";
    (is_read ? require_initialised : require_device_range)(column, matrix.column(j), matrix.column_bytes());
  }
}

// The matrix in fp32 with its columns behind each other, or its transpose.
std::vector<float> unpack(const Matrix& matrix, bool transposed, bool tf32) {
  std::vector<float> packed(static_cast<size_t>(matrix.rows) * static_cast<size_t>(matrix.columns));
  const size_t row_step = transposed ? static_cast<size_t>(matrix.columns) : 1;
  const size_t column_step = transposed ? 1 : static_cast<size_t>(matrix.rows);
  for (int j = 0; j < matrix.columns; ++j) {
    const char* column = matrix.column(j);
    float* to = packed.data() + static_cast<size_t>(j) * column_step;
    for (int i = 0; i < matrix.rows; ++i, to += row_step) {
      if (matrix.type == CUDA_R_32F) {
        std::memcpy(to, column + static_cast<size_t>(i) * sizeof(float), sizeof(float));
        if (tf32) *to = round_to_tf32(*to);
      } else {
        uint16_t bits;
        std::memcpy(&bits, column + static_cast<size_t>(i) * sizeof bits, sizeof bits);
        *to = bf16_to_float(bits);
      }
    }
  }
  return packed;
}

float read_c(const Matrix& c, const char* place) {
  if (c.type == CUDA_R_32F) {
    float value;
    std::memcpy(&value, place, sizeof value);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, place, sizeof bits);
  return bf16_to_float(bits);
}

void write_c(const Matrix& c, char* place, float value) {
  if (c.type == CUDA_R_32F) {
    std::memcpy(place, &value, sizeof value);
    return;
  }
  const uint16_t bits = float_to_bf16(value);
  std::memcpy(place, &bits, sizeof bits);
}

void write_column(const Product& product, int j, const float* sums) {
  char* place = const_cast<char*>(product.c.column(j));
  set_state(reinterpret_cast<uintptr_t>(place), product.c.column_bytes(), kAllocated | kInitialised);
  for (int i = 0; i < product.m; ++i, place += product.c.element_bytes()) {
    float value = product.alpha * sums[i];
    if (product.beta != 0) value += product.beta * read_c(product.c, place);
    write_c(product.c, place, value);
  }
}

void run_product(const Product& product) {
  check_columns(product.a, true);
  check_columns(product.b, true);
  check_columns(product.c, product.beta != 0);
  const std::vector<float> a = unpack(product.a, product.transpose_a, product.tf32);  // m x k
  const std::vector<float> b = unpack(product.b, product.transpose_b, product.tf32);  // k x n
  const size_t m = static_cast<size_t>(product.m), k = static_cast<size_t>(product.k);
  std::vector<float> sums(m);
  for (int j = 0; j < product.n; ++j) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (size_t l = 0; l < k; ++l) {
      const float factor = b[static_cast<size_t>(j) * k + l];
      const float* column = a.data() + l * m;
      for (size_t i = 0; i < m; ++i) sums[i] += column[i] * factor;
    }
    write_column(product, j, sums.data());
  }
}

bool known_type(cudaDataType type) { return type == CUDA_R_32F || type == CUDA_R_16BF; }

cublasStatus_t check_arguments(const Product& p, int batch, const void* alpha, const void* beta,
                               cublasComputeType_t compute) {
  if (p.m < 0 || p.n < 0 || p.k < 0 || batch < 0 || !alpha || !beta) return CUBLAS_STATUS_INVALID_VALUE;
  for (const Matrix& matrix : {p.a, p.b, p.c}) {
    if (matrix.ld < std::max(1, matrix.rows)) return CUBLAS_STATUS_INVALID_VALUE;
    if (!known_type(matrix.type)) return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  const bool known_compute = compute == CUBLAS_COMPUTE_32F || compute == CUBLAS_COMPUTE_32F_PEDANTIC ||
                             compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  // A and B have one type, and C theirs or fp32, as cuBLAS documents it.
  if (p.a.type != p.b.type || (p.a.type == CUDA_R_32F && p.c.type != CUDA_R_32F) || !known_compute) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  return CUBLAS_STATUS_SUCCESS;
}

bool unknown_operation(cublasOperation_t operation) { return operation != CUBLAS_OP_N && operation != CUBLAS_OP_T; }

}  // namespace
}  // namespace emu

using namespace emu;

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetVersion(cublasHandle_t handle, int* version) {
  *version = 130000;
  return handle ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_INITIALIZED;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t) {
  return handle ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_INITIALIZED;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void* workspace, size_t bytes) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (reinterpret_cast<uintptr_t>(workspace) % 256 != 0) return CUBLAS_STATUS_INVALID_VALUE;
  if (bytes > 0) require_device_range("cublasSetWorkspace: the workspace", workspace, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  handle->math = mode;
  return CUBLAS_STATUS_SUCCESS;
}

const char* cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_MAPPING_ERROR:
      return "CUBLAS_STATUS_MAPPING_ERROR";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    case CUBLAS_STATUS_LICENSE_ERROR:
      return "CUBLAS_STATUS_LICENSE_ERROR";
  }
  return "<unknown>";
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n,
                            int k, const void* alpha, const void* A, cudaDataType Atype, int lda, const void* B,
                            cudaDataType Btype, int ldb, const void* beta, void* C, cudaDataType Ctype, int ldc,
                            cublasComputeType_t computeType, cublasGemmAlgo_t algo) {
  return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, A, Atype, lda, 0, B, Btype, ldb, 0, beta, C,
                                    Ctype, ldc, 0, 1, computeType, algo);
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                                          int m, int n, int k, const void* alpha, const void* A, cudaDataType Atype,
                                          int lda, long long int strideA, const void* B, cudaDataType Btype, int ldb,
                                          long long int strideB, const void* beta, void* C, cudaDataType Ctype, int ldc,
                                          long long int strideC, int batchCount, cublasComputeType_t computeType,
                                          cublasGemmAlgo_t) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (unknown_operation(transa) || unknown_operation(transb)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const bool turn_a = transa == CUBLAS_OP_T, turn_b = transb == CUBLAS_OP_T;
  Product product{turn_a,
                  turn_b,
                  m,
                  n,
                  k,
                  0,
                  0,
                  {"A", A, Atype, turn_a ? k : m, turn_a ? m : k, lda},
                  {"B", B, Btype, turn_b ? n : k, turn_b ? k : n, ldb},
                  {"C", C, Ctype, m, n, ldc},
                  computeType == CUBLAS_COMPUTE_32F_FAST_TF32 ||
                      (computeType == CUBLAS_COMPUTE_32F && handle->math == CUBLAS_TF32_TENSOR_OP_MATH)};
  const cublasStatus_t status = check_arguments(product, batchCount, alpha, beta, computeType);
  if (status != CUBLAS_STATUS_SUCCESS || m == 0 || n == 0) return status;
  std::memcpy(&product.alpha, alpha, sizeof(float));
  std::memcpy(&product.beta, beta, sizeof(float));
  for (int i = 0; i < batchCount; ++i) {
    Product one = product;
    one.a = advanced(product.a, i * strideA);
    one.b = advanced(product.b, i * strideB);
    one.c = advanced(product.c, i * strideC);
    enqueue([one] { run_product(one); });
  }
  return CUBLAS_STATUS_SUCCESS;
}
