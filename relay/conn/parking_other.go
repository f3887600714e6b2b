//go:build !linux

package conn

import "errors"

// parking lets connections wait without a goroutine where the system has epoll.
type parking struct{}

func openParking() (*parking, error) { return nil, errors.ErrUnsupported }
func (*parking) run()                {}
func (*parking) close()              {}
func (*parking) wake(uint64)         {}
func (*parking) park(c *Conn) bool   { return false }
