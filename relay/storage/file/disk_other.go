//go:build !unix

package file

import "os"

// lock is for systems with flock only; elsewhere two processes on one directory
// are the operator's mistake to avoid.
func lock(string) (*os.File, error) { return nil, nil }

// syncDir does nothing where a directory cannot be synced: names are then on the
// disk when the system sees fit.
func syncDir(string) error { return nil }
