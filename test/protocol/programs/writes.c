// Writes on a disk in every way that programs have, then waits until it is killed: `writes [wait]`.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZE = 10000 };

static int make(const char *name)
{
	return open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
}

static void fill(char *to, char with)
{
	for (int i = 0; i < SIZE; i++)
		to[i] = (char)(with + i % 7);
}

int main(int argc, char **argv)
{
	char text[SIZE];
	fill(text, 'a');
	int file = make("synced");
	printf("synced: write %zd", write(file, text, SIZE));
	printf(" fsync %d\n", fsync(file));
	file = make("closed");
	printf("closed: write %zd", write(file, text, SIZE));
	printf(" close %d\n", close(file));
	file = make("open");
	printf("open: write %zd\n", write(file, text, SIZE));

	static const char *const names[] = {"mapped", "mapped-synced", "mapped-unmapped"};
	for (int i = 0; i < 3; i++) {
		file = make(names[i]);
		printf("%s: ftruncate %d", names[i], ftruncate(file, SIZE));
		char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
		if (map == MAP_FAILED) {
			printf(" mmap failed: %m\n");
			continue;
		}
		fill(map, 'h');
		if (i == 1)
			printf(" msync %d", msync(map, SIZE, MS_SYNC));
		if (i == 2)
			printf(" munmap %d", munmap(map, SIZE));
		printf(" close %d\n", close(file));
		file = open(names[i], O_RDONLY);
		char back[SIZE] = "";
		ssize_t got = read(file, back, SIZE);
		fill(text, 'h');
		printf("%s: read back %zd %s\n", names[i], got, memcmp(back, text, SIZE) ? "differs" : "same");
		close(file);
	}
	file = open("input", O_RDONLY);
	char *map = mmap(NULL, 9, PROT_READ, MAP_SHARED, file, 0);
	printf("input mapped: %.9s\n", map == MAP_FAILED ? "failed" : map);
	puts("ready");
	fflush(stdout);
	if (argc > 1)
		pause();
	return 0;
}
