/* Dot products of float32 rows in a fixed order of additions, so that a result depends on its two rows only:
 * not on how many other rows there are, where they stand, how many threads run or which instructions were used.
 *
 * Order: lane l in 0..7 sums the products of columns d = l, l + 8, l + 16, ... in rising d, starting from 0.0;
 * then the lanes join as ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)).
 * A product of two float32 is exact in float64 (24 + 24 <= 53 bits), so fusing it with the addition changes nothing.
 * src/modicum/similarity.py repeats the same order in numpy; both give the same bits.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "platform.h"

#define LANES 8
#define KERNELS_ABI 4

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

/* One candidate of a query while its candidates are put into order. */
typedef struct {
    double similarity;
    int64_t id, row;
} candidate;

static int compare(const void *left, const void *right) {
    const candidate *a = left, *b = right;
    if (a->similarity != b->similarity) {
        return a->similarity > b->similarity ? -1 : 1;
    }
    return (a->id > b->id) - (a->id < b->id);
}

/* square (queries) = squared lengths of query (queries, columns), and unit = the queries at length 1, zeros as they are;
 * returns how many of them hold NaN or infinity. */
CLONES
EXPORT int64_t modicum_prepare(const float *query, int64_t queries, int64_t columns, double *square, float *unit) {
    int64_t bad = 0;
    for (int64_t q = 0; q < queries; ++q) {
        const double own = row_dot(query + q * columns, query + q * columns, columns);
        const double inverse = own > 0.0 ? 1.0 / sqrt(own) : 0.0;
        square[q] = own;
        bad += !(own <= DBL_MAX);
        for (int64_t d = 0; d < columns; ++d) {
            unit[q * columns + d] = (float)(query[q * columns + d] * inverse);
        }
    }
    return bad;
}

/* Ask for a row before it is needed: chosen rows lie anywhere. */
static INLINE void fetch(const float *row, int64_t columns) {
#if defined(__GNUC__)
    for (int64_t d = 0; d < columns; d += 16) {
        __builtin_prefetch(row + d);
    }
#else
    (void)row, (void)columns;
#endif
}

/* The k best of chosen rows of key (n, columns) for each query, by similarity descending and id ascending.
 * Candidates of query q: row[i], start[q] <= i < start[q + 1], or of each query `width` where start is NULL; -1 for none.
 * square, own: squared lengths of rows and queries. Similarity: cosine in [-1, 1], 0 for zeros; where `distance` is not 0, 2 dot - (own + square), at most 0.
 * Out (queries, k): -INFINITY, INT64_MAX and -1 where candidates are fewer. `place` has room for those of any one query. */
CLONES
EXPORT void modicum_rank(const float *query, const double *own, int64_t queries, const float *key, int64_t columns,
                         const int64_t *start, int64_t width, const int64_t *row, const double *square,
                         const int64_t *id, int64_t distance, int64_t k, void *place, double *similarity, int64_t *ids, int64_t *rows) {
    candidate *found = place;
    for (int64_t q = 0; q < queries; ++q) {
        const double length = sqrt(own[q]);
        const int64_t first = start ? start[q] : q * width, last = start ? start[q + 1] : first + width;
        int64_t count = 0;
        for (int64_t i = first; i < last; ++i) {
            const int64_t r = row[i];
            if (i + 1 < last && row[i + 1] >= 0) {
                fetch(key + row[i + 1] * columns, columns);
            }
            if (r < 0) {
                continue;
            }
            double value = row_dot(query + q * columns, key + r * columns, columns);
            if (distance) {
                value = 2.0 * value - (own[q] + square[r]);
                value = value > 0.0 ? 0.0 : value;
            } else {
                const double norms = length * sqrt(square[r]);
                value = norms > 0.0 ? value / norms : 0.0;
                value = value > 1.0 ? 1.0 : value < -1.0 ? -1.0 : value;
            }
            found[count].similarity = value;
            found[count].id = id[r];
            found[count++].row = r;
        }
        qsort(found, (size_t)count, sizeof(candidate), compare);
        for (int64_t i = 0; i < k; ++i) {
            similarity[q * k + i] = i < count ? found[i].similarity : -INFINITY;
            ids[q * k + i] = i < count ? found[i].id : INT64_MAX;
            rows[q * k + i] = i < count ? found[i].row : -1;
        }
    }
}
