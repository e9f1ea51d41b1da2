# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# As python-sqlite with the other journal, whose index is written by a mapping.
packages='python3 libsqlite3-0'
version='python3 -c "import sys, sqlite3; print(\"Python\", sys.version.split()[0] + \", SQLite\", sqlite3.sqlite_version)"'

work() { python3 ../programs.d/sqlite.py 60 wal /tmp; }
