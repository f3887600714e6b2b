package room

import (
	"context"
	"errors"

	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/ystore"
)

// Leftovers reads a history without a room, which would write into it, and returns what
// it holds as one update, with what is deleted if that is kept. A message that makes no sense
// is an error: what is returned may be all that stays.
func Leftovers(ctx context.Context, h oplog.History, subject string, keep bool) (update []byte, found oplog.Loaded, err error) {
	left := ystore.New(ystore.Limits{})
	if keep {
		left.Keep()
	}
	var malformed error
	refuse := func(err error) { malformed = errors.Join(malformed, err) }
	found, err = oplog.Load(ctx, h, subject, func(_ oplog.Kind, update []byte, _ bool) {
		if _, err := left.Apply(update); err != nil {
			refuse(err)
		}
	}, refuse)
	if err = errors.Join(err, malformed); err != nil {
		return nil, oplog.Loaded{}, err
	}
	return left.Encode(), found, nil
}
