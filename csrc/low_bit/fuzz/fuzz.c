/* Random layers: every kernel against the portable one, bit for bit, on buffers of exactly the size that a kernel asks for.
 *
 *     fuzz SEED LAYERS [KERNEL]
 *
 * Layer n of a seed is the same whatever was run before it. At the first difference the layer is printed, and the status is
 * 1. Built with -fsanitize=address,undefined, reads and writes outside of a buffer and undefined arithmetic end it too.
 */
#define _POSIX_C_SOURCE 200112L
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../low_bit.h"
#include "../swar.h"
#include "draws.h"
#include "model.h"

#if defined(LOW_BIT_EMULATE)
extern const low_bit_kernel low_bit_emulated; /* avx512vbmi.c once more, without the instructions */
#endif

#define MOST_WORK 400000 /* products of a layer */

static const low_bit_kernel *const kernels[] = {
    &low_bit_swar_buffer, &low_bit_swar_table, &low_bit_swar_carry,
    &low_bit_swar_carry_32, &low_bit_scalar, &low_bit_scalar_blocked,
#if defined(__x86_64__) && __has_include("../avx2.c")
    &low_bit_avx2,
#endif
#if defined(__x86_64__) && __has_include("../int8_avx2.c")
    &low_bit_int8_avx2,
#endif
#if defined(__x86_64__) && __has_include("../avx512vbmi.c")
    &low_bit_avx512vbmi,
#endif
#if defined(LOW_BIT_EMULATE)
    &low_bit_emulated,
#endif
#if defined(__aarch64__)
    &low_bit_neon,
#endif
};
enum { KERNELS = sizeof kernels / sizeof *kernels };

static int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }

static low_bit_shape draw_shape(void) {
    low_bit_shape s;
    for (;;) {
        s.batch = one_in(30) ? 0 : draw(1, 3);
        draw_side(&s.height, &s.kernel_h, &s.stride_h, &s.pad_h, &s.dilation_h, &s.out_height);
        draw_side(&s.width, &s.kernel_w, &s.stride_w, &s.pad_w, &s.dilation_w, &s.out_width);
        s.groups = one_in(4) ? draw(2, 5) : 1;
        s.channels = s.groups * draw(1, one_in(8) ? 200 : 20); /* a layer without channels is refused before */
        s.out_channels = s.groups * draw(1, one_in(8) ? 300 : 40);
        const double pixels = (double)s.batch * (double)s.out_height * (double)s.out_width;
        const double products = (double)(s.kernel_h * s.kernel_w * (s.channels / s.groups) + 4) * (double)s.out_channels;
        if (pixels < 1e6 && pixels * products < MOST_WORK) {
            return s;
        }
    }
}

typedef struct {
    low_bit_shape s, packed; /* weights are packed for pictures of another number and size */
    int weights, wide;
    low_bit_finish finish;
    int64_t first, last, bytes;
    uint8_t *x;
    int8_t *w;
    float *numbers;
} layer;

static layer draw_layer(void) {
    static const int kinds[] = {LOW_BIT_BINARY, LOW_BIT_BINARY, LOW_BIT_TERNARY, LOW_BIT_TERNARY, LOW_BIT_INT8};
    layer l = {.s = draw_shape(), .weights = kinds[draw(0, 4)]};
    low_bit_finish *f = &l.finish;
    l.packed = l.s;
    if (one_in(2)) {
        l.packed.batch = draw(0, 3);
        l.packed.height = draw(0, 30);
        l.packed.width = draw(0, 30);
        l.packed.out_height = outputs(l.packed.height, l.s.kernel_h, l.s.stride_h, l.s.pad_h, l.s.dilation_h);
        l.packed.out_width = outputs(l.packed.width, l.s.kernel_w, l.s.stride_w, l.s.pad_w, l.s.dilation_w);
    }
    f->bits = one_in(4) ? draw(9, 16) : one_in(2) ? 8 : draw(2, 8);
    f->bits = l.weights == LOW_BIT_INT8 && one_in(2) ? 32 : f->bits;
    l.wide = f->bits > 8 || l.weights == LOW_BIT_INT8 || one_in(4) ? (int)draw(1, LOW_BIT_SIGNED) : 0;
    f->output = draw(LOW_BIT_SUMS, LOW_BIT_NUMBERS);
    f->cyclic = f->bits > 16 ? CYCLIC_NONE : draw(CYCLIC_NONE, CYCLIC_RELU);
    f->slope = one_in(3) ? (double)real(4.0f) + 5.0 : (double)(1 << draw(0, 3));
    f->top = (INT64_C(1) << draw(1, 8)) - 1;
    f->relu = draw(0, 1);
    l.numbers = block(3 * l.s.out_channels * (int64_t)sizeof(float));
    for (int64_t i = 0; i < 3 * l.s.out_channels; ++i) {
        l.numbers[i] = real(one_in(20) ? 1e20f : i < 2 * l.s.out_channels ? 2.0f : 100.0f);
    }
    f->unit = l.numbers;
    f->scale = l.numbers + l.s.out_channels;
    f->shift = l.numbers + 2 * l.s.out_channels;
    const int64_t inputs = l.s.batch * l.s.height * l.s.width * l.s.channels, top = one_in(3) ? draw(1, 15) : 255;
    const int64_t most = l.wide >= 1 && l.wide <= 8 ? min_of(top, (INT64_C(1) << l.wide) - 1) : top;
    const int extreme = one_in(5);
    l.x = block(inputs);
    for (int64_t i = 0; i < inputs; ++i) {
        l.x[i] = (uint8_t)(extreme ? most : draw(0, most));
    }
    const int64_t taps = l.s.out_channels * l.s.kernel_h * l.s.kernel_w * (l.s.channels / l.s.groups);
    l.w = block(taps);
    for (int64_t i = 0; i < taps; ++i) {
        l.w[i] = (int8_t)(l.weights == LOW_BIT_INT8      ? draw(-128, 127)
                          : l.weights == LOW_BIT_TERNARY ? draw(-1, 1)
                          : extreme                      ? 1
                                                         : 2 * draw(0, 1) - 1);
    }
    const int64_t rows = l.s.batch * l.s.out_height, size = f->bits <= 8 ? 1 : f->bits <= 16 ? 2 : 4;
    l.first = one_in(2) ? 0 : draw(0, rows);
    l.last = one_in(2) ? rows : draw(l.first, rows);
    l.bytes = rows * l.s.out_width * l.s.out_channels *
              (f->output == LOW_BIT_SUMS ? size : f->output == LOW_BIT_CODES ? 1 : (int64_t)sizeof(float));
    return l;
}

static void print_layer(const layer *l, const char *kernel, uint64_t seed, int64_t number) {
    const int64_t *size = &l->s.batch;
    fprintf(stderr, "fuzz: %s differs, seed %" PRIu64 " layer %" PRId64 ": weights %d wide %d bits %" PRId64
            " output %" PRId64 " cyclic %" PRId64 " slope %g rows %" PRId64 "..%" PRId64 "\nshape",
            kernel, seed, number, l->weights, l->wide, l->finish.bits, l->finish.output, l->finish.cyclic,
            l->finish.slope, l->first, l->last);
    for (size_t i = 0; i < sizeof l->s / sizeof *size; ++i) {
        fprintf(stderr, " %" PRId64, size[i]);
    }
    fputc('\n', stderr);
}

/* What a kernel makes of a layer; bytes of rows that it shall not make stay 0xa5. */
static uint8_t *run_layer(const layer *l, const low_bit_kernel *kernel) {
    uint8_t *out = block(l->bytes);
    memset(out, 0xa5, (size_t)(l->bytes > 0 ? l->bytes : 1));
    void *packed = block(kernel->packed_bytes(&l->packed, l->weights, l->wide));
    kernel->pack(&l->packed, l->weights, l->wide, l->w, packed);
    void *scratch = block(kernel->scratch_bytes(&l->s, l->weights, l->wide, l->last - l->first));
    kernel->convolve(&l->s, l->weights, l->wide, l->x, packed, l->first, l->last, scratch, &l->finish, out);
    free(packed);
    free(scratch);
    return out;
}

int main(int count, char **argument) {
    if (count < 3) {
        fprintf(stderr, "usage: fuzz SEED LAYERS [KERNEL]\n");
        return 2;
    }
    const uint64_t seed = strtoull(argument[1], NULL, 10);
    const int64_t layers = strtoll(argument[2], NULL, 10);
    int64_t checked[KERNELS] = {0};
    for (int64_t number = 0; number < layers; ++number) {
        seed_number(seed, number);
        layer l = draw_layer();
        uint8_t *wanted = NULL; /* made where a kernel takes the layer */
        for (int k = 0; k < KERNELS; ++k) {
            const low_bit_kernel *kernel = kernels[k];
            if (!kernel->runs_here() || !kernel->supports(&l.s, l.weights, (int)l.finish.bits, l.wide) ||
                (count > 3 && strcmp(argument[3], kernel->name) != 0)) {
                continue;
            }
            wanted = wanted ? wanted : run_layer(&l, &low_bit_portable);
            const int carries = kernel == &low_bit_swar_carry ? 8 : kernel == &low_bit_swar_carry_32 ? 4 : 0;
            uint8_t *got = run_layer(&l, kernel), *by_hand = carries ? block(l.bytes) : NULL;
            if (carries) { /* its sums are other numbers on purpose */
                memset(by_hand, 0xa5, (size_t)(l.bytes > 0 ? l.bytes : 1));
                model_carry(&l.s, carries, l.x, l.w, l.first, l.last, &l.finish, by_hand);
            }
            if (l.bytes > 0 && memcmp(carries ? by_hand : wanted, got, (size_t)l.bytes) != 0) {
                print_layer(&l, kernel->name, seed, number);
                _Exit(1); /* what is not freed is no news then */
            }
            ++checked[k];
            free(got);
            free(by_hand);
        }
        free(wanted);
        free(l.x);
        free(l.w);
        free(l.numbers);
    }
    printf("%" PRId64 " layers, seed %" PRIu64, layers, seed);
    for (int k = 0; k < KERNELS; ++k) {
        printf(", %s %" PRId64, kernels[k]->name, checked[k]);
    }
    printf("\n");
    return 0;
}
