/* Tables of 64 sums of bytes, looked up by one instruction for 64 output channels: AVX-512 with VBMI.
 *
 * Six input channels of a pixel have a table of 64 sums modulo 2^8: entry i is the sum of +-x for binary weights, minus
 * where bit j of i is 1; for ternary weights the sum of those whose bit is 1, and an output channel looks up its positive
 * and its negative weights. A lane is an output channel and holds its six weights as six bits. One look-up and one wrapping
 * addition of bytes are 64 x 6 products. With LOW_BIT_EMULATE vectors are arrays of bytes.
 */
#if defined(__AVX512VBMI__) || defined(LOW_BIT_EMULATE)
#include "bytes64.h"
#include "low_bit.h"

#define LANES 64
#define GROUP 6

#if defined(LOW_BIT_EMULATE) || defined(LOW_BIT_ROLLED)
#define UNROLL
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define KEPT(integer) __asm__("" : "+r"(integer))
#if defined(LOW_BIT_EMULATE)
#define KEPT_VECTOR(vector) (void)(vector)
#define KEPT_IN_MEMORY(vector) (void)(vector)
#else
#define KEPT_VECTOR(vector) __asm__("" : "+v"(vector))
#define KEPT_IN_MEMORY(vector) __asm__("" : "+m"(vector))
#endif

#if defined(LOW_BIT_EMULATE)
extern const low_bit_kernel low_bit_emulated;
#define KERNEL low_bit_emulated
#define FEWEST 1
#define KERNEL_NAME "avx512vbmi-emulated"
static int runs_here(void) { return 1; }
#else
#define KERNEL low_bit_avx512vbmi
#define FINISH_AVX2
#if !defined(FEWEST) /* tests want more layers */
#define FEWEST 33 /* for no more than 32, look-ups of 32 lanes twice a cycle (AVX2) do more than half of 64 lanes once */
#endif
#define KERNEL_NAME "avx512vbmi"
/* Also asks whether the system keeps the registers. */
static int runs_here(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

/* Constants of make_tables: for 8 tables of 48 channels, byte 8 t + e of a half is entry e of table t. */
typedef struct {
    v64 channel[GROUP], end, spread[8];
    uint64_t keep[3];
} constants;

/* Compilers must not see what they are: clang makes two-table shuffles of them, which take longer. */
static void make_constants(constants *k) {
    uint8_t byte[64];
    for (int j = 0; j < GROUP; ++j) { /* the input of bit j of an entry: 0..2 of the low half, 3..5 of the high one */
        for (int i = 0; i < 64; ++i) {
            byte[i] = (uint8_t)(i / 8 * GROUP + j);
        }
        k->channel[j] = v64_load(byte);
        KEPT_VECTOR(k->channel[j]);
    }
    for (int i = 0; i < 64; ++i) {
        byte[i] = (uint8_t)(i | 7); /* the entry with all bits set */
    }
    k->end = v64_load(byte);
    KEPT_VECTOR(k->end);
    for (int t = 0; t < 8; ++t) {
        for (int i = 0; i < 64; ++i) {
            byte[i] = (uint8_t)(8 * t + i / 8);
        }
        k->spread[t] = v64_load(byte);
        KEPT_VECTOR(k->spread[t]);
    }
    k->keep[0] = UINT64_C(0xaaaaaaaaaaaaaaaa);
    k->keep[1] = UINT64_C(0xcccccccccccccccc);
    k->keep[2] = UINT64_C(0xf0f0f0f0f0f0f0f0);
}

/* Eight entries a table for three inputs: sums of those whose bit is 1, or with `sign` of all with minus where it is 1. */
static INLINE v64 half_tables(const constants *k, v64 x, int first, int sign) {
    v64 sum = v64_look_up_some(k->keep[0], k->channel[first], x);
    sum = v64_add(sum, v64_look_up_some(k->keep[1], k->channel[first + 1], x));
    sum = v64_add(sum, v64_look_up_some(k->keep[2], k->channel[first + 2], x));
    return sign ? v64_sub(v64_look_up(k->end, sum), v64_add(sum, sum)) : sum;
}

/* Tables of one pixel and group, `pitch` bytes apart: entry i mod 8 of its low half plus i / 8 of its high half. Low
 * halves are repeated by loads, which leaves the shuffles, of which there is one a cycle, to the high ones. */
static INLINE void make_tables(const constants *k, const uint8_t *x, int64_t in, int sign, uint8_t *to, int64_t pitch) {
    for (int64_t c = 0; c < in; c += 8 * GROUP) {
        const int64_t left = in - c < 8 * GROUP ? in - c : 8 * GROUP;
        const v64 inputs = v64_load_some(x + c, left), high = half_tables(k, inputs, 3, sign);
        v64 low = half_tables(k, inputs, 0, sign);
        KEPT_IN_MEMORY(low);
        for (int t = 0; t * GROUP < left; ++t, to += pitch) {
            v64_store(to, v64_add(v64_repeat8((const uint8_t *)&low + 8 * t), v64_look_up(k->spread[t], high)));
        }
    }
}

typedef v64 vector;
#define vector_load v64_load
#define vector_store v64_store
#define vector_zero v64_zero
#define vector_add v64_add
#define vector_sub v64_sub
#define vector_look_up v64_look_up
#include "look_up.inc"
#else
typedef int low_bit_no_avx512vbmi; /* C wants something to be in a file */
#endif
