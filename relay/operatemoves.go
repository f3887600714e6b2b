package relay

import (
	"context"
	"errors"

	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/live"
)

// Move moves a document that lives in this region to another one, which its clients are
// told, or carried to.
func (o *operator) Move(ctx context.Context, r control.MoveRequest) (control.Moved, error) {
	doc := r.Document.Docname()
	switch {
	case o.life.draining():
		return control.Moved{}, moveError(errDraining)
	case !o.homes.settings(doc.AppID()).In(r.To):
		return control.Moved{}, control.Wrong("the documents of %s/%s may not be in %s: see the app's setting regions", doc.Tenant, doc.App, r.To)
	}
	// Where its clients would be sent.
	if _, err := o.cfg.Registry.RegionURL(ctx, r.To); err != nil {
		return control.Moved{}, moveError(err)
	}
	var m live.Move
	err := o.life.during(ctx, func(ctx context.Context) (err error) {
		m, err = o.docs.Moves.Move(ctx, doc, r.To)
		return err
	})
	if err != nil {
		return control.Moved{}, moveError(err)
	}
	return control.Moved{TookMS: milliseconds(m.Took), StoppedMS: milliseconds(m.Stopped)}, nil
}

// Unstored lists lives of documents whose histories in this region hold what is not stored.
func (o *operator) Unstored(ctx context.Context) (control.Unstored, error) {
	u := control.Unstored{Documents: []control.Document{}}
	for doc, err := range o.docs.Unstored(ctx) {
		if err != nil {
			return u, moveError(err)
		}
		if u.Count++; len(u.Documents) < control.MaxUnstored {
			u.Documents = append(u.Documents, control.NewDocument(doc))
		}
	}
	return u, nil
}

// moveError says to an operator why a document was not moved, and whether it can be later.
func moveError(err error) error {
	code := control.CodeUnavailable
	switch {
	case errors.Is(err, kvpin.ErrImmovable):
		code = control.CodeWrong
	case errors.Is(err, live.ErrNotLive), errors.Is(err, kvpin.ErrNotServed), errors.Is(err, kvpin.ErrNotFound):
		code = control.CodeNotFound
	case errors.Is(err, live.ErrDeleted):
		code = control.CodeGone
	case errors.Is(err, kvpin.ErrMoving), errors.Is(err, kvpin.ErrConflict):
		code = control.CodeConflict
	}
	return &control.Error{Code: code, Description: err.Error()}
}
