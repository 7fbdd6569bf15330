/* Exact search in two steps: float32 scores of any origin, then all rows whose score may belong to the k best.
 * What is selected holds the true k best for certain, whatever the order of additions of the scores was;
 * src/modicum/memory/exact.py says why, and gives the chosen rows to the fixed-order dots of similarity.c.
 */
#include <math.h>
#include <stdint.h>

#include "platform.h"

#define LANES 32
#define BLOCK 64

/* out (queries, rows), row pitch `pitch` = float32 dot products of query (queries, columns) and key (rows, columns).
 * For the few queries for which a matrix product is slower than memory. */
CLONES
EXPORT void modicum_scores(const float *query, const float *key, int64_t queries, int64_t rows, int64_t columns, float *out,
                           int64_t pitch) {
    for (int64_t r = 0; r < rows; ++r) {
        const float *b = key + r * columns;
        for (int64_t q = 0; q < queries; ++q) {
            const float *a = query + q * columns;
            float lane[LANES] = {0};
            int64_t d = 0;
            for (; d + LANES <= columns; d += LANES) {
                for (int l = 0; l < LANES; ++l) {
                    lane[l] += a[d + l] * b[d + l];
                }
            }
            for (int l = 0; d + l < columns; ++l) {
                lane[l] += a[d + l] * b[d + l];
            }
            for (int half = LANES / 2; half > 0; half /= 2) {
                for (int l = 0; l < half; ++l) {
                    lane[l] += lane[l + half];
                }
            }
            out[q * pitch + r] = lane[0];
        }
    }
}

/* The smallest of the k largest keys stands in heap[0]; `held` of the k places are taken. */
static void heap_push(float *heap, int64_t *held, int64_t k, float key) {
    int64_t at;
    if (*held < k) {
        for (at = (*held)++; at > 0 && heap[(at - 1) / 2] > key; at = (at - 1) / 2) {
            heap[at] = heap[(at - 1) / 2];
        }
        heap[at] = key;
        return;
    }
    if (key <= heap[0]) {
        return;
    }
    for (at = 0; 2 * at + 1 < k;) {
        int64_t child = 2 * at + 1;
        if (child + 1 < k && heap[child + 1] < heap[child]) {
            ++child;
        }
        if (heap[child] >= key) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = key;
}

static int64_t drop_below(int64_t *found, float *keys, int64_t count, float limit) {
    int64_t kept = 0;
    for (int64_t i = 0; i < count; ++i) {
        if (keys[i] >= limit) {
            found[kept] = found[i];
            keys[kept++] = keys[i];
        }
    }
    return kept;
}

/* Go over scores (queries, rows; row pitch `pitch`) of rows first, first + 1, ...: key = score * scale + offset, per row.
 * Of each query it keeps the k largest keys in heap (queries, k), held (queries) of them, and in found and keys
 * (queries, capacity), count (queries) of them, every row whose key is at least the k-th largest less slack (queries).
 * A key that is NaN is passed over. count becomes -1 where more rows than the capacity stay: that query is given up. */
CLONES
EXPORT void modicum_select(const float *scores, int64_t queries, int64_t rows, int64_t pitch, const float *scale,
                           const float *offset, int64_t first, const float *slack, int64_t k, float *heap, int64_t *held,
                           int64_t capacity, int64_t *count, int64_t *found, float *keys) {
    for (int64_t q = 0; q < queries; ++q) {
        const float *score = scores + q * pitch;
        float *best = heap + q * k, *key_of = keys + q * capacity;
        int64_t *row_of = found + q * capacity;
        float limit = held[q] < k ? -INFINITY : best[0] - slack[q];
        for (int64_t start = 0; start < rows && count[q] >= 0; start += BLOCK) {
            float key[BLOCK];
            int64_t n = rows - start < BLOCK ? rows - start : BLOCK;
            int any = 0;
            if (n == BLOCK) {
                for (int i = 0; i < BLOCK; ++i) {
                    key[i] = score[start + i] * scale[start + i] + offset[start + i];
                    any |= key[i] >= limit;
                }
            } else {
                for (int64_t i = 0; i < n; ++i) {
                    key[i] = score[start + i] * scale[start + i] + offset[start + i];
                    any |= key[i] >= limit;
                }
            }
            if (!any) {
                continue;
            }
            for (int64_t i = 0; i < n; ++i) {
                if (!(key[i] >= limit)) {
                    continue;
                }
                if (count[q] == capacity) {
                    count[q] = drop_below(row_of, key_of, capacity, limit);
                    if (count[q] > capacity - capacity / 4) {
                        count[q] = -1;
                        break;
                    }
                }
                row_of[count[q]] = first + start + i;
                key_of[count[q]++] = key[i];
                heap_push(best, held + q, k, key[i]);
                limit = held[q] < k ? -INFINITY : best[0] - slack[q];
            }
        }
        if (count[q] > 0) {
            count[q] = drop_below(row_of, key_of, count[q], limit);
        }
    }
}

/* Sum over words i of word[i] (2 (first + i) + 1), modulo 2^64: sums over neighbouring parts add up to that of the whole. */
CLONES
EXPORT uint64_t modicum_checksum(const uint32_t *word, int64_t words, uint32_t first) {
    uint64_t sum = 0;
    for (int64_t i = 0; i < words; ++i) {
        sum += (uint64_t)word[i] * (uint64_t)(uint32_t)(2u * (first + (uint32_t)i) + 1u);
    }
    return sum;
}
