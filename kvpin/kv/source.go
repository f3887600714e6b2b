package kv

import "github.com/nats-io/nats.go"

// Source says where a bucket is and how it is looked after.
type Source struct {
	// URL of the NATS cluster. Buckets with the same URL share one connection,
	// made with the options of the first; empty URLs count as the same.
	URL string
	// Options of the connection: credentials, TLS, an in-process server. What a
	// bucket depends on is set after them: no reconnect buffer, endless
	// reconnects, its own name.
	Options []nats.Option
	// Domain is the JetStream domain of the bucket; empty for none.
	Domain string
	// Replicas of a bucket that is created; 0 stands for 1. An existing bucket must
	// have at least as many.
	Replicas int
	// Create has a missing bucket created. Otherwise buckets are only checked.
	Create bool
}
