// Tensor cores and asynchronous copies, one function for each instruction. A warp calls them together, all lanes active.
//
// A warp's lanes hold matrices in fragments; g = lane / 4 and q = lane % 4:
//
//   C, D (16,8)  fp32   element i: row g + 8 (i / 2), column 2q + i % 2
//   A (16,16)    bf16   register r: row g + 8 (r % 2), columns 2q + 8 (r / 2) and the next, the first in the lower half
//   B (16,8)     bf16   register r: rows 2q + 8 r and the next, column g
//
// Source: PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type", "ldmatrix", "cp.async". sm_80 and later.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"

namespace cuda {

// d += a b, summed in fp32.
__device__ inline void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef __CUDACC__
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  emu::mma_m16n8k16_bf16(d, a, b);
#endif
}

// Four matrices of 8 x 8 bf16 from shared memory, one in each register. Lanes 8 m .. 8 m + 7 give the addresses of the
// rows of matrix m, 16 bytes each, aligned to 16. Register m: row g, columns 2q and 2q + 1 of it.
__device__ inline void ldmatrix(uint32_t (&matrices)[4], const void* row) {
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
               : "r"(uint32_t(__cvta_generic_to_shared(row)))
               : "memory");
#else
  emu::ldmatrix_x4(matrices, row);
#endif
}

// The same, transposed. Register m: rows 2q and 2q + 1 of matrix m, column g.
__device__ inline void ldmatrix_transposed(uint32_t (&matrices)[4], const void* row) {
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
               : "r"(uint32_t(__cvta_generic_to_shared(row)))
               : "memory");
#else
  emu::ldmatrix_x4_trans(matrices, row);
#endif
}

// Copies 16 bytes, both ends aligned to 16, while the thread goes on; past the L1 cache. Zeros, and nothing is read, where
// there is no source.
__device__ inline void copy_async(void* shared, const void* global, bool exists) {
#ifdef __CUDACC__
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(uint32_t(__cvta_generic_to_shared(shared))), "l"(__cvta_generic_to_global(global)),
                 "r"(exists ? 16 : 0)
               : "memory");
#else
  emu::cp_async_16(shared, global, exists ? 16 : 0);
#endif
}

// Waits until all copies of this thread are there, for this thread: the others see them after the next __syncthreads.
__device__ inline void copy_wait() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_all;" ::: "memory");
#else
  emu::cp_async_commit();
  emu::cp_async_wait(0);
#endif
}

}  // namespace cuda
