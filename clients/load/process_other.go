//go:build !linux

package load

import "errors"

var errNoProc = errors.New("CPU time and memory of a process are read on Linux only")

func cpuTime([]int) (int64, error)  { return 0, errNoProc }
func resident([]int) (int64, error) { return 0, errNoProc }
