// SPDX-License-Identifier: GPL-2.0-or-later

// work.go UNITS: two thousand goroutines that live on, channels, timers.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

const many = 2000

func stage(in <-chan [32]byte, out chan<- [32]byte, n int, group *sync.WaitGroup) {
	defer group.Done()
	for state := range in {
		for i := 0; i < 40; i++ {
			state = sha256.Sum256(append(state[:], byte(n), byte(i)))
		}
		out <- state
	}
	close(out)
}

func main() {
	units, _ := strconv.Atoi(os.Args[1])
	var group sync.WaitGroup
	first := make(chan [32]byte, 8)
	last := first
	for n := 0; n < many; n++ {
		next := make(chan [32]byte)
		group.Add(1)
		go stage(last, next, n, &group)
		last = next
	}
	go func() {
		defer close(first)
		for unit := 0; unit < units; unit++ {
			for n := 0; n < 16; n++ {
				first <- sha256.Sum256([]byte(fmt.Sprint(unit, n)))
			}
			<-time.After(300 * time.Millisecond)
		}
	}()
	total, n := [32]byte{}, 0
	for state := range last {
		total = sha256.Sum256(append(total[:], state[:]...))
		if n++; n%16 == 0 {
			fmt.Printf("%d %x\n", n, total)
		}
	}
	group.Wait()
}
