/* A picture of a measurement: latencies over time, as SVG.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/bench/plot.h"

#include <math.h>

#define WIDTH  960
#define HEIGHT 440
#define LEFT   80.0
#define RIGHT  (WIDTH - 30.0)
#define TOP    50.0
#define BOTTOM (HEIGHT - 60.0)

struct scale {
    double seconds;  /* the whole axis */
    int least, most; /* powers of ten of nanoseconds */
};

static double x_of(const struct scale *scale, double seconds)
{
    return LEFT + seconds / scale->seconds * (RIGHT - LEFT);
}

static double y_of(const struct scale *scale, double ns)
{
    const double part = (log10(ns) - scale->least) / (scale->most - scale->least);
    return BOTTOM - part * (BOTTOM - TOP);
}

static struct scale scale_of(const struct bench_windows *windows)
{
    struct scale scale = {
        .seconds = (double)windows->count * (double)windows->span_ns / 1e9, .least = 3, .most = 4};
    double least = INFINITY, most = 0;
    for (uint32_t i = 0; i < windows->count; i++) {
        const struct bench_window *window = &windows->items[i];
        if (window->max_ns == 0)
            continue;
        least = fmin(least, (double)window->p50_ns);
        most = fmax(most, (double)window->max_ns);
    }
    if (most > 0) {
        scale.least = (int)floor(log10(fmax(least, 1)));
        scale.most = (int)ceil(log10(most));
    }
    if (scale.most <= scale.least)
        scale.most = scale.least + 1;
    if (scale.seconds <= 0)
        scale.seconds = 1;
    return scale;
}

/* The text of a power of ten of nanoseconds. */
static void put_power(FILE *out, int power)
{
    static const char *const units[] = {"ns", "µs", "ms", "s"};
    static const char *const ones[] = {"1", "10", "100"};
    const int unit = power / 3 < 3 ? power / 3 : 3;
    const int rest = power - unit * 3;
    fprintf(out, "%s%s %s", ones[rest % 3], rest >= 3 ? "000" : "", units[unit]);
}

static void draw_frame(FILE *out, const struct scale *scale)
{
    for (int power = scale->least; power <= scale->most; power++) {
        const double y = y_of(scale, pow(10, power));
        fprintf(out,
                "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n"
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">",
                LEFT, y, RIGHT, y, LEFT - 8, y + 4);
        put_power(out, power);
        fputs("</text>\n", out);
    }
    double step = pow(10, floor(log10(scale->seconds)));
    step = scale->seconds / step < 2 ? step / 5 : scale->seconds / step < 5 ? step / 2 : step;
    for (int i = 0; i * step <= scale->seconds * 1.0001; i++)
        fprintf(out,
                "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#999\"/>\n"
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%g s</text>\n",
                x_of(scale, i * step), BOTTOM, x_of(scale, i * step), BOTTOM + 5,
                x_of(scale, i * step), BOTTOM + 20, i * step);
    fprintf(out,
            "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"none\" "
            "stroke=\"#999\"/>\n",
            LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP);
}

struct line {
    const char *name, *colour;
    size_t offset; /* of the value in struct bench_window */
};

static const struct line lines[] = {
    {"maximum", "#c0392b", offsetof(struct bench_window, max_ns)},
    {"99 %", "#e08e0b", offsetof(struct bench_window, p99_ns)},
    {"median", "#1f6fb2", offsetof(struct bench_window, p50_ns)},
};

/* A window in which nothing came is a gap. */
static void draw_line(FILE *out, const struct bench_windows *windows, const struct scale *scale,
                      const struct line *line)
{
    char command = 'M';
    fprintf(out,
            "<path fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" stroke-linecap=\"round\" d=\"",
            line->colour);
    for (uint32_t i = 0; i < windows->count; i++) {
        const struct bench_window *window = &windows->items[i];
        const uint64_t value =
            *(const uint64_t *)(const void *)((const char *)window + line->offset);
        if (value == 0) {
            command = 'M';
            continue;
        }
        fprintf(out, "%c%.1f %.1f%s", command,
                x_of(scale, ((double)i + 0.5) * (double)windows->span_ns / 1e9),
                y_of(scale, (double)value), command == 'M' ? "h0" : ""); /* alone: a dot */
        command = 'L';
    }
    fputs("\"/>\n", out);
}

static void draw_legend(FILE *out)
{
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const double x = RIGHT - 300 + 100 * (double)i;
        fprintf(out,
                "<line x1=\"%.1f\" y1=\"36\" x2=\"%.1f\" y2=\"36\" stroke=\"%s\" "
                "stroke-width=\"3\"/>\n<text x=\"%.1f\" y=\"40\">%s</text>\n",
                x, x + 20, lines[i].colour, x + 26, lines[i].name);
    }
}

static void put_xml(FILE *out, const char *text)
{
    for (; *text != 0; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else
            putc(*text, out);
    }
}

void bench_plot(FILE *out, const struct bench_windows *windows, const char *title)
{
    const struct scale scale = scale_of(windows);
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n"
            "<text x=\"%.1f\" y=\"26\" font-size=\"15\">",
            WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT);
    put_xml(out, title);
    fputs("</text>\n", out);
    draw_frame(out, &scale);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        draw_line(out, windows, &scale, &lines[i]);
    draw_legend(out);
    fprintf(out,
            "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">time since the warm-up, in spans "
            "of %.3g s</text>\n</svg>\n",
            (LEFT + RIGHT) / 2, BOTTOM + 45, (double)windows->span_ns / 1e9);
}
