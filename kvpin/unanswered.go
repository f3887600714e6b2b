package kvpin

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// Unanswered returns what nodes have been asked to look at of a document's store and have
// not, as a pin for each life that they held: a deletion that is repeated waits for those who were silent
// the first time, although the pin is gone. StoreChanged asks them again.
func (r *Registry) Unanswered(ctx context.Context, doc docid.Document) (asked []Pin, err error) {
	b, err := r.bucket(doc.License)
	if err != nil {
		return nil, err
	}
	suffix := strings.TrimPrefix(noticeKey("", doc.PinKey()), noticePrefix)
	err = b.notices.requests.store.Scan(ctx, noticePrefix+">", func(e kv.Entry) error {
		node, about := strings.CutSuffix(strings.TrimPrefix(e.Key, noticePrefix), suffix)
		var n noticeRecord
		if !about || !e.Present || json.Unmarshal(e.Value, &n) != nil || n.Lease == "" {
			return nil // about another document, or left by an earlier version
		}
		at := slices.IndexFunc(asked, func(p Pin) bool { return p.Epoch == n.Epoch })
		if at < 0 {
			at, asked = len(asked), append(asked, Pin{Epoch: n.Epoch})
		}
		asked[at].Holders = append(asked[at].Holders, Holder{docid.NodeID(node), n.Lease})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read who has not answered about %s: %w", doc, err)
	}
	return asked, nil
}
