package sessions

import (
	"testing"

	"github.com/wsnode/wsnode/relay/control"
)

func TestSessionsAreSelectedByNamesThatLookLikeDocuments(t *testing.T) {
	for _, c := range []struct {
		flags    Flags
		expected control.Filter
	}{
		{Flags{document: "todo"}, control.Filter{Document: "todo"}},
		{Flags{document: "acme/notes/todo"}, control.Filter{Tenant: "acme", App: "notes", Document: "todo"}},
		{Flags{document: "acme/notes/todo", tenant: "acme"}, control.Filter{Tenant: "acme", App: "notes", Document: "todo"}},
		{Flags{document: "lists/2026/todo", app: "notes"}, control.Filter{App: "notes", Document: "lists/2026/todo"}},
		{Flags{document: "lists/2026/todo", tenant: "acme"}, control.Filter{Tenant: "acme", Document: "lists/2026/todo"}},
	} {
		got, err := c.flags.Filter()
		if err != nil || got.Tenant != c.expected.Tenant || got.App != c.expected.App || got.Document != c.expected.Document {
			t.Errorf("%+v: %+v %v", c.flags, got, err)
		}
	}
}
