package cluster

import "syscall"

// dieWithParent has the kernel kill the process when the test process is gone,
// however that came: a test that ran out of time leaves nothing behind.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
