package quota

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// Counts is what an app uses, over all nodes and regions.
type Counts struct {
	Connections int
	Documents   int // distinct documents with sessions
}

// Exchange carries questions about usage between the nodes of all regions that
// serve a license region. Only nodes that have sessions of an app hear questions
// about it. Nothing is stored anywhere.
type Exchange interface {
	// Answer has every question about the app answered by what reply returns,
	// until stop is called. reply may be called from any goroutine.
	Answer(app docid.AppID, reply func() []byte) (stop func(), err error)
	// Ask puts the question and calls each with the answers, one after the other,
	// until ctx ends or no more can come. This node may be among those who answer.
	Ask(ctx context.Context, app docid.AppID, each func(answer []byte)) error
}

// Ages of counts and the time that answers have: together at most 5 s.
const (
	countsAge = 4 * time.Second
	askWindow = 600 * time.Millisecond // twice around the world
)

// Usage counts what apps use when somebody wants to know, which costs a question
// to the nodes that have the app, at most every few seconds for each asking node.
// It is safe for concurrent use.
type Usage struct {
	exchange Exchange

	mu    sync.Mutex
	known map[docid.AppID]*counting
}

// counting is one look at an app's usage, under way or recent.
type counting struct {
	done   chan struct{}
	counts Counts
	err    error
}

// NewUsage makes a Usage.
func NewUsage(exchange Exchange) *Usage {
	return &Usage{exchange: exchange, known: map[docid.AppID]*counting{}}
}

// Of returns what the app uses, up to 5 s old. Errors wrap ErrUnavailable.
func (u *Usage) Of(ctx context.Context, app docid.AppID) (Counts, error) {
	u.mu.Lock()
	c := u.known[app]
	first := c == nil
	if first {
		c = &counting{done: make(chan struct{})}
		u.known[app] = c
	}
	u.mu.Unlock()
	if first {
		// Others may wait for it too: one who goes does not end it.
		c.counts, c.err = u.count(context.WithoutCancel(ctx), app)
		close(c.done)
		age := countsAge
		if c.err != nil {
			age = time.Second
		}
		time.AfterFunc(age, func() {
			u.mu.Lock()
			defer u.mu.Unlock()
			delete(u.known, app)
		})
	}
	select {
	case <-c.done:
		return c.counts, c.err
	case <-ctx.Done():
		return Counts{}, fmt.Errorf("count usage of %s: %w: %w", app, ErrUnavailable, ctx.Err())
	}
}

func (u *Usage) count(ctx context.Context, app docid.AppID) (Counts, error) {
	ctx, cancel := context.WithTimeout(ctx, askWindow)
	defer cancel()
	var answers tally
	if err := u.exchange.Ask(ctx, app, answers.add); err != nil {
		return Counts{}, fmt.Errorf("count usage of %s: %w: %w", app, ErrUnavailable, err)
	}
	return answers.counts(), nil
}

// maxHashes bounds an answer. A node with more documents sends the smallest
// hashes, which estimate how many documents it shares with others to about 2 %.
const maxHashes = 2048

// usageForm begins an answer: node, connections, documents, hashes follow.
const usageForm = 1

// usageAnswer is what this node says about an app.
func (a *app) usageAnswer() []byte {
	a.mu.Lock()
	connections, hashes := a.connections, make([]hash, 0, len(a.documents))
	for _, doc := range a.documents {
		hashes = append(hashes, doc.hash)
	}
	a.mu.Unlock()
	slices.Sort(hashes)
	node := a.places.config.Node
	b := []byte{usageForm}
	b = append(binary.AppendUvarint(b, uint64(len(node))), node...)
	b = binary.AppendUvarint(b, uint64(connections))
	b = binary.AppendUvarint(b, uint64(len(hashes)))
	for _, h := range hashes[:min(len(hashes), maxHashes)] {
		b = binary.BigEndian.AppendUint64(b, uint64(h))
	}
	return b
}

// tally sums answers.
type tally struct {
	nodes       map[string]bool
	connections int
	hashes      map[hash]bool
	below       hash // all hashes up to here are known; 0: all there are
}

var errUsage = errors.New("not an answer about usage")

// add takes an answer in; a second one of the same node, and what is none, are
// ignored.
func (t *tally) add(answer []byte) {
	node, connections, documents, hashes, err := parseUsage(answer)
	if err != nil || t.nodes[node] {
		return
	}
	if t.nodes == nil {
		t.nodes, t.hashes = map[string]bool{}, map[hash]bool{}
	}
	t.nodes[node] = true
	t.connections += connections
	for _, h := range hashes {
		t.hashes[h] = true
	}
	if documents > len(hashes) && len(hashes) > 0 {
		if last := hashes[len(hashes)-1]; t.below == 0 || last < t.below {
			t.below = last
		}
	}
}

// counts sums up. Where answers were cut, the density of the hashes that are
// surely complete tells how many there are.
func (t *tally) counts() Counts {
	c := Counts{Connections: t.connections, Documents: len(t.hashes)}
	if t.below > 0 {
		n := 0
		for h := range t.hashes {
			if h <= t.below {
				n++
			}
		}
		c.Documents = int(float64(n) / (float64(t.below) / math.MaxUint64))
	}
	return c
}

func parseUsage(b []byte) (node string, connections, documents int, hashes []hash, err error) {
	if len(b) == 0 || b[0] != usageForm {
		return "", 0, 0, nil, errUsage
	}
	b = b[1:]
	var numbers [3]uint64
	for i := range numbers {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > math.MaxInt32 {
			return "", 0, 0, nil, errUsage
		}
		numbers[i], b = n, b[size:]
		if i == 0 {
			if n > uint64(len(b)) {
				return "", 0, 0, nil, errUsage
			}
			node, b = string(b[:n]), b[n:]
		}
	}
	for ; len(b) >= 8; b = b[8:] {
		hashes = append(hashes, hash(binary.BigEndian.Uint64(b)))
	}
	if len(b) > 0 || !slices.IsSorted(hashes) {
		return "", 0, 0, nil, errUsage
	}
	return node, int(numbers[1]), int(numbers[2]), hashes, nil
}
