/* Tables of partial sums for AVX2: of four channels x_0..x_3 the 16 sums of +-x_j (binary weights), or of every subset of
 * them (ternary weights, sums of 16 bits), modulo 2^8. Entry i: bit j of i stands for x_j.
 *
 * A unit is 32 channels, eight groups of four: slot s of a unit that is full holds channels 16 (s & 1) + 4 (s / 2) + j, in
 * the order in which in-lane shuffles make them; that of the last, partial one holds channels 4 s + j, what is left as 0.
 */
#ifndef MODICUM_LOW_BIT_AVX2_TABLES_H
#define MODICUM_LOW_BIT_AVX2_TABLES_H

#include <immintrin.h>
#include <string.h>

#include "low_bit.h"

#define UNIT 32
#define UNIT_SLOTS 8
#define TABLE 16

enum { WHOLE_CODES, LOW_NIBBLES, HIGH_NIBBLES };

static INLINE int64_t units_of(int64_t channels) { return (channels + UNIT - 1) / UNIT; }

static INLINE int64_t slots_of(int64_t channels, int64_t unit) {
    int64_t left = channels - unit * UNIT;
    return left >= UNIT ? UNIT_SLOTS : (left + 3) / 4;
}

/* The channel of place j of a slot; may be `channels` or more, where it stands for nothing. */
static INLINE int64_t channel_of(int64_t channels, int64_t unit, int64_t slot, int64_t j) {
    int full = channels - unit * UNIT >= UNIT;
    return unit * UNIT + (full ? 16 * (slot & 1) + 4 * (slot / 2) : 4 * slot) + j;
}

static INLINE __m256i both_lanes(__m128i lane) { return _mm256_broadcastsi128_si256(lane); }

/* 32 codes -> tables of `slots` slots at `to`, two at a time; writes 32 bytes at once, so up to 16 more than the tables. */
static INLINE void make_tables(__m256i x, int signs, int64_t slots, uint8_t *to) {
    const __m256i minus_plus = _mm256_set1_epi32(0x01ff01ff), twice = _mm256_set1_epi32(0x0101ffff);
    for (int64_t half = 0; half < 2 && half * 4 < slots; ++half) {
        __m128i to_half = _mm_set1_epi8((char)(8 * half));
        __m256i sums;
        if (signs) { /* for each pair of channels -a - b, a - b, b - a, a + b */
            __m128i even = _mm_setr_epi8(0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6);
            __m128i odd = _mm_add_epi8(even, _mm_set1_epi8(1));
            __m256i a = _mm256_shuffle_epi8(x, both_lanes(_mm_add_epi8(even, to_half)));
            __m256i b = _mm256_shuffle_epi8(x, both_lanes(_mm_add_epi8(odd, to_half)));
            sums = _mm256_add_epi8(_mm256_sign_epi8(a, minus_plus), _mm256_sign_epi8(b, twice));
        } else { /* 0, a, b, a + b */
            __m128i even = _mm_setr_epi8(-128, 0, -128, 0, -128, 2, -128, 2, -128, 4, -128, 4, -128, 6, -128, 6);
            __m128i odd = _mm_setr_epi8(-128, -128, 1, 1, -128, -128, 3, 3, -128, -128, 5, 5, -128, -128, 7, 7);
            sums = _mm256_add_epi8(_mm256_shuffle_epi8(x, both_lanes(_mm_add_epi8(even, to_half))),
                                   _mm256_shuffle_epi8(x, both_lanes(_mm_add_epi8(odd, to_half))));
        }
        for (int64_t g = 0; g < 2 && half * 4 + g * 2 < slots; ++g) {
            __m128i low = _mm_setr_epi8(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
            __m128i to_group = _mm_set1_epi8((char)(8 * g));
            __m128i high = _mm_setr_epi8(4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7);
            __m256i table = _mm256_add_epi8(_mm256_shuffle_epi8(sums, both_lanes(_mm_add_epi8(low, to_group))),
                                            _mm256_shuffle_epi8(sums, both_lanes(_mm_add_epi8(high, to_group))));
            _mm256_storeu_si256((__m256i *)(to + (half * 4 + g * 2) * TABLE), table);
        }
    }
}

static INLINE __m256i plane_of(__m256i x, int plane) {
    const __m256i nibble = _mm256_set1_epi8(15);
    if (plane == WHOLE_CODES) {
        return x;
    }
    return _mm256_and_si256(plane == LOW_NIBBLES ? x : _mm256_srli_epi16(x, 4), nibble);
}

/* Codes of the last, partial unit of a pixel, spread so that make_tables finds slot s where it looks for it. */
static INLINE __m256i partial_unit(const uint8_t *x, int64_t count) {
    uint8_t held[UNIT] = {0};
    for (int64_t c = 0; c < count; ++c) {
        int64_t slot = c / 4;
        held[16 * (slot & 1) + 4 * (slot / 2) + c % 4] = x[c];
    }
    return _mm256_loadu_si256((const __m256i *)held);
}

/* One unit of `cells` pixels, `pitch` bytes from one to the next: tables of consecutive cells from `to` on. x: codes of the
 * unit's first channel; count: channels of the unit. */
static INLINE void unit_tables(const uint8_t *x, int64_t pitch, int64_t cells, int64_t count, int signs, int plane,
                               uint8_t *to) {
    if (count >= UNIT) {
        for (int64_t i = 0; i < cells; ++i, x += pitch, to += UNIT_SLOTS * TABLE) {
            make_tables(plane_of(_mm256_loadu_si256((const __m256i *)x), plane), signs, UNIT_SLOTS, to);
        }
        return;
    }
    int64_t slots = (count + 3) / 4;
    for (int64_t i = 0; i < cells; ++i, x += pitch, to += slots * TABLE) {
        make_tables(plane_of(partial_unit(x, count), plane), signs, slots, to);
    }
}

#endif
