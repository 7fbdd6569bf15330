/* Seven-bit numbers with a buffer bit between them, eight in a 64-bit word: section 2.3.4 of the dissertation.
 *
 * An addition of two words leaves at most one carry a lane, in the lane's eighth bit, which a mask clears. Sums are exact
 * modulo 2^7: layers of b <= 7 bits. A negative product is v + 2^7.
 */
#include "swar.h"

#include "finish.h"

static int runs_here(void) { return 1; }

static int supports(const low_bit_shape *s, int weights, int bits, int wide) {
    (void)s;
    return (weights == LOW_BIT_BINARY || weights == LOW_BIT_TERNARY) && bits <= 7 && !wide;
}

#define WORD uint64_t
#define NAME(f) f##_7
#define KEEP(word) ((word) & BYTES(0x7f))
#define NEGATE(word) ((BYTES(0x80) - (word)) & BYTES(0x7f))
#include "swar_sum.inc"

const low_bit_kernel low_bit_swar_buffer = {"swar-buffer",   runs_here,   supports,   packed_bytes_7, pack_7,
                                            scratch_bytes_7, convolve_7};
