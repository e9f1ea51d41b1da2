# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
packages=golang-go
version='go version'

prepare() { HOME=$PWD GOFLAGS=-mod=mod go build -o work-go programs.d/work.go; }

work() { ../work-go 60; }
