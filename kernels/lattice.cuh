// Cells, their coordinates, and vectors between atoms.
#pragma once

struct Vector {
    double x, y, z;
};

// Written with intrinsics that no compiler contracts: the bits are those of the CPU, and opposite edges are exactly
// opposite.
__device__ __forceinline__ double plus(double a, double b) { return __dadd_rn(a, b); }
__device__ __forceinline__ double times(double a, double b) { return __dmul_rn(a, b); }

__device__ __forceinline__ Vector row(const double* matrix, long long k) {
    return {matrix[3 * k], matrix[3 * k + 1], matrix[3 * k + 2]};
}

__device__ __forceinline__ double dot(Vector a, Vector b) {
    return plus(plus(times(a.x, b.x), times(a.y, b.y)), times(a.z, b.z));
}

__device__ __forceinline__ Vector cross(Vector a, Vector b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

__device__ __forceinline__ Vector scaled(Vector a, double factor) {
    return {a.x * factor, a.y * factor, a.z * factor};
}

__device__ __forceinline__ Vector unit(Vector a) { return scaled(a, 1.0 / sqrt(dot(a, a))); }

// to - from + shift . cell, for a cell of three rows.
__device__ __forceinline__ Vector edge_vector(
    Vector from, Vector to, const double* cell, int shift0, int shift1, int shift2) {
    const double n0 = shift0, n1 = shift1, n2 = shift2;
    return {
        plus(plus(to.x, -from.x), plus(plus(times(n0, cell[0]), times(n1, cell[3])), times(n2, cell[6]))),
        plus(plus(to.y, -from.y), plus(plus(times(n0, cell[1]), times(n1, cell[4])), times(n2, cell[7]))),
        plus(plus(to.z, -from.z), plus(plus(times(n0, cell[2]), times(n1, cell[5])), times(n2, cell[8]))),
    };
}

// The periodic vectors of a cell, and unit vectors normal to all others in place of the rest.
__device__ inline void frame(const double* cell, const bool* pbc, Vector basis[3]) {
    const Vector axes[3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    const int periodic = pbc[0] + pbc[1] + pbc[2];
    for (int k = 0; k < 3; k++) basis[k] = pbc[k] ? row(cell, k) : axes[k];
    if (periodic == 2) {
        const int k = pbc[0] ? (pbc[1] ? 2 : 1) : 0;
        basis[k] = unit(cross(basis[(k + 1) % 3], basis[(k + 2) % 3]));
    } else if (periodic == 1) {
        const int k = pbc[0] ? 0 : (pbc[1] ? 1 : 2);
        const Vector along = unit(basis[k]);
        // the axis that is furthest from parallel
        const double x = fabs(along.x), y = fabs(along.y), z = fabs(along.z);
        const Vector side = unit(cross(along, x <= y && x <= z ? axes[0] : (y <= z ? axes[1] : axes[2])));
        basis[(k + 1) % 3] = side;
        basis[(k + 2) % 3] = cross(along, side);
    }
}

// The vectors whose products with a position are its coordinates in a basis.
__device__ inline void reciprocal(const Vector basis[3], Vector result[3]) {
    const double inverse_volume = 1.0 / dot(basis[0], cross(basis[1], basis[2]));
    for (int k = 0; k < 3; k++) result[k] = scaled(cross(basis[(k + 1) % 3], basis[(k + 2) % 3]), inverse_volume);
}
