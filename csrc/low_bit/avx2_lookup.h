/* Look-ups of AVX2 in lanes of eight bits. Lanes are output channels: a byte shuffle looks up, in the table of four channels
 * of a pixel, what 32 output channels make of them, and a byte addition wraps by itself.
 *
 *     for every slot of every tap:    table = broadcast(16 bytes)      once a pixel, for the blocks of 32 channels
 *                                     index = load(32 bytes)           once a block, for the pixels
 *                                     sum += shuffle(table, index)     2 instructions for 128 products
 *
 * Six pixels by two blocks are twelve sums, with table, two indices and a temporary all 16 registers. Zen 4 does two
 * shuffles a cycle and four vector instructions of any kind, so that 256 products a cycle are the end of it either way.
 */
#ifndef MODICUM_LOW_BIT_AVX2_LOOKUP_H
#define MODICUM_LOW_BIT_AVX2_LOOKUP_H

#include "avx2_tables.h"
#include "tiles.h"

#define PIXELS 6
#if defined(LOW_BIT_ROLLED) /* under sanitizers clang takes minutes for what it unrolls */
#define UNROLL
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)") /* so that all of an array lies in registers */
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif
#define BLOCK 64 /* output channels taken together */

/* What all tiles of a pass share. weights: of the block; steps are counted in cells. */
typedef struct {
    const uint8_t *tables, *weights;
    int64_t unit_bytes, unit_weights, channels, first_unit, last_unit, kernel_w, row_step, column_step;
    int fresh;             /* sums begin at 0 */
    int shift;             /* wide: sums so far are those of the high nibbles */
    int64_t look_ups;      /* wide: after which sums of bytes are widened */
} low_bit_pass;

/* sum + or - what the table holds at the indices. Twelve sums, two indices, a table and this temporary are all 16 registers:
 * compilers that may reorder these instructions bring up tables early and then spill sums, at half the speed. */
static INLINE void look_up_one(__m256i *sum, __m256i table, __m256i index, const int minus) {
    __m256i part;
    if (minus) {
        __asm__ volatile("vpshufb %3, %2, %1\n\tvpsubb %1, %0, %0" : "+x"(*sum), "=&x"(part) : "x"(table), "x"(index));
    } else {
        __asm__ volatile("vpshufb %3, %2, %1\n\tvpaddb %1, %0, %0" : "+x"(*sum), "=&x"(part) : "x"(table), "x"(index));
    }
}

/* `slots` slots in a row: tables from at[p] on, indices from `w` on, `step` bytes from slot to slot. */
static INLINE void look_up(const uint8_t *const *at, int64_t from, const uint8_t *w, int64_t slots, const int64_t step,
                           __m256i (*sum)[2], const int pixels, const int blocks, const int minus) {
    for (int64_t end = from + slots * TABLE; from < end; from += TABLE, w += step) {
        __m256i index[2];
        UNROLL
        for (int b = 0; b < blocks; ++b) {
            index[b] = _mm256_load_si256((const __m256i *)(w + 32 * b));
        }
        UNROLL
        for (int p = 0; p < pixels; ++p) {
            __m256i table = both_lanes(_mm_loadu_si128((const __m128i *)(at[p] + from)));
            UNROLL
            for (int b = 0; b < blocks; ++b) {
                look_up_one(&sum[p][b], table, index[b], minus);
            }
        }
    }
}

/* Adds what units first_unit..last_unit - 1 give `pixels` pixels of one kind: sums (pixels, BLOCK) bytes. */
static INLINE void tile_of(const low_bit_pass *pass, const low_bit_kind *kind, const int64_t *cell, uint8_t *sums,
                           const int pixels, const int blocks, const int ternary) {
    __m256i sum[PIXELS][2];
    UNROLL
    for (int p = 0; p < pixels; ++p) {
        UNROLL
        for (int b = 0; b < blocks; ++b) {
            const __m256i *place = (const __m256i *)(sums + p * BLOCK + 32 * b);
            sum[p][b] = pass->fresh ? _mm256_setzero_si256() : _mm256_load_si256(place);
        }
    }
    int64_t columns = kind->columns.last - kind->columns.first, runs = pass->column_step > 1 ? columns : columns > 0;
    for (int64_t unit = pass->first_unit; unit < pass->last_unit; ++unit) {
        int64_t slots = slots_of(pass->channels, unit), run = pass->column_step > 1 ? slots : columns * slots;
        const int64_t slot_bytes = 32 * blocks * (1 + ternary);
        const uint8_t *at[PIXELS], *weights = pass->weights + unit * pass->unit_weights;
        UNROLL
        for (int p = 0; p < pixels; ++p) {
            at[p] = pass->tables + unit * pass->unit_bytes + cell[p] * slots * TABLE;
        }
        for (int64_t ky = kind->rows.first; ky < kind->rows.last; ++ky) {
            const uint8_t *w = weights + (ky * pass->kernel_w + kind->columns.first) * slots * slot_bytes;
            int64_t from = (ky - kind->rows.first) * pass->row_step * slots * TABLE;
            for (int64_t i = 0; i < runs; ++i, w += run * slot_bytes, from += pass->column_step * slots * TABLE) {
                look_up(at, from, w, run, slot_bytes, sum, pixels, blocks, 0);
                if (ternary) { /* what is taken away stands behind what is added */
                    look_up(at, from, w + 32 * blocks, run, slot_bytes, sum, pixels, blocks, 1);
                }
            }
        }
    }
    UNROLL
    for (int p = 0; p < pixels; ++p) {
        UNROLL
        for (int b = 0; b < blocks; ++b) {
            _mm256_store_si256((__m256i *)(sums + p * BLOCK + 32 * b), sum[p][b]);
        }
    }
}

#define TILES(NAME, BLOCKS, TERNARY)                                                                                   \
    static void NAME(const low_bit_pass *pass, const low_bit_kind *kind, const int64_t *cell, uint8_t *sums,           \
                     int64_t pixels) {                                                                                 \
        switch (pixels) {                                                                                              \
        case 1: tile_of(pass, kind, cell, sums, 1, BLOCKS, TERNARY); break;                                            \
        case 2: tile_of(pass, kind, cell, sums, 2, BLOCKS, TERNARY); break;                                            \
        case 3: tile_of(pass, kind, cell, sums, 3, BLOCKS, TERNARY); break;                                            \
        case 4: tile_of(pass, kind, cell, sums, 4, BLOCKS, TERNARY); break;                                            \
        case 5: tile_of(pass, kind, cell, sums, 5, BLOCKS, TERNARY); break;                                            \
        default: tile_of(pass, kind, cell, sums, 6, BLOCKS, TERNARY);                                                  \
        }                                                                                                              \
    }

TILES(binary_tile, 2, 0)
TILES(binary_half_tile, 1, 0)
TILES(ternary_tile, 2, 1)
TILES(ternary_half_tile, 1, 1)

#endif
