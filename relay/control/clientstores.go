package control

import (
	"github.com/wsnode/wsnode/docid"

	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// storeTimeout is how long a client waits for a store behind a node, at least.
const storeTimeout = storeRequestTimeout + 5*time.Second

// forStores is the client with the time that stores need.
func (c *Client) forStores() *Client { return &Client{c.nc, max(c.timeout, storeTimeout)} }

// Stores says which stores a node has. With check it tries each out.
func (c *Client) Stores(ctx context.Context, node docid.NodeID, check bool) ([]StoreState, error) {
	if check {
		c = c.forStores()
	}
	return ask[[]StoreState](ctx, c, StoresVerb, node, StoresRequest{check})
}

// Stored says what a node's store has of a document.
func (c *Client) Stored(ctx context.Context, node docid.NodeID, d Document) (Stored, error) {
	return ask[Stored](ctx, c.forStores(), StoredVerb, node, StatRequest{d})
}

// Fetch reads the stored body of a document, or a former one, calling write with part
// after part.
func (c *Client) Fetch(ctx context.Context, node docid.NodeID, d Document, version string, write func(part []byte, size int) error) error {
	return c.forStores().parts(ctx, FetchVerb, node, ExportRequest{Document: d, Version: version}, write)
}

// StoreVersions lists the former bodies of a document, the newest first.
func (c *Client) StoreVersions(ctx context.Context, node docid.NodeID, d Document) iter.Seq2[StoreVersion, error] {
	return func(yield func(StoreVersion, error) bool) {
		for from := 0; ; {
			page, err := ask[StoreVersionsPage](ctx, c.forStores(), VersionsVerb, node, StoreVersionsRequest{d, from})
			if err != nil {
				yield(StoreVersion{}, err)
				return
			}
			for _, row := range page.Rows {
				if !yield(row, nil) {
					return
				}
			}
			if from = page.Next; from == 0 {
				return
			}
		}
	}
}

// StoreErase removes the former bodies of a document that is deleted.
func (c *Client) StoreErase(ctx context.Context, node docid.NodeID, d Document) (StoreErased, error) {
	return ask[StoreErased](ctx, c.forStores(), EraseVerb, node, StatRequest{d})
}

// StoreAccept says what a store has lost of a document that histories of the node's region
// stand on, and, unless it is a dry run, has them go on without.
func (c *Client) StoreAccept(ctx context.Context, node docid.NodeID, r StoreAcceptRequest) (StoreAccepted, error) {
	return ask[StoreAccepted](ctx, c.forStores(), AcceptVerb, node, r)
}

// StoreList streams what a node's store has.
func (c *Client) StoreList(ctx context.Context, node docid.NodeID, r StoreListRequest) iter.Seq2[StoreEntry, error] {
	return func(yield func(StoreEntry, error) bool) {
		for {
			page, err := ask[StoreListPage](ctx, c.forStores(), StoreListVerb, node, r)
			if err != nil {
				yield(StoreEntry{}, err)
				return
			}
			for _, row := range page.Rows {
				if !yield(row, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			r.After = page.Next
		}
	}
}

// StorePut puts an update into a node's store; r names the document and how. sent, if
// it is not nil, is told how much is on its way.
func (c *Client) StorePut(ctx context.Context, node docid.NodeID, r StorePutRequest, update []byte, sent func(bytes int)) (StoreResult, error) {
	c = c.forStores()
	part := int(min(c.nc.MaxPayload(), 1<<20)) / 2 // base64 takes a third more
	r.Size = len(update)
	for {
		r.Data = update[r.Offset:min(r.Offset+part, len(update))]
		answer, err := ask[StorePutAnswer](ctx, c, StorePutVerb, node, r)
		if err != nil {
			return StoreResult{}, err
		}
		r.Offset += len(r.Data)
		if sent != nil {
			sent(r.Offset)
		}
		if answer.Result != nil {
			return *answer.Result, nil
		}
		if r.Offset >= len(update) {
			return StoreResult{}, fmt.Errorf("node %s: %w", node, errors.New("it has the whole update, and no result"))
		}
		r.Put = answer.Put
	}
}

// Save has the store keep a document that is open on a node now.
func (c *Client) Save(ctx context.Context, node docid.NodeID, d Document) (Kept, error) {
	return ask[Kept](ctx, c.forStores(), SaveVerb, node, StatRequest{d})
}

// StoreDelete puts a tombstone in the place of a document.
func (c *Client) StoreDelete(ctx context.Context, node docid.NodeID, d Document) (StoreResult, error) {
	return ask[StoreResult](ctx, c.forStores(), StoreDelVerb, node, StatRequest{d})
}

// StoreDrop takes the content of what is deleted out of a document.
func (c *Client) StoreDrop(ctx context.Context, node docid.NodeID, d Document) (StoreResult, error) {
	return ask[StoreResult](ctx, c.forStores(), StoreDropVerb, node, StatRequest{d})
}

// StoreName makes the store of a license region this installation's.
func (c *Client) StoreName(ctx context.Context, node docid.NodeID, r StoreNameRequest) (StoreState, error) {
	return ask[StoreState](ctx, c.forStores(), StoreNameVerb, node, r)
}
