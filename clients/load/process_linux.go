package load

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// cpuTime is the user and system time that processes have used, in nanoseconds. It
// asks the processes' CPU clocks, which are exact where /proc counts in ticks of 10 ms.
func cpuTime(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		const cpuClockSched = 2 // of the whole process: see clock_getcpuclockid(3)
		var t unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|cpuClockSched), &t); err != nil {
			return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
		}
		sum += t.Nano()
	}
	return sum, nil
}

// resident is the memory of processes that is in RAM, in bytes.
func resident(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, err
		}
		_, after, _ := bytes.Cut(status, []byte("VmRSS:"))
		fields := bytes.Fields(after)
		if len(fields) == 0 {
			return 0, fmt.Errorf("process %d has no VmRSS", pid)
		}
		kib, err := strconv.ParseInt(string(fields[0]), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += kib << 10
	}
	return sum, nil
}
