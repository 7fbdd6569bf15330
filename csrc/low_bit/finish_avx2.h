/* finish.h for AVX2 and FMA, the same to the bit: 32 sums of eight bits at a time. */
#ifndef MODICUM_LOW_BIT_FINISH_AVX2_H
#define MODICUM_LOW_BIT_FINISH_AVX2_H

#include <immintrin.h>

#include "finish.h"

LOW_BIT_FINISH(low_bit_finish_8, int8_t)
LOW_BIT_FINISH(low_bit_finish_16, int16_t)

/* Sums of a tile: of pixel i at sums + i * pitch, of channels first, first + 1, ...; its results from out[at[i]] on. */
typedef struct {
    int8_t *sums;
    const int64_t *at;
    int64_t pixels, pitch, first;
    void *out;
} low_bit_tile;

enum { GENERAL = -1, NO_FOLD = 3 };

/* How f(m) is made from bytes, where a few instructions will do: k = 2^result for b = 8 and k = 1, 2 or 4, NO_FOLD where
 * f(m) = m, otherwise GENERAL. */
static INLINE int quick_fold(const low_bit_finish *f) {
    if (f->bits != 8 || f->cyclic == CYCLIC_ABSOLUTE || f->output == LOW_BIT_SUMS) {
        return GENERAL;
    }
    if (f->cyclic == CYCLIC_NONE) {
        return NO_FOLD;
    }
    return f->slope == 1.0 ? 0 : f->slope == 2.0 ? 1 : f->slope == 4.0 ? 2 : GENERAL;
}

/* f(m) = sign(m) min(|m|, k (128 - |m|)) of 32 sums a pixel, in place. What the doubling stops at 255 is not the smaller. */
static INLINE void fold_bytes(low_bit_tile tile, int64_t channel, int doublings, int relu) {
    for (int64_t i = 0; i < tile.pixels; ++i) {
        __m256i *place = (__m256i *)(tile.sums + i * tile.pitch + channel), m = _mm256_load_si256(place);
        __m256i size = _mm256_abs_epi8(m), after = _mm256_subs_epu8(_mm256_set1_epi8((char)128), size);
        for (int j = 0; j < doublings; ++j) {
            after = _mm256_adds_epu8(after, after);
        }
        m = _mm256_sign_epi8(_mm256_min_epu8(size, after), m);
        _mm256_store_si256(place, relu ? _mm256_max_epi8(m, _mm256_setzero_si256()) : m);
    }
}

static INLINE __m256 eight(const int8_t *m) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)m)));
}

/* Codes of 32 channels. min's arguments stand in the order that lets a NaN through, which becomes 0 as in finish.h. */
static INLINE void codes_of_bytes(const low_bit_finish *f, low_bit_tile tile, int64_t channel) {
    const __m256 top = _mm256_set1_ps((float)f->top);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256 scale[4], shift[4];
    for (int j = 0; j < 4; ++j) {
        scale[j] = _mm256_loadu_ps(f->scale + tile.first + channel + 8 * j);
        shift[j] = _mm256_loadu_ps(f->shift + tile.first + channel + 8 * j);
    }
    for (int64_t i = 0; i < tile.pixels; ++i) {
        const int8_t *m = tile.sums + i * tile.pitch + channel;
        __m256i code[4];
        for (int j = 0; j < 4; ++j) {
            code[j] = _mm256_cvtps_epi32(_mm256_min_ps(top, _mm256_fmadd_ps(eight(m + 8 * j), scale[j], shift[j])));
        }
        __m256i all = _mm256_packus_epi16(_mm256_packs_epi32(code[0], code[1]), _mm256_packs_epi32(code[2], code[3]));
        uint8_t *out = (uint8_t *)tile.out + tile.at[i] + channel;
        _mm256_storeu_si256((__m256i *)out, _mm256_permutevar8x32_epi32(all, order));
    }
}

static INLINE void numbers_of_bytes(const low_bit_finish *f, low_bit_tile tile, int64_t channel) {
    for (int64_t i = 0; i < tile.pixels; ++i) {
        float *out = (float *)tile.out + tile.at[i] + channel;
        for (int j = 0; j < 32; j += 8) {
            int64_t c = tile.first + channel + j;
            __m256 v = _mm256_mul_ps(eight(tile.sums + i * tile.pitch + channel + j), _mm256_loadu_ps(f->unit + c));
            v = _mm256_add_ps(_mm256_mul_ps(v, _mm256_loadu_ps(f->scale + c)), _mm256_loadu_ps(f->shift + c));
            _mm256_storeu_ps(out + j, f->relu ? _mm256_max_ps(v, _mm256_setzero_ps()) : v);
        }
    }
}

/* All of a tile, `n` channels; `quick` is quick_fold, and where it is not GENERAL, sums are overwritten. */
static INLINE void finish_bytes(const low_bit_finish *f, low_bit_fold fold, int quick, low_bit_tile tile, int64_t n) {
    int64_t channel = 0;
    for (; quick != GENERAL && channel + 32 <= n; channel += 32) {
        if (quick != NO_FOLD) {
            fold_bytes(tile, channel, quick, f->cyclic == CYCLIC_RELU);
        }
        if (f->output == LOW_BIT_CODES) {
            codes_of_bytes(f, tile, channel);
        } else {
            numbers_of_bytes(f, tile, channel);
        }
    }
    for (int64_t i = 0; channel < n && i < tile.pixels; ++i) {
        const int8_t *sums = tile.sums + i * tile.pitch + channel;
        low_bit_finish_8(f, fold, sums, tile.first + channel, n - channel, tile.out, tile.at[i] + channel);
    }
}

#endif
