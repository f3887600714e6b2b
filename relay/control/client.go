package control

import (
	"cmp"

	"github.com/wsnode/wsnode/docid"

	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/wsnode/wsnode/natsconn"
)

// Client asks the nodes of one region. It keeps nothing, and no request takes longer than
// its time. Its methods may be called concurrently.
type Client struct {
	nc      *nats.Conn
	timeout time.Duration // of one request
}

// NewClient makes a client on a connection to the region's NATS.
func NewClient(nc *nats.Conn, timeout time.Duration) *Client { return &Client{nc, timeout} }

// Identity names a node that answers.
type Identity struct {
	Node    docid.NodeID
	Region  docid.Region
	Version string
}

// Nodes answer a ping at once, so the first answer tells how long the others can
// take: when none has come for some times as long, all have.
const (
	leastSilence = 200 * time.Millisecond
	mostSilence  = 2 * time.Second
	silenceRatio = 5
)

// Nodes finds the nodes of the region, sorted. It takes a moment, since nobody
// knows how many there are; that there is none NATS says at once.
func (c *Client) Nodes(ctx context.Context) ([]Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	inbox := natsconn.NewInbox(c.nc)
	sub, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("look for nodes: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.nc.PublishRequest("$SRV.PING."+ServiceName, inbox, nil); err != nil {
		return nil, fmt.Errorf("look for nodes: %w", err)
	}
	var found []Identity
	start, silence := time.Now(), c.timeout
	for {
		wait, done := context.WithTimeout(ctx, silence)
		msg, err := sub.NextMsgWithContext(wait)
		done()
		switch {
		case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded):
			slices.SortFunc(found, func(a, b Identity) int {
				return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Node, b.Node))
			})
			return found, nil
		case err != nil:
			return nil, fmt.Errorf("look for nodes: %w", err)
		}
		if len(found) == 0 {
			silence = min(max(silenceRatio*time.Since(start), leastSilence), mostSilence)
		}
		var ping micro.Ping
		if err := json.Unmarshal(msg.Data, &ping); err == nil && ping.Metadata["node"] != "" {
			found = append(found, Identity{docid.NodeID(ping.Metadata["node"]), docid.Region(ping.Metadata["region"]), ping.Metadata["version"]})
		}
	}
}

// ask sends a request to a node and reads its answer. Errors are *Error, or say
// that the node does not answer.
func ask[A any](ctx context.Context, c *Client, verb string, node docid.NodeID, request any) (answer A, err error) {
	body, err := json.Marshal(request)
	if err != nil {
		return answer, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	msg, err := c.request(ctx, Subject(verb, node), body)
	if err != nil {
		return answer, fmt.Errorf("node %s: %w", node, err)
	}
	if description := msg.Header.Get(micro.ErrorHeader); description != "" {
		code, _ := strconv.Atoi(msg.Header.Get(micro.ErrorCodeHeader))
		return answer, fmt.Errorf("node %s: %w", node, &Error{code, description})
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return answer, fmt.Errorf("node %s: answer to %s: %w", node, verb, err)
	}
	return answer, nil
}

// request takes its answer on an inbox of its own: nats.go's are alike, and a node
// that has seen one could answer in the place of another.
func (c *Client) request(ctx context.Context, subject string, body []byte) (*nats.Msg, error) {
	inbox := natsconn.NewInbox(c.nc)
	sub, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be closed already
	if err := c.nc.PublishRequest(subject, inbox, body); err != nil {
		return nil, err
	}
	return sub.NextMsgWithContext(ctx)
}

// Info describes a node.
func (c *Client) Info(ctx context.Context, node docid.NodeID) (Info, error) {
	return ask[Info](ctx, c, InfoVerb, node, struct{}{})
}

// Sessions streams the sessions of a node in the order in which they began.
func (c *Client) Sessions(ctx context.Context, node docid.NodeID, f Filter) iter.Seq2[Session, error] {
	return pages[Session](ctx, c, SessionsVerb, node, PageRequest{Filter: f})
}

// SessionsAfter is Sessions of those that began after the one with that id.
func (c *Client) SessionsAfter(ctx context.Context, node docid.NodeID, f Filter, after uint64) iter.Seq2[Session, error] {
	return pages[Session](ctx, c, SessionsVerb, node, PageRequest{Filter: f, After: after})
}

// Documents streams the documents that are live on a node.
func (c *Client) Documents(ctx context.Context, node docid.NodeID, f Filter) iter.Seq2[DocumentRow, error] {
	return pages[DocumentRow](ctx, c, DocumentsVerb, node, PageRequest{Filter: f})
}

// Busiest returns the documents with the most edits per second on a node, at most
// n and 100.
func (c *Client) Busiest(ctx context.Context, node docid.NodeID, f Filter, n int) ([]DocumentRow, error) {
	page, err := ask[Page[DocumentRow]](ctx, c, DocumentsVerb, node, PageRequest{Filter: f, Busiest: n})
	return page.Rows, err
}

// pages fetches page after page, while somebody wants rows.
func pages[T any](ctx context.Context, c *Client, verb string, node docid.NodeID, r PageRequest) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			page, err := ask[Page[T]](ctx, c, verb, node, r)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, row := range page.Rows {
				if !yield(row, nil) {
					return
				}
			}
			if !page.More {
				return
			}
			r.After = page.Next
		}
	}
}

// Stat describes a document as a node has it.
func (c *Client) Stat(ctx context.Context, node docid.NodeID, d Document) (DocumentStat, error) {
	return ask[DocumentStat](ctx, c, StatVerb, node, StatRequest{d})
}

// Export fetches the state of a document as one Yjs update, calling write with
// part after part.
func (c *Client) Export(ctx context.Context, node docid.NodeID, d Document, write func([]byte) error) error {
	return c.parts(ctx, ExportVerb, node, ExportRequest{Document: d}, func(part []byte, _ int) error { return write(part) })
}

// parts fetches what a node hands out part by part, and its size.
func (c *Client) parts(ctx context.Context, verb string, node docid.NodeID, r ExportRequest, write func([]byte, int) error) error {
	for {
		part, err := ask[Export](ctx, c, verb, node, r)
		if err != nil {
			return err
		}
		if err := write(part.Data, part.Size); err != nil {
			return err
		}
		r = ExportRequest{Export: part.Export, Offset: r.Offset + len(part.Data)}
		if r.Offset >= part.Size {
			return nil
		}
		if len(part.Data) == 0 {
			return fmt.Errorf("node %s: the export ends at %d of %d bytes", node, r.Offset, part.Size)
		}
	}
}

// Recent returns whom a node turned away and which sessions ended after those
// sequences, as far as the node remembers and an answer holds: Next and More of
// both listings say how to go on.
func (c *Client) Recent(ctx context.Context, node docid.NodeID, r RecentRequest) (Recent, error) {
	return ask[Recent](ctx, c, RecentVerb, node, r)
}

// Trace has a node go through a connect without making one.
func (c *Client) Trace(ctx context.Context, node docid.NodeID, r TraceRequest) (Trace, error) {
	return ask[Trace](ctx, c, TraceVerb, node, r)
}

// Kick ends sessions of a node.
func (c *Client) Kick(ctx context.Context, node docid.NodeID, r KickRequest) (KickAnswer, error) {
	return ask[KickAnswer](ctx, c, KickVerb, node, r)
}

// Drain begins to take a node out of service.
func (c *Client) Drain(ctx context.Context, node docid.NodeID, delay, spread time.Duration) error {
	_, err := ask[struct{}](ctx, c, DrainVerb, node, DrainRequest{delay.Milliseconds(), spread.Milliseconds()})
	return err
}
