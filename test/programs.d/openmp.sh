# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
packages='g++ libgomp1'
version='g++ --version'

prepare() { g++ -O2 -fopenmp -o work-openmp programs.d/work.cpp; }

work() { OMP_NUM_THREADS=4 ../work-openmp 140; }
