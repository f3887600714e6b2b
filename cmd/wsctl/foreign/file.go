package foreign

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
)

// WriteFile writes a file as a whole or not at all.
func WriteFile(file string, force bool, write func(io.Writer) error) (size int64, err error) {
	if _, err := os.Lstat(file); err == nil && !force {
		return 0, exit.With(exit.Declined, "%s exists: nothing was written; use --force", file)
	}
	temporary, err := os.CreateTemp(filepath.Dir(file), ".wsctl-export-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(temporary.Name()) // gone already if all went well
	if err := write(temporary); err != nil {
		return 0, errors.Join(err, temporary.Close())
	}
	if info, err := temporary.Stat(); err == nil {
		size = info.Size()
	}
	if err := temporary.Close(); err != nil {
		return 0, err
	}
	return size, os.Rename(temporary.Name(), file)
}
