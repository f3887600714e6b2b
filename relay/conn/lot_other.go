//go:build !linux

package conn

import "errors"

// lot lets connections rest without a goroutine where the system has epoll.
type lot struct{}

func openLot() (*lot, error) { return nil, errors.ErrUnsupported }
func (*lot) run()            {}
func (*lot) close()          {}
func (*lot) wake(uint64)     {}
func (*lot) rest(*Conn) bool { return false }
