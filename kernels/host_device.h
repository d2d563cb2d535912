// HD marks functions that run on the CPU and, compiled by nvcc, in kernels of the GPU too.
#pragma once

#ifdef __CUDACC__
#define HD __host__ __device__ inline
#else
#define HD inline
#endif
