/* Dot products of float32 rows in a fixed order of additions, so that a result depends on its two rows only:
 * not on how many other rows there are, where they stand, how many threads run or which instructions were used.
 *
 * Order: lane l in 0..7 sums the products of columns d = l, l + 8, l + 16, ... in rising d, starting from 0.0;
 * then the lanes join as ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)).
 * A product of two float32 is exact in float64 (24 + 24 <= 53 bits), so fusing it with the addition changes nothing.
 * src/modicum/similarity.py repeats the same order in numpy; both give the same bits.
 */
#include <stdint.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__)
#if defined(__clang__)
#define CLONES __attribute__((target_clones("avx2", "default"))) /* clang knows no levels here */
#else
#define CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#endif
#define INLINE inline __attribute__((always_inline))
#else
#define CLONES
#define INLINE inline
#endif
#define LANES 8
#define KERNELS_ABI 3

/* Number that changes with the interface; the loader refuses another one. */
EXPORT int32_t modicum_kernels_abi(void) { return KERNELS_ABI; }

static INLINE double row_dot(const float *a, const float *b, int64_t columns) {
    double lane[LANES] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
    int64_t d = 0;
    for (; d + LANES <= columns; d += LANES) {
        for (int l = 0; l < LANES; ++l) {
            lane[l] += (double)a[d + l] * (double)b[d + l];
        }
    }
    for (int l = 0; d + l < columns; ++l) {
        lane[l] += (double)a[d + l] * (double)b[d + l];
    }
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* out (queries, keys) = dot products of query (queries, columns) and key (keys, columns); all row-major. */
CLONES
EXPORT void modicum_dots(const float *query, const float *key, int64_t queries, int64_t keys, int64_t columns, double *out) {
    for (int64_t q = 0; q < queries; ++q) {
        for (int64_t k = 0; k < keys; ++k) {
            out[q * keys + k] = row_dot(query + q * columns, key + k * columns, columns);
        }
    }
}

/* out (rows) = dot product of every row of x (rows, columns) with itself. */
CLONES
EXPORT void modicum_squares(const float *x, int64_t rows, int64_t columns, double *out) {
    for (int64_t r = 0; r < rows; ++r) {
        out[r] = row_dot(x + r * columns, x + r * columns, columns);
    }
}

/* out[i] = dot product of query q and key row[i] for start[q] <= i < start[q + 1]: chosen rows of key (n, columns). */
CLONES
EXPORT void modicum_row_dots(const float *query, int64_t queries, const float *key, int64_t columns, const int64_t *start,
                             const int64_t *row, double *out) {
    for (int64_t q = 0; q < queries; ++q) {
        for (int64_t i = start[q]; i < start[q + 1]; ++i) {
            out[i] = row_dot(query + q * columns, key + row[i] * columns, columns);
        }
    }
}
