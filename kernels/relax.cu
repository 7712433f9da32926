// Relaxation of many structures: one warp each, in float64. A structure s of n atoms has n rows of positions in the
// undeformed cell and three rows n U of the cell; its rows begin at atom_offsets[s] + 3 s. The formulas stand in
// etn_gpu/relaxation/oracle.py.

#include "warp.cuh"

constexpr int THREADS = 128;

// A 3 x 3 matrix in a warp: lane l holds the entry (l % 9), row by row.
__device__ __forceinline__ int entry_of_lane() { return (threadIdx.x & 31) % 9; }

__device__ __forceinline__ double entry(double a, int k) { return __shfl_sync(ALL_LANES, a, k); }

__device__ __forceinline__ double transposed(double a) {
    const int l = entry_of_lane();
    return entry(a, 3 * (l % 3) + l / 3);
}

__device__ __forceinline__ double product(double a, double b) {
    const int l = entry_of_lane(), i = l / 3, j = l % 3;
    double sum = 0.0;
    for (int k = 0; k < 3; k++) sum += entry(a, 3 * i + k) * entry(b, 3 * k + j);
    return sum;
}

__device__ __forceinline__ double inverted(double a) {
    const int l = entry_of_lane(), i = l / 3, j = l % 3;
    const int p = (j + 1) % 3, q = (j + 2) % 3, r = (i + 1) % 3, s = (i + 2) % 3;
    const double first = entry(a, 3 * p + r) * entry(a, 3 * q + s), second = entry(a, 3 * p + s) * entry(a, 3 * q + r);
    const double cofactor = first - second;
    double determinant = 0.0;
    for (int k = 0; k < 3; k++) determinant += entry(a, k) * entry(cofactor, 3 * k);
    return cofactor / determinant;
}

// exp(A), and its derivative along X in by: a Taylor polynomial of A / 16, squared four times.
__device__ __forceinline__ double exponential(double a, double x, double* by) {
    constexpr int HALVINGS = 4, DEGREE = 14;
    const int l = entry_of_lane();
    a /= 1 << HALVINGS, x /= 1 << HALVINGS;
    double value = l % 4 == 0 ? 1.0 : 0.0, slope = 0.0, power = value, power_by = 0.0;
    for (int k = 1; k <= DEGREE; k++) {
        power_by = (product(power_by, a) + product(power, x)) / k;
        power = product(power, a) / k;
        value += power, slope += power_by;
    }
    for (int k = 0; k < HALVINGS; k++) {
        slope = product(value, slope) + product(slope, value);
        value = product(value, value);
    }
    *by = slope;
    return value;
}

// Positions, cells and deformations F of rows.
extern "C" __global__ void __launch_bounds__(THREADS) relax_place(
    const double* __restrict__ rows, const double* __restrict__ start_cells, const long long* __restrict__ atom_offsets,
    double* __restrict__ positions, double* __restrict__ cells, double* __restrict__ deformations,
    long long n_structures) {
    const long long s = global_thread() / 32;
    if (s >= n_structures) return;
    const int lane = threadIdx.x & 31, l = entry_of_lane();
    const long long begin = atom_offsets[s], end = atom_offsets[s + 1];
    double by;
    const double own = exponential(rows[3 * (end + 3 * s) + l] / (double)(end - begin), 0.0, &by);
    const double moved = product(start_cells[9 * s + l], transposed(own));
    if (lane < 9) deformations[9 * s + l] = own, cells[9 * s + l] = moved;
    double f[9];
    for (int k = 0; k < 9; k++) f[k] = entry(own, k);
    for (long long k = begin + lane; k < end; k += 32) {
        const double* z = rows + 3 * (k + 3 * s);
        for (int i = 0; i < 3; i++) positions[3 * k + i] = z[0] * f[3 * i] + z[1] * f[3 * i + 1] + z[2] * f[3 * i + 2];
    }
}

// Generalised forces of rows, without symmetry, from forces and dE/d(strain); pressed is pressure times volume.
extern "C" __global__ void __launch_bounds__(THREADS) relax_forces(
    const double* __restrict__ rows, const double* __restrict__ deformations, const double* __restrict__ forces,
    const double* __restrict__ virials, const double* __restrict__ pressed, const double* __restrict__ spans,
    const bool* __restrict__ fixed, const long long* __restrict__ atom_offsets, double* __restrict__ results,
    int hydrostatic, long long n_structures) {
    const long long s = global_thread() / 32;
    if (s >= n_structures) return;
    const int lane = threadIdx.x & 31, l = entry_of_lane(), i = l / 3, j = l % 3;
    const long long begin = atom_offsets[s], end = atom_offsets[s + 1], cell = 3 * (end + 3 * s);
    const double own = deformations[9 * s + l], n = (double)(end - begin);
    double f[9];
    for (int k = 0; k < 9; k++) f[k] = entry(own, k);
    for (long long k = begin + lane; k < end; k += 32) {
        double free[3];
        for (int x = 0; x < 3; x++) free[x] = fixed[3 * k + x] ? 0.0 : forces[3 * k + x];
        for (int x = 0; x < 3; x++) {
            results[3 * (k + 3 * s) + x] = free[0] * f[x] + free[1] * f[3 + x] + free[2] * f[6 + x];
        }
    }
    const double span = spans[9 * s + l];
    // xx, yy, zz, yz, xz, xy
    const int voigt = i == j ? i : 6 - i - j;
    double work = -virials[6 * s + voigt] - (i == j ? pressed[s] : 0.0);
    work = product(product(span, work), span);
    const double dimensions = entry(span, 0) + entry(span, 4) + entry(span, 8);
    const double trace = entry(work, 0) + entry(work, 4) + entry(work, 8);
    if (hydrostatic) work = trace / (dimensions > 0.0 ? dimensions : 1.0) * span;
    const double x = product(work, transposed(inverted(own)));
    double by;
    exponential(rows[cell + 3 * j + i] / n, x, &by);
    if (lane < 9) results[cell + l] = by / n;
}

// Rows made symmetric: place[s] of structure s among those with symmetry, or -1; see etn_gpu/relaxation/symmetries.py.
extern "C" __global__ void __launch_bounds__(THREADS) relax_symmetrise(
    const double* __restrict__ rows, const long long* __restrict__ atom_offsets, const long long* __restrict__ places,
    const double* __restrict__ rotations, const long long* __restrict__ rotation_offsets,
    const long long* __restrict__ sources, const long long* __restrict__ source_offsets, double* __restrict__ results,
    long long n_structures) {
    const long long s = global_thread() / 32;
    if (s >= n_structures) return;
    const int lane = threadIdx.x & 31, l = entry_of_lane(), i = l / 3, j = l % 3;
    const long long first = atom_offsets[s] + 3 * s, n = atom_offsets[s + 1] - atom_offsets[s], t = places[s];
    if (t < 0) {
        for (long long k = 3 * first + lane; k < 3 * (first + n) + 9; k += 32) results[k] = rows[k];
        return;
    }
    const double* a = rotations + 9 * rotation_offsets[t];
    const long long order = rotation_offsets[t + 1] - rotation_offsets[t];
    for (long long k = lane; k < n; k += 32) {
        double sum[3] = {0.0, 0.0, 0.0};
        for (long long o = 0; o < order; o++) {
            const double* f = rows + 3 * (first + sources[source_offsets[t] + k * order + o]);
            for (int x = 0; x < 3; x++) {
                sum[x] += a[9 * o + 3 * x] * f[0] + a[9 * o + 3 * x + 1] * f[1] + a[9 * o + 3 * x + 2] * f[2];
            }
        }
        for (int x = 0; x < 3; x++) results[3 * (first + k) + x] = sum[x] / (double)order;
    }
    const double cell = rows[3 * (first + n) + l];
    double sum = 0.0;
    for (long long o = 0; o < order; o++) {
        const double rotation = a[9 * o + l];
        sum += product(product(transposed(rotation), cell), rotation);
    }
    if (lane < 9) results[3 * (first + n) + 3 * i + j] = sum / (double)order;
}

// The longest row of the atoms of each structure, and of its cell, in turn; NaN where a row is not finite.
extern "C" __global__ void __launch_bounds__(THREADS) relax_largest(
    const double* __restrict__ rows, const long long* __restrict__ atom_offsets, double* __restrict__ results,
    long long n_structures) {
    const long long s = global_thread() / 32;
    if (s >= n_structures) return;
    const int lane = threadIdx.x & 31;
    const long long first = atom_offsets[s] + 3 * s, middle = atom_offsets[s + 1] + 3 * s;
    double least = 0.0, least_cell = 0.0, poison = 0.0;
    for (long long r = first + lane; r < middle + 3; r += 32) {
        const double x = rows[3 * r], y = rows[3 * r + 1], z = rows[3 * r + 2], square = x * x + y * y + z * z;
        poison += square - square;
        if (r < middle) least = fmin(least, -square);
        else least_cell = fmin(least_cell, -square);
    }
    poison = group_sum<32>(poison);
    least = group_min<32>(least), least_cell = group_min<32>(least_cell);
    if (lane == 0) results[2 * s] = sqrt(-least) + poison, results[2 * s + 1] = sqrt(-least_cell) + poison;
}

__device__ __forceinline__ double dot(const double* a, const double* b, long long begin, long long end) {
    double sum = 0.0;
    for (long long k = begin + (threadIdx.x & 31); k < end; k += 32) sum += a[k] * b[k];
    return group_sum<32>(sum);
}

// A step of L-BFGS. Each lane works on entries of its own, so sums are all that lanes tell each other.
extern "C" __global__ void __launch_bounds__(THREADS, 4) relax_lbfgs(
    const double* __restrict__ rows, const double* __restrict__ forces, const double* __restrict__ enthalpies,
    const long long* __restrict__ atom_offsets, double* __restrict__ last_rows, double* __restrict__ last_forces,
    double* __restrict__ moves, double* __restrict__ changes, double* __restrict__ weights,
    long long* __restrict__ newest, double* __restrict__ scales, double* __restrict__ before, double* __restrict__ step,
    double stiffness, double bulk, double tolerance, double shortest, double longest, double largest_strain, int memory,
    long long n_structures) {
    const long long s = global_thread() / 32;
    if (s >= n_structures) return;
    const int lane = threadIdx.x & 31;
    const long long begin = 3 * atom_offsets[s] + 9 * s, middle = 3 * atom_offsets[s + 1] + 9 * s, end = middle + 9;
    const long long all = 3 * (atom_offsets[n_structures] + 3 * n_structures);
    const double n = (double)(atom_offsets[s + 1] - atom_offsets[s]);
    const double of_atoms = 1.0 / stiffness, of_cell = n / bulk;
    const bool begun = before[s] < 1e300;
    const double rise = begun ? enthalpies[s] - before[s] : 0.0;
    if (rise > tolerance * n) {
        double fall = 0.0;
        for (long long k = begin + lane; k < end; k += 32) fall += last_forces[k] * (rows[k] - last_rows[k]);
        fall = group_sum<32>(fall);
        const double kept = fmin(fmax(0.5 * fall / (rise + fall), shortest), 0.5);
        for (long long k = begin + lane; k < end; k += 32) step[k] = (kept - 1.0) * (rows[k] - last_rows[k]);
        return;
    }
    int now = (int)newest[s];
    double weight = weights[now * n_structures + s], scale = scales[s];
    if (begun) {
        now = (now + 1) % memory;
        double* move = moves + now * all;
        double* change = changes + now * all;
        for (long long k = begin + lane; k < end; k += 32) {
            move[k] = rows[k] - last_rows[k];
            change[k] = last_forces[k] - forces[k];
        }
        const double moved = dot(move, move, begin, end), changed = dot(change, change, begin, end);
        const double curvature = dot(move, change, begin, end);
        double square = 0.0;
        for (long long k = begin + lane; k < end; k += 32) {
            square += (k < middle ? of_atoms : of_cell) * change[k] * change[k];
        }
        square = group_sum<32>(square);
        const bool curved = curvature > 1e-10 * sqrt(moved * changed);
        weight = curved ? 1.0 / curvature : 0.0;
        if (curved) scale = curvature / square;
    }
    for (long long k = begin + lane; k < end; k += 32) {
        last_rows[k] = rows[k];
        last_forces[k] = step[k] = forces[k];
    }
    double share_of_lane = 0.0;  // lane k keeps that of the k-th difference, of at most 32
#pragma unroll 1
    for (int k = 0; k < memory; k++) {
        const int slot = (now - k + memory) % memory;
        const double w = k == 0 ? weight : weights[slot * n_structures + s];
        if (w > 0.0) {
            const double share = w * dot(moves + slot * all, step, begin, end);
            if (lane == k) share_of_lane = share;
            for (long long r = begin + lane; r < end; r += 32) step[r] -= share * changes[slot * all + r];
        }
    }
    for (long long k = begin + lane; k < end; k += 32) step[k] *= scale * (k < middle ? of_atoms : of_cell);
#pragma unroll 1
    for (int k = memory - 1; k >= 0; k--) {
        const int slot = (now - k + memory) % memory;
        const double w = k == 0 ? weight : weights[slot * n_structures + s];
        if (w > 0.0) {
            const double share = entry(share_of_lane, k) - w * dot(changes + slot * all, step, begin, end);
            for (long long r = begin + lane; r < end; r += 32) step[r] += share * moves[slot * all + r];
        }
    }
    const bool uphill = !(dot(step, forces, begin, end) > 0.0);
    if (uphill) {
        for (long long k = begin + lane; k < end; k += 32) step[k] = forces[k] * (k < middle ? of_atoms : of_cell);
    }
    __syncwarp();  // lanes look at whole rows, and weights were read
    double least = 0.0, least_cell = 0.0;
    for (long long k = begin + 3 * lane; k < end; k += 96) {
        const double square = step[k] * step[k] + step[k + 1] * step[k + 1] + step[k + 2] * step[k + 2];
        if (k < middle) least = fmin(least, -square);
        else least_cell = fmin(least_cell, -square);
    }
    least = group_min<32>(least), least_cell = group_min<32>(least_cell);
    const double beyond = fmax(sqrt(-least) / longest, sqrt(-least_cell) / fmax(longest, largest_strain * n));
    __syncwarp();
    if (beyond > 1.0) {
        for (long long k = begin + lane; k < end; k += 32) step[k] /= beyond;
    }
    if (lane == 0) {
        for (int k = 0; k < memory; k++) {
            if (uphill) weights[k * n_structures + s] = 0.0;
        }
        if (!uphill) weights[now * n_structures + s] = weight;
        newest[s] = now, scales[s] = scale, before[s] = enthalpies[s];
    }
}

// A step of FIRE, as in ASE.
extern "C" __global__ void __launch_bounds__(THREADS) relax_fire(
    const double* __restrict__ forces, const long long* __restrict__ atom_offsets, double* __restrict__ velocities,
    double* __restrict__ time_steps, double* __restrict__ mixing, long long* __restrict__ downhill,
    double* __restrict__ step, double longest_time, double growth, double shrinkage, double first_mixing,
    double less_mixing, int patience, double longest, long long n_structures) {
    const long long s = global_thread() / 32;
    if (s >= n_structures) return;
    const int lane = threadIdx.x & 31;
    const long long begin = 3 * atom_offsets[s] + 9 * s, end = 3 * atom_offsets[s + 1] + 9 * s + 9;
    double time = time_steps[s], mix = mixing[s], kept = 1.0, share = 0.0;
    long long down = downhill[s];
    if (down < 0) {
        down = 0;
    } else if (dot(forces, velocities, begin, end) > 0.0) {
        const double speed = sqrt(dot(velocities, velocities, begin, end));
        kept = 1.0 - mix, share = mix * speed / sqrt(dot(forces, forces, begin, end));
        if (down > patience) time = fmin(time * growth, longest_time), mix *= less_mixing;
        down++;
    } else {
        kept = 0.0, mix = first_mixing, time *= shrinkage, down = 0;
    }
    for (long long k = begin + lane; k < end; k += 32) {
        const double velocity = kept * velocities[k] + share * forces[k] + time * forces[k];
        velocities[k] = velocity;
        step[k] = time * velocity;
    }
    const double beyond = sqrt(dot(step, step, begin, end)) / longest;
    if (beyond > 1.0) {
        for (long long k = begin + lane; k < end; k += 32) step[k] /= beyond;
    }
    __syncwarp();  // all lanes have read them
    if (lane == 0) time_steps[s] = time, mixing[s] = mix, downhill[s] = down;
}

// The rows after a step, in which fixed components of atoms move with the cell alone.
extern "C" __global__ void __launch_bounds__(THREADS) relax_advance(
    const double* __restrict__ rows, const double* __restrict__ step, const bool* __restrict__ fixed,
    const long long* __restrict__ atom_offsets, double* __restrict__ results, long long n_structures) {
    const long long s = global_thread() / 32;
    if (s >= n_structures) return;
    const int lane = threadIdx.x & 31, l = entry_of_lane();
    const long long begin = atom_offsets[s], end = atom_offsets[s + 1];
    const long long first = 3 * begin + 9 * s, cell = 3 * end + 9 * s;
    int held = 0;
    for (long long k = 3 * begin + lane; k < 3 * end; k += 32) held += fixed[k];
    if (group_sum<32>(held) == 0) {
        for (long long k = first + lane; k < cell + 9; k += 32) results[k] = rows[k] + step[k];
        return;
    }
    const double new_cell = rows[cell + l] + step[cell + l];
    double by;
    const double own = exponential(new_cell / (double)(end - begin), 0.0, &by), back = inverted(own);
    if (lane < 9) results[cell + l] = new_cell;
    double f[9], g[9];
    for (int k = 0; k < 9; k++) f[k] = entry(own, k), g[k] = entry(back, k);
    for (long long k = begin + lane; k < end; k += 32) {
        const long long r = 3 * (k + 3 * s);
        const bool* of_atom = fixed + 3 * k;
        if (!of_atom[0] && !of_atom[1] && !of_atom[2]) {
            for (int x = 0; x < 3; x++) results[r + x] = rows[r + x] + step[r + x];
            continue;
        }
        double moved[3];
        for (int x = 0; x < 3; x++) {
            const double move = f[3 * x] * step[r] + f[3 * x + 1] * step[r + 1] + f[3 * x + 2] * step[r + 2];
            moved[x] = of_atom[x] ? 0.0 : move;
        }
        for (int x = 0; x < 3; x++) {
            results[r + x] = rows[r + x] + (g[3 * x] * moved[0] + g[3 * x + 1] * moved[1] + g[3 * x + 2] * moved[2]);
        }
    }
}

// results[layer, i] = values[layer, index[i]], rows of so many columns, or fill where index[i] is -1.
template <class T>
__device__ __forceinline__ void gather(
    const T* values, const long long* index, T* results, T fill, long long layers, long long n_values, long long n,
    long long columns) {
    const long long t = global_thread();
    if (t >= layers * n * columns) return;
    const long long column = t % columns, i = t / columns % n, layer = t / columns / n;
    results[t] = index[i] < 0 ? fill : values[(layer * n_values + index[i]) * columns + column];
}

extern "C" __global__ void __launch_bounds__(256) relax_gather_float64(
    const double* __restrict__ values, const long long* __restrict__ index, double* __restrict__ results, double fill,
    long long layers, long long n_values, long long n, long long columns) {
    gather(values, index, results, fill, layers, n_values, n, columns);
}

extern "C" __global__ void __launch_bounds__(256) relax_gather_int64(
    const long long* __restrict__ values, const long long* __restrict__ index, long long* __restrict__ results,
    long long fill, long long layers, long long n_values, long long n, long long columns) {
    gather(values, index, results, fill, layers, n_values, n, columns);
}
