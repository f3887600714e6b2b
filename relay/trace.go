package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/quota"
)

// tracer goes the way of connect without leaving anything behind: it looks where
// connect takes. Its steps are in the order of the connect path.
type tracer struct {
	o     *operator
	r     control.TraceRequest
	doc   docid.Document
	trace control.Trace
	epoch string // of the document, if it lives in this region
	state kvpin.State
	grant *authn.Grant // nil without a token
}

// Trace says what would happen to a client that connects here now.
func (o *operator) Trace(ctx context.Context, r control.TraceRequest) control.Trace {
	t := &tracer{o: o, r: r, doc: r.Document.Docname()}
	t.trace = control.Trace{Node: o.cfg.Node, Region: o.cfg.Region}
	for _, step := range []struct {
		name string
		take func(context.Context) (detail string, err error)
	}{
		{"token", t.token}, {"document", t.document}, {"node", t.node}, {"pin", t.pin}, {"limits", t.limits}, {"history", t.history}, {"room", t.room},
	} {
		start := time.Now()
		detail, err := step.take(ctx)
		s := control.Step{Name: step.name, OK: err == nil, Detail: detail, MS: milliseconds(time.Since(start))}
		if err != nil {
			a := answer(err)
			t.trace.Code, t.trace.Reason = a.code, a.reason
			s.Detail = strings.TrimPrefix(detail+"; "+err.Error(), "; ")
		}
		t.trace.Steps = append(t.trace.Steps, s)
		if err != nil {
			break
		}
	}
	t.trace.Document = control.NewDocument(t.doc)
	return t.trace
}

func (t *tracer) token(ctx context.Context) (string, error) {
	if t.r.Token == "" {
		if !t.o.cfg.Registry.Serves(t.doc.License) {
			return "", errLicense
		}
		return "not given, taken as good", nil
	}
	grant, err := t.o.gate.verify(ctx, t.r.Token, authn.Caller{})
	if err != nil {
		return "", err
	}
	if !grant.AllowsOrigin(t.r.Origin) {
		return "", errOrigin
	}
	t.doc, t.grant = grant.Document(t.r.Name), grant
	detail := fmt.Sprintf("%s until %s, %s", grant.AppID(), grant.Expires.UTC().Format(time.RFC3339), limitsInWords(grant.Limits))
	name, err := docid.Parse(t.r.Name)
	if err != nil {
		return detail, err
	}
	if _, granted := grant.Access(name); !granted {
		return detail, errDocument
	}
	return detail, nil
}

func (t *tracer) document(context.Context) (detail string, err error) {
	if t.doc.Name, err = docid.Parse(t.doc.Name); err != nil {
		return "", err
	}
	return t.doc.String(), nil
}

func (t *tracer) node(context.Context) (string, error) {
	switch {
	case t.o.life.draining():
		return "", errDraining
	case t.o.gate.gauge.Overloaded():
		return fmt.Sprintf("load %.2f", t.o.gate.gauge.Load()), errOverloaded
	}
	return t.o.health.state(), nil
}

// pin looks where the document lives. That this node would have to claim it, or
// take it over, is no obstacle.
func (t *tracer) pin(ctx context.Context) (string, error) {
	o := t.o
	pin, state, err := o.cfg.Registry.Lookup(ctx, t.doc)
	if errors.Is(err, kvpin.ErrUnavailable) {
		epoch, here, _ := o.docs.Who(ctx, t.doc)
		if !here {
			return "", err
		}
		t.epoch = epoch
		return "the registry does not answer; the region's rooms have the document", nil
	}
	if err != nil {
		return "", err
	}
	t.state = state
	holders := holdersInWords(len(pin.Holders))
	switch {
	case state == kvpin.Free:
		return "free: this node would claim it", nil
	case state == kvpin.Orphaned && pin.Region != o.cfg.Region:
		return fmt.Sprintf("orphaned in %s: this node would try to take it over", pin.Region), nil
	case pin.Region != o.cfg.Region:
		return fmt.Sprintf("%s in %s, %s", state, pin.Region, holders), o.homes.redirect(ctx, t.doc, pin)
	}
	t.epoch = string(pin.Epoch)
	return fmt.Sprintf("%s in this region, %s, since %s", state, holders, pin.Since.UTC().Format(time.RFC3339)), nil
}

func holdersInWords(n int) string {
	if n == 1 {
		return "1 node holds it"
	}
	return fmt.Sprintf("%d nodes hold it", n)
}

// limitsInWords names the limits that a token sets.
func limitsInWords(l authn.Limits) string {
	var set []string
	for _, limit := range authn.LimitClaims {
		if n := *limit.Field(&l); n > 0 {
			set = append(set, fmt.Sprintf("%s %d", limit.Name, n))
		}
	}
	if set == nil {
		return "no limits"
	}
	return "limits " + strings.Join(set, ", ")
}

// limits compares what the app uses, up to some seconds old, with what it may.
func (t *tracer) limits(ctx context.Context) (string, error) {
	var most quota.Plan
	if t.grant != nil {
		most = plan(t.grant)
	}
	if most = most.Within(t.o.gate.limits.Ceilings); most == (quota.Plan{}) {
		return "none", nil
	}
	counts, err := t.o.gate.usage.Of(ctx, t.doc.AppID())
	if err != nil {
		return "", err
	}
	detail := fmt.Sprintf("connections %s, documents %s, users in this document %s here",
		ofLimit(counts.Connections, most.MaxConnections), ofLimit(counts.Documents, most.MaxDocuments), ofLimit(t.users(), most.MaxUsersPerDoc))
	isNew := t.state == kvpin.Free || t.state == kvpin.Grace
	switch {
	case most.MaxConnections > 0 && counts.Connections >= most.MaxConnections:
		return detail, &quota.ExceededError{Kind: quota.Connections, Limit: most.MaxConnections, Active: counts.Connections}
	case most.MaxDocuments > 0 && counts.Documents >= most.MaxDocuments && isNew:
		return detail, &quota.ExceededError{Kind: quota.Documents, Limit: most.MaxDocuments, Active: counts.Documents}
	case most.MaxUsersPerDoc > 0 && t.users() >= most.MaxUsersPerDoc:
		return detail, &quota.ExceededError{Kind: quota.Users, Limit: most.MaxUsersPerDoc, Active: t.users()}
	}
	return detail, nil
}

func ofLimit(n, limit int) string {
	if limit == 0 {
		return fmt.Sprintf("%d of any number", n)
	}
	return fmt.Sprintf("%d of %d", n, limit)
}

// users is how many sessions of the document this node has.
func (t *tracer) users() int {
	if d := t.o.docs.Get(t.doc); d != nil {
		return d.Room().Members()
	}
	return 0
}

func (t *tracer) history(ctx context.Context) (string, error) {
	if t.epoch == "" {
		return "none: the document would start empty", nil
	}
	h, err := t.o.historyStat(ctx, t.doc, t.epoch)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d messages, %d bytes", h.Messages, h.Bytes), nil
}

func (t *tracer) room(context.Context) (string, error) {
	if d := t.o.docs.Get(t.doc); d != nil {
		s := d.Room().Brief()
		return fmt.Sprintf("open here with %d sessions, %d bytes", s.Sessions, s.Store.Bytes), nil
	}
	return "not open here: this node would load it", nil
}
