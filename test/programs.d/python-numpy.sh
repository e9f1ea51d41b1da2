# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# Threads of Python and of BLAS, processes, queues.
packages='python3 python3-numpy'
version='python3 -c "import sys, numpy; print(\"Python\", sys.version.split()[0] + \", numpy\", numpy.__version__)"'

work() { python3 ../subject/numpy_work.py 25; }
