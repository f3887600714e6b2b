//go:build !linux

package conn

import "time"

// roundTrip is known on Linux only.
func (c *socket) roundTrip() time.Duration { return 0 }
