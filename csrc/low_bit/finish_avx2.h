/* finish.h for AVX2 and FMA, the same to the bit: 32 sums of eight bits at a time. */
#ifndef MODICUM_LOW_BIT_FINISH_AVX2_H
#define MODICUM_LOW_BIT_FINISH_AVX2_H

#include <immintrin.h>

#include "finish.h"

LOW_BIT_FINISH(low_bit_finish_8, int8_t)
LOW_BIT_FINISH(low_bit_finish_16, int16_t)

/* Whether f(m) is a few instructions on bytes: b = 8, k = 1, 2 or 4, whose f(m) are whole numbers. */
static INLINE int bytes_fold(const low_bit_finish *f) {
    int slope = f->slope == 1.0 || f->slope == 2.0 || f->slope == 4.0;
    return f->bits == 8 && (f->cyclic == CYCLIC_NONE || ((f->cyclic == CYCLIC_SMOOTH || f->cyclic == CYCLIC_RELU) && slope));
}

static INLINE __m256i folded_bytes(const low_bit_finish *f, __m256i m) {
    if (f->cyclic == CYCLIC_NONE) {
        return m;
    }
    __m256i size = _mm256_abs_epi8(m), after = _mm256_subs_epu8(_mm256_set1_epi8((char)128), size);
    if (f->slope >= 2.0) {
        after = _mm256_adds_epu8(after, after); /* stopped at 255, where the other one is smaller */
    }
    if (f->slope >= 4.0) {
        after = _mm256_adds_epu8(after, after);
    }
    m = _mm256_sign_epi8(_mm256_min_epu8(size, after), m);
    return f->cyclic == CYCLIC_RELU ? _mm256_max_epi8(m, _mm256_setzero_si256()) : m;
}

static INLINE __m256 eight(const int8_t *m) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)m)));
}

/* Eight codes as int32, not yet stopped at 0. The order of min's arguments lets a NaN through, which becomes 0. */
static INLINE __m256i eight_codes(const int8_t *m, const float *scale, const float *shift, __m256 top) {
    __m256 v = _mm256_fmadd_ps(eight(m), _mm256_loadu_ps(scale), _mm256_loadu_ps(shift));
    return _mm256_cvtps_epi32(_mm256_min_ps(top, v));
}

static INLINE void codes_of_bytes(const low_bit_finish *f, const int8_t *m, int64_t channel, uint8_t *out) {
    const float *scale = f->scale + channel, *shift = f->shift + channel;
    __m256 top = _mm256_set1_ps((float)f->top);
    __m256i a = eight_codes(m, scale, shift, top), b = eight_codes(m + 8, scale + 8, shift + 8, top);
    __m256i c = eight_codes(m + 16, scale + 16, shift + 16, top), d = eight_codes(m + 24, scale + 24, shift + 24, top);
    __m256i all = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    all = _mm256_permutevar8x32_epi32(all, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)out, all);
}

static INLINE void numbers_of_bytes(const low_bit_finish *f, const int8_t *m, int64_t channel, float *out) {
    for (int i = 0; i < 32; i += 8) {
        __m256 v = _mm256_mul_ps(eight(m + i), _mm256_loadu_ps(f->unit + channel + i));
        v = _mm256_mul_ps(v, _mm256_loadu_ps(f->scale + channel + i));
        v = _mm256_add_ps(v, _mm256_loadu_ps(f->shift + channel + i));
        if (f->relu) {
            v = _mm256_max_ps(v, _mm256_setzero_ps());
        }
        _mm256_storeu_ps(out + i, v);
    }
}

/* n sums of channels first, first + 1, ... of one pixel; `quick` is bytes_fold. Where quick, sums are overwritten. */
static INLINE void finish_bytes(const low_bit_finish *f, low_bit_fold fold, int quick, int8_t *sum, int64_t first, int64_t n,
                                void *out, int64_t at) {
    int64_t i = 0;
    if (quick && f->output != LOW_BIT_SUMS) {
        for (; i + 32 <= n; i += 32) {
            __m256i *place = (__m256i *)(sum + i);
            _mm256_storeu_si256(place, folded_bytes(f, _mm256_loadu_si256(place)));
            if (f->output == LOW_BIT_CODES) {
                codes_of_bytes(f, sum + i, first + i, (uint8_t *)out + at + i);
            } else {
                numbers_of_bytes(f, sum + i, first + i, (float *)out + at + i);
            }
        }
    }
    low_bit_finish_8(f, fold, sum + i, first + i, n - i, out, at + i);
}

#endif
