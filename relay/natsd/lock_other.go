//go:build !unix

package natsd

import "os"

// lock is for systems with flock only; elsewhere two processes on one directory
// are the operator's mistake to avoid.
func lock(string) (*os.File, error) { return nil, nil }
