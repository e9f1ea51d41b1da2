// SPDX-License-Identifier: GPL-2.0-or-later
// work UNITS: OpenMP loops, reductions and tasks over whole numbers, whose sums
// do not depend on the order.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

static uint64_t fib(int n)
{
	if (n < 20)
		return n < 2 ? n : fib(n - 1) + fib(n - 2);
	uint64_t a, b;
#pragma omp task shared(a)
	a = fib(n - 1);
#pragma omp task shared(b)
	b = fib(n - 2);
#pragma omp taskwait
	return a + b;
}

int main(int, char **argv)
{
	std::vector<uint64_t> state(1 << 22);
	for (int unit = 0; unit < atoi(argv[1]); unit++) {
		uint64_t sum = 0, f = 0;
#pragma omp parallel for schedule(dynamic, 4096) reduction(+ : sum)
		for (size_t i = 0; i < state.size(); i++) {
			uint64_t x = state[i] + i;
			for (int k = 0; k < 12; k++)
				x = (x ^ x >> 31) * 0x9e3779b97f4a7c15;
			sum += state[i] = x;
		}
#pragma omp parallel
#pragma omp single
		f = fib(30);
		printf("%d %016llx %llu\n", unit, (unsigned long long)sum, (unsigned long long)f);
		fflush(stdout);
		std::this_thread::sleep_for(std::chrono::milliseconds(250));
	}
}
