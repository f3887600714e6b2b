package store

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/foreign"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
)

func TestAnImportThatIsInterruptedBetweenDocumentsSaysSo(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	var said strings.Builder
	i := &importing{
		c:     &command.Env{Console: console.New(ctx, strings.NewReader(""), io.Discard, &said)},
		f:     &importFlags{put: putFlags{undelete: true}, parallel: 1},
		nodes: []storeNode{{license: "aws-eu-west-1"}},
		seen:  map[docid.Document]string{},
	}
	err := i.run(ctx, func(yield func(foreign.Source, error) bool) {
		for _, name := range []string{"a", "b"} { // deletions that --undelete passes over: no node is asked
			d := control.Document{License: "aws-eu-west-1", Tenant: "acme", App: "notes", Name: name}
			if !yield(foreign.Source{File: name, Entry: &foreign.LedgerEntry{Document: d, Deleted: true}}, nil) {
				return
			}
			interrupt()
		}
	})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "run it again to go on") {
		t.Errorf("%v: %s", err, said.String())
	}
}
