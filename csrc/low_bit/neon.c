/* Tables of 16 sums of bytes, looked up by one instruction for 16 output channels: NEON of 64-bit ARM.
 *
 * Four input channels of a pixel have a table of 16 sums modulo 2^8; tables and lanes are as in avx512vbmi.c.
 */
#if defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>
#include <string.h>

#include "low_bit.h"

#define LANES 16
#define GROUP 4

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define KEPT(integer) __asm__("" : "+r"(integer))
#define KEPT_VECTOR(vector) __asm__("" : "+w"(vector))

#define KERNEL low_bit_neon
#define FEWEST 1
#define KERNEL_NAME "neon"
static int runs_here(void) { return 1; } /* no 64-bit ARM is without */

typedef uint8x16_t vector;
static INLINE vector vector_load(const uint8_t *from) { return vld1q_u8(from); }
static INLINE void vector_store(uint8_t *to, vector a) { vst1q_u8(to, a); }
static INLINE vector vector_zero(void) { return vdupq_n_u8(0); }
static INLINE vector vector_add(vector a, vector b) { return vaddq_u8(a, b); }
static INLINE vector vector_sub(vector a, vector b) { return vsubq_u8(a, b); }
static INLINE vector vector_look_up(vector index, vector table) { return vqtbl1q_u8(table, index); }

/* Byte i of has[j] is 0xff where bit j of i is 1. */
typedef struct {
    vector has[GROUP];
} constants;

static void make_constants(constants *k) {
    for (int j = 0; j < GROUP; ++j) {
        uint8_t byte[LANES];
        for (int i = 0; i < LANES; ++i) {
            byte[i] = i >> j & 1 ? 0xff : 0;
        }
        k->has[j] = vld1q_u8(byte);
    }
}

/* Tables of one pixel and group, `pitch` bytes apart. With `sign` an entry is the sum of all less twice those of
 * its bits. */
static INLINE void make_tables(const constants *k, const uint8_t *x, int64_t in, int sign, uint8_t *to, int64_t pitch) {
    for (int64_t c = 0; c < in; c += GROUP, to += pitch) {
        vector sum = vector_zero();
        for (int64_t j = 0; j < GROUP && c + j < in; ++j) {
            sum = vaddq_u8(sum, vandq_u8(vdupq_n_u8(x[c + j]), k->has[j]));
        }
        vst1q_u8(to, sign ? vsubq_u8(vdupq_laneq_u8(sum, LANES - 1), vaddq_u8(sum, sum)) : sum);
    }
}

#include "look_up.inc"
#else
typedef int low_bit_no_neon; /* C wants something to be in a file */
#endif
