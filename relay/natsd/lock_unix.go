//go:build unix

package natsd

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// errLocked is returned when another process runs a server in the directory.
// nats-server itself would share it and destroy the files.
var errLocked = errors.New("another process uses this directory")

// lock takes the directory of path for this process; the kernel lets go of it
// when the process ends in whatever way.
func lock(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, errLocked
	}
	return f, nil
}
