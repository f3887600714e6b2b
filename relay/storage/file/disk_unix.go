//go:build unix

package file

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/wsnode/wsnode/relay/storage"
)

// lock takes the file for this process; the kernel lets go of it when the process
// ends in whatever way.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, storage.ErrInUse
		}
		return nil, err
	}
	return f, nil
}

// syncDir puts the names in a directory on the disk.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return errors.Join(fmt.Errorf("sync %s: %w", dir, err), f.Close())
	}
	return f.Close()
}
