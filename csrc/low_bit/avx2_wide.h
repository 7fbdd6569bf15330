/* Look-ups of AVX2 whose sums are exact modulo 2^16: what 8-bit sums are compared with, and what accumulators of 12 and 16
 * bits need. The same tables and shuffles; sums of bytes are widened before they can pass 255, which is after
 * 255 / (4 * largest code) look-ups: 21 for codes of two bits, 9 for three, 4 for four. Codes of seven and eight bits go as
 * two planes of four bits, sum = low + 16 high.
 *
 * Widening is three instructions: with e and o the even and odd bytes, whole += e + 256 o (the register read as words) and
 * odd += o; at the end the even channels are whole - 256 odd, all modulo 2^16. Both wait in memory, the sums of bytes in
 * registers.
 */
#ifndef MODICUM_LOW_BIT_AVX2_WIDE_H
#define MODICUM_LOW_BIT_AVX2_WIDE_H

#include "avx2_lookup.h"

#define WIDEST_PLANE 6      /* bits of codes up to which four of them fit a byte */
#define WIDE_BYTES (4 * 32) /* a pixel's sums: whole and odd of two blocks */

/* Look-ups after which sums of bytes must be widened, for codes of so many bits. */
static INLINE int64_t look_ups_of(int wide) {
    int bits = wide > WIDEST_PLANE ? 4 : wide < 1 ? 1 : wide;
    return 255 / (4 * (((int64_t)1 << bits) - 1));
}

/* Up to look_ups_of slots, added to or taken away from sums in memory. */
static INLINE void look_up_wide(const uint8_t *const *at, int64_t from, const uint8_t *w, int64_t slots, const int64_t step,
                                __m256i *place, const int pixels, const int minus) {
    __m256i sum[PIXELS][2];
    UNROLL
    for (int p = 0; p < pixels; ++p) {
        sum[p][0] = sum[p][1] = _mm256_setzero_si256();
    }
    look_up(at, from, w, slots, step, sum, pixels, 2, 0);
    UNROLL
    for (int p = 0; p < pixels; ++p) {
        UNROLL
        for (int b = 0; b < 2; ++b, place += 2) {
            __m256i high = _mm256_srli_epi16(sum[p][b], 8);
            place[0] = minus ? _mm256_sub_epi16(place[0], sum[p][b]) : _mm256_add_epi16(place[0], sum[p][b]);
            place[1] = minus ? _mm256_sub_epi16(place[1], high) : _mm256_add_epi16(place[1], high);
        }
    }
}

/* One run of slots in even pieces of at most `each`. */
static INLINE void run_wide(const uint8_t *const *at, int64_t from, const uint8_t *w, int64_t slots, int64_t each,
                            __m256i *place, const int pixels, const int ternary) {
    const int64_t step = BLOCK * (1 + ternary);
    for (int64_t pieces = (slots + each - 1) / each, n; pieces > 0; --pieces, slots -= n, from += n * TABLE, w += n * step) {
        n = (slots + pieces - 1) / pieces;
        look_up_wide(at, from, w, n, step, place, pixels, 0);
        if (ternary) {
            look_up_wide(at, from, w + BLOCK, n, step, place, pixels, 1);
        }
    }
}

static INLINE void wide_tile_of(const low_bit_pass *pass, const low_bit_kind *kind, const int64_t *cell, uint8_t *sums,
                                const int pixels, const int ternary) {
    __m256i *place = (__m256i *)sums;
    for (int i = 0; i < 4 * pixels && (pass->fresh || pass->shift); ++i) {
        place[i] = pass->fresh ? _mm256_setzero_si256() : _mm256_slli_epi16(place[i], 4);
    }
    int64_t columns = kind->columns.last - kind->columns.first, runs = pass->column_step > 1 ? columns : columns > 0;
    for (int64_t unit = pass->first_unit; unit < pass->last_unit; ++unit) {
        int64_t slots = slots_of(pass->channels, unit), run = pass->column_step > 1 ? slots : columns * slots;
        const int64_t slot_bytes = BLOCK * (1 + ternary);
        const uint8_t *at[PIXELS], *weights = pass->weights + unit * pass->unit_weights;
        UNROLL
        for (int p = 0; p < pixels; ++p) {
            at[p] = pass->tables + unit * pass->unit_bytes + cell[p] * slots * TABLE;
        }
        for (int64_t ky = kind->rows.first; ky < kind->rows.last; ++ky) {
            const uint8_t *w = weights + (ky * pass->kernel_w + kind->columns.first) * slots * slot_bytes;
            int64_t from = (ky - kind->rows.first) * pass->row_step * slots * TABLE;
            for (int64_t i = 0; i < runs; ++i, w += run * slot_bytes, from += pass->column_step * slots * TABLE) {
                run_wide(at, from, w, run, pass->look_ups, place, pixels, ternary);
            }
        }
    }
}

#define WIDE_TILES(NAME, TERNARY)                                                                                      \
    static void NAME(const low_bit_pass *pass, const low_bit_kind *kind, const int64_t *cell, uint8_t *sums,           \
                     int64_t pixels) {                                                                                 \
        switch (pixels) {                                                                                              \
        case 1: wide_tile_of(pass, kind, cell, sums, 1, TERNARY); break;                                               \
        case 2: wide_tile_of(pass, kind, cell, sums, 2, TERNARY); break;                                               \
        case 3: wide_tile_of(pass, kind, cell, sums, 3, TERNARY); break;                                               \
        case 4: wide_tile_of(pass, kind, cell, sums, 4, TERNARY); break;                                               \
        case 5: wide_tile_of(pass, kind, cell, sums, 5, TERNARY); break;                                               \
        default: wide_tile_of(pass, kind, cell, sums, 6, TERNARY);                                                     \
        }                                                                                                              \
    }

WIDE_TILES(binary_wide_tile, 0)
WIDE_TILES(ternary_wide_tile, 1)

/* A pixel's sums as BLOCK words in the order of the channels: of subsets for ternary weights (total 0, twice 0); for binary
 * ones twice the sum over +1 less the total of the codes. */
static INLINE void words_of(const uint8_t *sums, int twice, int32_t total, int16_t *words) {
    const __m256i *place = (const __m256i *)sums;
    for (int b = 0; b < 2; ++b) {
        __m256i odd = place[2 * b + 1], even = _mm256_sub_epi16(place[2 * b], _mm256_slli_epi16(odd, 8));
        __m256i low = _mm256_unpacklo_epi16(even, odd), high = _mm256_unpackhi_epi16(even, odd);
        __m256i first = _mm256_permute2x128_si256(low, high, 0x20), second = _mm256_permute2x128_si256(low, high, 0x31);
        __m256i less = _mm256_set1_epi16((int16_t)total);
        first = _mm256_sub_epi16(twice ? _mm256_add_epi16(first, first) : first, less);
        second = _mm256_sub_epi16(twice ? _mm256_add_epi16(second, second) : second, less);
        _mm256_storeu_si256((__m256i *)(words + 32 * b), first);
        _mm256_storeu_si256((__m256i *)(words + 32 * b + 16), second);
    }
}

static INLINE int32_t code_total(const uint8_t *x, int64_t channels) {
    int64_t c = 0;
    __m256i sum = _mm256_setzero_si256();
    for (; c + 32 <= channels; c += 32) {
        sum = _mm256_add_epi64(sum, _mm256_sad_epu8(_mm256_loadu_si256((const __m256i *)(x + c)), _mm256_setzero_si256()));
    }
    int64_t parts[4], total;
    _mm256_storeu_si256((__m256i *)parts, sum);
    for (total = parts[0] + parts[1] + parts[2] + parts[3]; c < channels; ++c) {
        total += x[c];
    }
    return (int32_t)total;
}

/* Of every pixel of all kinds the codes of all taps it sees. */
static INLINE void window_totals(const low_bit_shape *s, const low_bit_kind *kinds, int64_t count, int64_t width,
                                 const int32_t *totals, const int64_t *cells, int32_t *windows) {
    int64_t down = low_bit_step(low_bit_rows(s)) * width, right = low_bit_step(low_bit_columns(s));
    for (const low_bit_kind *kind = kinds; kind < kinds + count; ++kind) {
        for (int64_t i = kind->first; i < kind->first + kind->count; ++i) {
            windows[i] = 0;
            for (int64_t ky = 0; ky < kind->rows.last - kind->rows.first; ++ky) {
                for (int64_t kx = 0; kx < kind->columns.last - kind->columns.first; ++kx) {
                    windows[i] += totals[cells[i] + ky * down + kx * right];
                }
            }
        }
    }
}

#endif
