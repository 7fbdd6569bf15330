/* Batch norm, 2x2 max-pool and (leaky) ReLU in one operation with its first and second derivatives.
 * The equations stand in src/modicum/backbones/batch_norm_pool.py, which calls these kernels; names are the same.
 *
 * Data are channels last, (images, height, width, channels), so that the innermost loop runs over neighbours in memory.
 * Kernels that go over data take a range of images, first <= image < last. Sums are made per image, over a row in the
 * data's own type and from there in float64, and joined over images in rising order: bits do not depend on the ranges.
 */
#include <math.h>
#include <stdint.h>

#include "platform.h"

#define BLOCK 64

#define REAL float
#define PLACE int32_t
#define NAME(f) modicum_batch_norm_pool_##f##_f32
#include "batch_norm_pool.inc"
#undef REAL
#undef PLACE
#undef NAME
#define REAL double
#define PLACE int64_t
#define NAME(f) modicum_batch_norm_pool_##f##_f64
#include "batch_norm_pool.inc"
