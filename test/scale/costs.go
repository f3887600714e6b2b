package main

import "time"

// Cost is what one thing costs or carries, and where the figure comes from.
type Cost struct {
	What   string
	Value  float64
	Unit   string
	Source string
}

// Measured on two shared cores of a Xeon with nats-server 2.15.2, clients on the same
// cores: what a registry or NATS carries is therefore what it carries at least.
var (
	registryWrites = Cost{"a registry carries: writes", 10_000, "/s",
		"11,900 claims/s on three replicas, each a write ([benchmarks](benchmarks.md#the-registry)), without syncing each write, which takes a third more"}
	registryReads = Cost{"a registry carries: reads by its leader", 20_000, "/s",
		"9,400 look-ups/s on three replicas, 20,000 on one; reads are the leader's alone, and three servers shared two cores"}
	registryScan = Cost{"a scan of a registry goes through: pins", 105_000, "/s", "`kvpin` benchmark `scan`, one at a time"}
	pinMemory    = Cost{"a pin, or a document's history subject, in NATS's memory", 151, "B", "1 million subjects in one stream"}

	appendsPerStream = Cost{"a history stream carries: appends", 48_000, "/s", "three replicas, each append synced; 70,000 otherwise"}
	appendCPU        = Cost{"an append, three replicas, copies included: CPU of NATS", 15, "µs", "at thousands per second"}
	messageCPU       = Cost{"a message between pods: CPU of NATS and both pods", 1.25, "µs", "`relay/bus` benchmark `PublishAndReceive`"}

	connectionMemory = Cost{"a document with one connection: memory of the pod", 14.3, "KiB", "8,000 idle ones on a `wsnode serve`, NATS apart: `wsctl bench idle --clients 1`"}
	furtherMemory    = Cost{"a further connection to it: memory of the pod", 8.7, "KiB", "the same with `--clients 10`"}
	subscribedMemory = Cost{"an open document: memory of the region's NATS", 4.3, "KiB", "the same: two subscriptions and the registry's pin"}
	connectCPU       = Cost{"a connect: CPU of the pod", 0.25, "ms", "the same: token, pin, history"}
	deliveryCPU      = Cost{"an edit written to a client: CPU of the pod", 13, "µs", "3,600 a second on one core, NATS and history included; 10 at 18,000 ([benchmarks](benchmarks.md))"}
)

var costs = []*Cost{
	&registryWrites, &registryReads, &registryScan, &pinMemory, &appendsPerStream, &appendCPU, &messageCPU,
	&connectionMemory, &furtherMemory, &subscribedMemory, &connectCPU, &deliveryCPU,
}

// What a pod and a server are taken to have.
const (
	podMemory = 8 << 30
	podCores  = 2
	podFull   = 0.8                    // where a node turns overloaded
	natsCores = 8                      // of the region's three servers together
	farthest  = 200 * time.Millisecond // from a pod to a registry and back
)
