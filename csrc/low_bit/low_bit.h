/* Convolutions of small integers with weights of one or two bits and accumulators that wrap: what all kernels share.
 *
 * Inputs are codes, uint8, channels last (batch, height, width, channels): x in 0..255, or -128..127 as x mod 256. For an
 * output pixel and channel, z = sum of w x over taps and channels of the group, taps outside the picture left out, and
 * m = mod(z + 2^(b-1), 2^b) - 2^(b-1). Integers are the same to the bit whichever kernel makes them.
 */
#ifndef MODICUM_LOW_BIT_H
#define MODICUM_LOW_BIT_H

#include <stddef.h>
#include <stdint.h>

#include "../platform.h"

/* All sizes and places as int64, so that Python hands over plain arrays. A group sees channels / groups of a pixel. */
typedef struct {
  int64_t batch, height, width, channels;
  int64_t out_height, out_width, out_channels;
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
} low_bit_shape;

enum low_bit_weights { LOW_BIT_BINARY = 1, LOW_BIT_TERNARY = 2, LOW_BIT_INT8 = 8 };
enum low_bit_output {
  LOW_BIT_SUMS,   /* m itself: int8 for b <= 8, int16 for b <= 16, else int32 */
  LOW_BIT_CODES,  /* uint8: clamp(rint(fma(f(m), scale, shift)), 0, top) */
  LOW_BIT_NUMBERS /* float: ((f(m) * unit) * scale) + shift, every operation rounded, then max(., 0) where relu says so */
};
enum { LOW_BIT_SIGNED = 9 };
enum low_bit_cyclic { CYCLIC_NONE, CYCLIC_SMOOTH, CYCLIC_ABSOLUTE, CYCLIC_RELU };

/* What a layer does with a sum. bits: b; 32 for sums that do not wrap. The arrays have out_channels floats; unit is read for
 * NUMBERS alone, none for SUMS. f: CYCLIC_NONE m; SMOOTH m where |m| <= k/(k+1) h, else k h - k m above and -k h - k m
 * below, h = 2^(b-1), k = slope, made as sign(m) min(|m|, k (h - |m|)); ABSOLUTE |m|; RELU max(SMOOTH, 0). */
typedef struct {
  int64_t output, bits, cyclic, top, relu;
  double slope;
  const float *unit, *scale, *shift;
} low_bit_finish;

/* One instruction set. Weights come as int8 (out_channels, kernel_h, kernel_w, channels / groups), -1, 0 or 1 unless INT8,
 * and `pack` lays them out for this kernel alone, for pictures of any number and size. A call makes rows first <= row < last
 * of batch * out_height output rows; calls for other rows may run beside it. `wide` is 0 where sums of 8-bit lanes will do
 * (b <= 8, weights not INT8; whether codes are signed makes no difference then). Otherwise (b > 8, INT8, or exact sums as a
 * baseline) it says what the codes are: 1..8 for codes below 2^wide, LOW_BIT_SIGNED for -128..127. */
typedef struct {
  const char *name;
  int (*runs_here)(void);
  int (*supports)(const low_bit_shape *, int weights, int bits, int wide);
  int64_t (*packed_bytes)(const low_bit_shape *, int weights, int wide);
  void (*pack)(const low_bit_shape *, int weights, int wide, const int8_t *from, void *to);
  int64_t (*scratch_bytes)(const low_bit_shape *, int weights, int wide, int64_t rows);
  /* x has exactly its elements, nothing may be read behind them; packed and scratch begin at multiples of 64 bytes. */
  void (*convolve)(const low_bit_shape *, int weights, int wide, const uint8_t *x, const void *packed, int64_t first,
                   int64_t last, void *scratch, const low_bit_finish *, void *out);
} low_bit_kernel;

extern const low_bit_kernel low_bit_portable, low_bit_swar_buffer, low_bit_swar_carry, low_bit_swar_table;
extern const low_bit_kernel low_bit_avx2, low_bit_int8_avx2, low_bit_avx512vbmi, low_bit_neon; /* where the target has it */

#endif
