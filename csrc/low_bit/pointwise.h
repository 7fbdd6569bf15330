/* What pointwise.c is given. Types alone: a compiler wants every declaration of a cloned function to name its clones. */
#ifndef MODICUM_LOW_BIT_POINTWISE_H
#define MODICUM_LOW_BIT_POINTWISE_H

#include <stdint.h>

/* numbers = act(x scale + shift + y), codes = clamp(rint(numbers inverse), low, top) modulo 256. scale and shift have
 * `channels` floats; each of scale (with shift), y, numbers, codes may be NULL. act: 0 none, 1 ReLU, 2 leaky with `slope`. */
typedef struct {
    int64_t pixels, channels;
    int32_t act, low, top;
    float slope, inverse;
    const float *x, *scale, *shift, *y;
    float *numbers;
    uint8_t *codes;
} low_bit_pointwise;

/* Sizes of a pool; taps outside the picture are left out, and a window without any inside is 0 (torch refuses those). */
typedef struct {
    int64_t batch, height, width, channels, out_height, out_width;
    int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
} low_bit_pool;

#endif
