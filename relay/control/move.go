package control

import (
	"context"

	"github.com/wsnode/wsnode/docid"
)

// MoveRequest asks for a document to be moved to another region.
type MoveRequest struct {
	Document Document     `json:"document"`
	To       docid.Region `json:"to"`
}

// Moved says how a document was moved.
type Moved struct {
	TookMS    float64 `json:"tookMs"`
	StoppedMS float64 `json:"stoppedMs"` // of it, how long nobody could edit where it lived
}

// Unstored are lives of documents that are not stored.
type Unstored struct {
	Count     int        `json:"count"`
	Documents []Document `json:"documents"` // some of them
}

// MaxUnstored is how many documents an answer names.
const MaxUnstored = 20

// Move has a node move a document of its region to another one. The node goes on with it
// when ctx ends.
func (c *Client) Move(ctx context.Context, node docid.NodeID, r MoveRequest) (Moved, error) {
	return ask[Moved](ctx, c.forStores(), MoveVerb, node, r)
}

// Unstored lists what is not stored in a node's region.
func (c *Client) Unstored(ctx context.Context, node docid.NodeID) (Unstored, error) {
	return ask[Unstored](ctx, c.forStores(), UnstoredVerb, node, struct{}{})
}
