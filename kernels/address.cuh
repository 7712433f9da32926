// Places given in bytes, which spares threads the multiplication by the size of a number.
#pragma once

// The number that lies so many bytes behind `first`.
template <class Real>
__device__ __forceinline__ Real* at(Real* first, int bytes) {
    return (Real*)((char*)first + bytes);
}
template <class Real>
__device__ __forceinline__ const Real* at(const Real* first, int bytes) {
    return (const Real*)((const char*)first + bytes);
}
