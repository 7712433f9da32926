// What the hardware can do at most: bytes copied, and multiply-adds of numbers in registers.

constexpr int THREADS = 256;
// Independent chains of multiply-adds in each thread, enough to hide the latency of one.
constexpr int CHAINS = 16;

// One thread for four numbers, 16 bytes in and out; n is a multiple of 4.
extern "C" __global__ void __launch_bounds__(THREADS) copy_float32(
    const float* __restrict__ source, float* __restrict__ target, long long n) {
    const long long i = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * 4;
    if (i >= n) return;
    *(float4*)(target + i) = *(const float4*)(source + i);
}

// results[i] = the sum over chains c of what s = a s + b becomes in `rounds` rounds from s = i + c.
template <class Real>
__device__ __forceinline__ void multiply_add(const Real* factors, Real* results, int rounds) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const Real a = factors[0], b = factors[1];
    Real chains[CHAINS];
#pragma unroll
    for (int c = 0; c < CHAINS; c++) chains[c] = (Real)(i + c);
#pragma unroll 4
    for (int r = 0; r < rounds; r++) {
#pragma unroll
        for (int c = 0; c < CHAINS; c++) chains[c] = a * chains[c] + b;
    }
    Real sum = 0;
#pragma unroll
    for (int c = 0; c < CHAINS; c++) sum += chains[c];
    results[i] = sum;
}

extern "C" __global__ void __launch_bounds__(THREADS) multiply_add_float32(
    const float* __restrict__ factors, float* __restrict__ results, int rounds) {
    multiply_add(factors, results, rounds);
}

extern "C" __global__ void __launch_bounds__(THREADS) multiply_add_float64(
    const double* __restrict__ factors, double* __restrict__ results, int rounds) {
    multiply_add(factors, results, rounds);
}
