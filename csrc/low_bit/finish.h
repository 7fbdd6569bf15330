/* From sums of one output pixel to what a layer gives on: wrap to b bits, cyclic function, then sums, codes or numbers.
 * All kernels include it, so that floats are made by the same operations in the same order everywhere: compile with
 * -ffp-contract=off. A vector version must give the same bits.
 */
#ifndef MODICUM_LOW_BIT_FINISH_H
#define MODICUM_LOW_BIT_FINISH_H

#include <math.h>

#include "low_bit.h"

#define FINISH_BLOCK 64

/* The constants of f, made once a call; `easy` where k (h - |m|) is exact in float32: k a multiple of 1/16 below 16. */
typedef struct {
    double slope;
    float half;
    int easy;
} low_bit_fold;

static INLINE low_bit_fold low_bit_fold_of(const low_bit_finish *finish) {
    low_bit_fold fold = {finish->slope, (float)((int64_t)1 << (finish->bits - 1)),
                         finish->slope < 16.0 && finish->slope * 16.0 == floor(finish->slope * 16.0)};
    return fold;
}

/* sign(m) min(|m|, k (h - |m|)), the product rounded once: the f of low_bit.h as one expression. 0 has no sign. */
static INLINE void low_bit_smooth(low_bit_fold fold, const int32_t *m, int n, float *value) {
    if (fold.easy) {
        float slope = (float)fold.slope;
        for (int i = 0; i < n; ++i) {
            float number = (float)m[i], size = fabsf(number), after = slope * (fold.half - size);
            value[i] = copysignf(after < size ? after : size, number) + 0.0f; /* no -0 */
        }
        return;
    }
    for (int i = 0; i < n; ++i) {
        float number = (float)m[i], size = fabsf(number), after = (float)(fold.slope * (double)(fold.half - size));
        value[i] = copysignf(after < size ? after : size, number) + 0.0f; /* no -0 */
    }
}

/* f(m) of n <= FINISH_BLOCK integers that have been wrapped. */
static INLINE void low_bit_folded(const low_bit_finish *finish, low_bit_fold fold, const int32_t *m, int n, float *value) {
    if (finish->cyclic == CYCLIC_SMOOTH || finish->cyclic == CYCLIC_RELU) {
        low_bit_smooth(fold, m, n, value);
    } else {
        for (int i = 0; i < n; ++i) {
            value[i] = (float)m[i];
        }
    }
    if (finish->cyclic == CYCLIC_RELU) {
        for (int i = 0; i < n; ++i) {
            value[i] = value[i] > 0.0f ? value[i] : 0.0f;
        }
    } else if (finish->cyclic == CYCLIC_ABSOLUTE) {
        for (int i = 0; i < n; ++i) {
            value[i] = fabsf(value[i]);
        }
    }
}

/* Values of channels first..first + n - 1, n <= FINISH_BLOCK, as codes: out[at], out[at + 1], ... */
static INLINE void low_bit_codes(const low_bit_finish *finish, const float *value, int64_t first, int n, uint8_t *out) {
    const float *scale = finish->scale + first, *shift = finish->shift + first, top = (float)finish->top;
    const float whole = 12582912.0f; /* 1.5 * 2^23: adding and taking it away rounds 0..255 to nearest, ties to even */
    for (int i = 0; i < n; ++i) {
        float v = fmaf(value[i], scale[i], shift[i]);
        v = v > 0.0f ? v : 0.0f;
        v = v < top ? v : top;
        out[i] = (uint8_t)(int32_t)((v + whole) - whole);
    }
}

static INLINE void low_bit_numbers(const low_bit_finish *finish, const float *value, int64_t first, int n, float *out) {
    const float *unit = finish->unit + first, *scale = finish->scale + first, *shift = finish->shift + first;
    for (int i = 0; i < n; ++i) {
        out[i] = ((value[i] * unit[i]) * scale[i]) + shift[i];
    }
    if (finish->relu) {
        for (int i = 0; i < n; ++i) {
            out[i] = out[i] > 0.0f ? out[i] : 0.0f;
        }
    }
}

/* SUMS of n <= FINISH_BLOCK wrapped integers, in the narrowest type that holds b bits. */
static INLINE void low_bit_sums(const low_bit_finish *finish, const int32_t *m, int n, void *out, int64_t at) {
    for (int i = 0; i < n; ++i) {
        if (finish->bits <= 8) {
            ((int8_t *)out)[at + i] = (int8_t)m[i];
        } else if (finish->bits <= 16) {
            ((int16_t *)out)[at + i] = (int16_t)m[i];
        } else {
            ((int32_t *)out)[at + i] = m[i];
        }
    }
}

/* `sum` holds the sums of channels first..first + n - 1 in lanes of at least b bits, exact modulo 2^(bits of a lane);
 * out[at] is the element of the first of them. */
#define LOW_BIT_FINISH(NAME, LANE)                                                                                     \
    static INLINE void NAME(const low_bit_finish *finish, low_bit_fold fold, const LANE *sum, int64_t first,           \
                            int64_t n, void *out, int64_t at) {                                                        \
        int32_t m[FINISH_BLOCK];                                                                                       \
        float value[FINISH_BLOCK];                                                                                     \
        int unused = 32 - (int)finish->bits;                                                                           \
        for (int64_t start = 0; start < n; start += FINISH_BLOCK) {                                                    \
            int count = (int)(n - start < FINISH_BLOCK ? n - start : FINISH_BLOCK);                                    \
            for (int i = 0; i < count; ++i) {                                                                          \
                m[i] = (int32_t)((uint32_t)(int32_t)sum[start + i] << unused) >> unused;                               \
            }                                                                                                          \
            if (finish->output == LOW_BIT_SUMS) {                                                                      \
                low_bit_sums(finish, m, count, out, at + start);                                                       \
                continue;                                                                                              \
            }                                                                                                          \
            low_bit_folded(finish, fold, m, count, value);                                                             \
            if (finish->output == LOW_BIT_CODES) {                                                                     \
                low_bit_codes(finish, value, first + start, count, (uint8_t *)out + at + start);                       \
            } else {                                                                                                   \
                low_bit_numbers(finish, value, first + start, count, (float *)out + at + start);                       \
            }                                                                                                          \
        }                                                                                                              \
    }

LOW_BIT_FINISH(low_bit_finish_32, int32_t)

/* All channels of one output pixel from 32-bit sums. */
static INLINE void low_bit_finish_row(const low_bit_finish *finish, const int32_t *sum, int64_t channels, int64_t at,
                                      void *out) {
    low_bit_finish_32(finish, low_bit_fold_of(finish), sum, 0, channels, out, at);
}

#endif
