package bus

import "github.com/nats-io/nats.go"

const maxBacklog = 64 << 20

type link struct{}

func (l *link) up() bool     { return true }
func (l *link) backlog() int { return 0 }

func linkOf(*nats.Conn) *link { return nil }

func linked(server nats.InProcessConnProvider) []nats.Option {
	if server == nil {
		return nil
	}
	return []nats.Option{nats.InProcessServer(server)}
}
