/* Carries let through: eight summands of one output in a 64-bit word, or four in 32 bits as in the dissertation.
 *
 * Words are added whole. A carry out of lane l goes into lane l + 1, the carry out of the last lane is dropped, as
 * processors do; at the end the lanes are added modulo 2^8. A negative product is v + 2^8, made lane by lane, so that only
 * sums carry; a zero product stays zero. With u the sum of the summands read as unsigned, and n the carries that went from one lane into
 * the next, the result is mod(u + n, 2^8) = mod(z + n, 2^8). n depends on which summand lies in which lane, not on the order
 * in which words are added: input channel c of the output's group lies in lane c mod 8 (c mod 4), every tap begins a word.
 *
 * Algorithm 1 counts further carries: those out of the last lane, and those of the addition of lanes, each of them fed back.
 * Feeding these back here as well gives its result, the number in 1..255 that equals u modulo 255 (0 for u = 0).
 */
#include "swar.h"

#include "finish.h"

static int runs_here(void) { return 1; }

/* b = 8 alone: sums narrower than a lane carry elsewhere. */
static int supports(const low_bit_shape *s, int weights, int bits, int wide) {
    (void)s;
    return (weights == LOW_BIT_BINARY || weights == LOW_BIT_TERNARY) && bits == 8 && !wide;
}

#define WORD uint64_t
#define NAME(f) f##_64
#define KEEP(word) (word)
#define NEGATE(word) negate8(word)
#include "swar_sum.inc"

#define WORD uint32_t
#define NAME(f) f##_32
#define KEEP(word) (word)
#define NEGATE(word) ((uint32_t)negate8(word))
#include "swar_sum.inc"

const low_bit_kernel low_bit_swar_carry = {"swar-carry",     runs_here,   supports, packed_bytes_64, pack_64,
                                           scratch_bytes_64, convolve_64};

const low_bit_kernel low_bit_swar_carry_32 = {"swar-carry-32",  runs_here,   supports, packed_bytes_32, pack_32,
                                              scratch_bytes_32, convolve_32};
