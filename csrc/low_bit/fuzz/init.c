/* The first process of an emulated machine: says what the processor has, runs the commands of /runs one after the other
 * with the serial port as their output, and switches the machine off. See bochs.sh.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_WORDS 15

static void has(const char *name, int found) { printf(" %s %d", name, found != 0); }

/* The status of a command with words between blanks; 128 and more where a signal ended it. */
static int run(char *line) {
    char *word[MOST_WORDS + 1] = {NULL};
    int words = 0, status = 0;
    for (char *at = strtok(line, " \n"); at != NULL && words < MOST_WORDS; at = strtok(NULL, " \n")) {
        word[words++] = at;
    }
    if (words == 0) {
        return 0;
    }
    const pid_t child = fork();
    if (child == 0) {
        execv(word[0], word);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return 126;
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int main(void) {
    mkdir("/dev", 0755);
    mknod("/dev/ttyS0", S_IFCHR | 0600, makedev(4, 64));
    const int serial = open("/dev/ttyS0", O_RDWR);
    for (int i = 0; i < 3; ++i) {
        dup2(serial, i);
    }
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("\nprocessor:");
    has("avx2", __builtin_cpu_supports("avx2"));
    has("avx512bw", __builtin_cpu_supports("avx512bw"));
    has("avx512vl", __builtin_cpu_supports("avx512vl"));
    has("avx512vbmi", __builtin_cpu_supports("avx512vbmi"));
    has("avx512vnni", __builtin_cpu_supports("avx512vnni"));
    printf("\n");
    FILE *runs = fopen("/runs", "r");
    for (char line[256]; runs != NULL && fgets(line, sizeof line, runs) != NULL;) {
        printf("run: %s", line);
        printf("status %d\n", run(line));
    }
    sleep(1); /* until the port has sent all */
    if (ioperm(0x8900, 1, 1) == 0) { /* Bochs ends where it reads this there */
        for (const char *letter = "Shutdown"; *letter != 0; ++letter) {
            outb((unsigned char)*letter, 0x8900);
        }
    }
    for (;;) {
        pause();
    }
}
