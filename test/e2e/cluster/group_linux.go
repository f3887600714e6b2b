package cluster

import "syscall"

// ownGroup gives the process a process group, so that Stop reaches the children
// of `go run`, and has the kernel kill it when the test process is gone, however
// that came: a test that ran out of time leaves nothing behind.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
