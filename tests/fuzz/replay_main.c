// Runs a fuzz target over files instead of under libFuzzer, so that every build replays the corpus.
// SPDX-License-Identifier: MIT OR Apache-2.0
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t inputs_run;
static size_t inputs_failed;

/* Each input gets a block of exactly its size, so that a sanitizer sees a read past the end. */
static void run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat info;
    if (file == NULL || fstat(fileno(file), &info) != 0) {
        fprintf(stderr, "cannot read %s\n", path);
        inputs_failed++;
        if (file != NULL) {
            fclose(file);
        }
        return;
    }
    size_t size = (size_t)info.st_size;
    uint8_t *data = malloc(size > 0 ? size : 1);
    if (data != NULL && fread(data, 1, size, file) == size) {
        LLVMFuzzerTestOneInput(data, size);
        inputs_run++;
    } else {
        fprintf(stderr, "cannot read %s\n", path);
        inputs_failed++;
    }
    free(data);
    fclose(file);
}

static void run_folder(const char *path)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char name[4096];
        int length = snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        struct stat info;
        if (length > 0 && (size_t)length < sizeof name && stat(name, &info) == 0 &&
            S_ISREG(info.st_mode)) {
            run_file(name);
        }
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        struct stat info;
        if (stat(argv[i], &info) == 0 && S_ISDIR(info.st_mode)) {
            run_folder(argv[i]);
        } else if (stat(argv[i], &info) == 0) {
            run_file(argv[i]);
        }
    }
    printf("%zu inputs replayed, %zu unreadable\n", inputs_run, inputs_failed);
    return inputs_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
