package history

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// State is what a shard holds.
type State struct {
	Shard    int
	Messages uint64
	Bytes    uint64
	MaxBytes int64 // -1: no limit of its own
	Subjects uint64
	Replicas int
	Leader   string // empty on a single server
}

// State asks the leaders of all shards, for metrics.
func (h *History) State(ctx context.Context) ([]State, error) {
	states := make([]State, 0, h.shards)
	for shard := range h.shards {
		var answer struct {
			Error  *jetstream.APIError
			Config struct {
				MaxBytes    int64 `json:"max_bytes"`
				NumReplicas int   `json:"num_replicas"`
			}
			State struct {
				Messages    uint64
				Bytes       uint64
				NumSubjects uint64 `json:"num_subjects"`
			}
			Cluster struct{ Leader string }
		}
		err := h.ask(ctx, "STREAM.INFO."+h.streamName(shard), "", &answer, attemptTime)
		if err == nil && answer.Error != nil {
			err = typed(answer.Error)
		}
		if err != nil {
			return nil, fmt.Errorf("state of %s: %w", h.streamName(shard), err)
		}
		states = append(states, State{
			Shard:    shard,
			Messages: answer.State.Messages,
			Bytes:    answer.State.Bytes,
			MaxBytes: answer.Config.MaxBytes,
			Subjects: answer.State.NumSubjects,
			Replicas: answer.Config.NumReplicas,
			Leader:   answer.Cluster.Leader,
		})
	}
	return states, nil
}

// Account is how much of the account's storage is in use, and its limit: 0 if it has
// none, as that of a server without accounts. Streams without a limit of their own
// are full when the account is.
func (h *History) Account(ctx context.Context) (used, limit uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	account, err := h.jetStream().AccountInfo(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("limits of the account: %w", err)
	}
	tier := account.Tier
	if tiers := account.Tiers; len(tiers) > 0 {
		tier = tiers[fmt.Sprintf("R%d", h.config.Replicas)]
	}
	return tier.Store, uint64(max(tier.Limits.MaxStore, 0)), nil
}
