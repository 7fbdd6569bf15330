/* Small numbers side by side in a 64-bit word, without vector instructions: what the three packed kernels share.
 * Byte l of a word is lane l; the functions below keep lanes apart, plain additions do not.
 */
#ifndef MODICUM_SWAR_H
#define MODICUM_SWAR_H

#include <string.h>

#include "low_bit.h"

#define LANES 8
#define BYTES(b) (UINT64_C(0x0101010101010101) * (b))
#define PAIRS(b) (UINT64_C(0x0001000100010001) * (b))

static INLINE uint64_t load8(const uint8_t *from) {
    uint64_t word;
    memcpy(&word, from, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* The first n bytes, zeros behind them. */
static INLINE uint64_t load_some(const uint8_t *from, int64_t n) {
    uint64_t word = 0;
    if (n >= LANES) {
        return load8(from);
    }
    for (int64_t i = 0; i < n; ++i) {
        word |= (uint64_t)from[i] << (8 * i);
    }
    return word;
}

/* Lane by lane, modulo 2^8: minus a word; modulo 2^16: the sum of two words. */
static INLINE uint64_t negate8(uint64_t a) { return ((~a & BYTES(0x7f)) + BYTES(1)) ^ (~a & BYTES(0x80)); }

static INLINE uint64_t add16(uint64_t a, uint64_t b) {
    return ((a & PAIRS(0x7fff)) + (b & PAIRS(0x7fff))) ^ ((a ^ b) & PAIRS(0x8000));
}

/* Sum of the eight lanes: at most 8 * 255. */
static INLINE int32_t lane_sum(uint64_t a) {
    a = (a & PAIRS(0xff)) + (a >> 8 & PAIRS(0xff));
    return (int32_t)(a * PAIRS(1) >> 48);
}

/* Byte i of word j and byte j of word i change places. */
static INLINE void transpose8(uint64_t *w) {
    static const uint64_t keep[3] = {UINT64_C(0x00ff00ff00ff00ff), UINT64_C(0x0000ffff0000ffff),
                                     UINT64_C(0x00000000ffffffff)};
    for (int stage = 0; stage < 3; ++stage) {
        const int step = 1 << stage, shift = 8 * step;
        for (int i = 0; i < LANES; ++i) {
            if (!(i & step)) {
                const uint64_t swap = (w[i] >> shift ^ w[i + step]) & keep[stage];
                w[i] ^= swap << shift;
                w[i + step] ^= swap;
            }
        }
    }
}

/* Not in low_bit.h: asked for by name alone. */
extern const low_bit_kernel low_bit_swar_carry_32, low_bit_scalar, low_bit_scalar_blocked;

static INLINE int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static INLINE int64_t up(int64_t a, int64_t unit) { return (a + unit - 1) / unit; }

#endif
