package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/oplog"
)

// claim makes this node a holder of the document's pin. Without the registry, a
// document that is live in this region still takes its users: the rooms of the
// region are asked, and the entry is owed.
func (ds *Documents) claim(ctx context.Context, doc docid.Document) (*kvpin.Hold, error) {
	hold, err := ds.o.Registry.Hold(ctx, doc)
	var elsewhere *kvpin.PinnedError
	switch {
	case err == nil:
		return hold, nil
	case errors.As(err, &elsewhere):
		return nil, ds.o.Redirect(ctx, doc, elsewhere.Pin)
	case errors.Is(err, kvpin.ErrEvacuated):
		return nil, ds.o.Elsewhere(ctx, doc)
	case !errors.Is(err, kvpin.ErrUnavailable):
		return nil, err
	}
	epoch, ok, _ := ds.Who(ctx, doc)
	if !ok {
		return nil, err
	}
	return ds.o.Registry.Adopt(doc, kvpin.Epoch(epoch))
}

// whoTimeout is how long the rooms of the region have to answer.
const whoTimeout = 300 * time.Millisecond

// Who asks the region whether a document is live in it, and in which epoch. The error
// is bus.ErrNobody if nobody has it, and another one if nobody said in time.
func (ds *Documents) Who(ctx context.Context, doc docid.Document) (epoch string, ok bool, err error) {
	if d := ds.Get(doc); d != nil {
		return d.room.Epoch(), true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, whoTimeout)
	defer cancel()
	answer, err := ds.o.Bus.Request(ctx, doc.SignalsSubject(), oplog.Question())
	if err != nil {
		return "", false, err
	}
	epoch, ok = oplog.ReadWho(answer)
	return epoch, ok, nil
}

// Alive is for kvpin.Config: it asks the other nodes of the region whether one of them
// has a document open in an epoch.
func (ds *Documents) Alive(ctx context.Context, doc docid.Document, epoch kvpin.Epoch) (bool, error) {
	answer, err := ds.o.Bus.Request(ctx, doc.SignalsSubject(), oplog.Question())
	switch {
	case errors.Is(err, bus.ErrNobody):
		return false, nil
	case errors.Is(err, context.DeadlineExceeded) && ds.o.Bus.Connected():
		return false, fmt.Errorf("%w: %w", kvpin.ErrSilent, err)
	case err != nil:
		return false, err
	}
	got, ok := oplog.ReadWho(answer)
	return ok && got == string(epoch), nil
}
