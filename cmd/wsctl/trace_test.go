package main

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/token"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/test/natstest"
)

// echo is a node that says which document it was asked about.
type echo struct{ crowd }

func (e echo) Trace(_ context.Context, r control.TraceRequest) control.Trace {
	return control.Trace{Node: e.name, Steps: []control.Step{{Name: "asked", Detail: "<" + r.Name + r.Document.Docname().String() + ">"}}}
}

func TestATraceIsOfTheDocumentThatIsNamedWhateverTokenIsAround(t *testing.T) {
	i := natstest.Server(t)
	serve(t, i, echo{crowd{name: "n1"}})
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	given := part(`{"alg":"ES256"}`) + "." + part(`{"tenantId":"acme","appId":"notes","dbCode":"aws-eu-west-1"}`) + "." + part("signature")
	for _, c := range []struct {
		arg, given string
		code       int
		says       string
	}{
		{"todo", given, 0, "<todo///>"},
		{"acme/notes/todo", given, 0, "<todo///>"},
		{"acme::notes::todo", given, 0, "<todo///>"},
		{"aws-eu-west-1/acme/notes/todo", given, 0, "<todo///>"},
		{"aws-us-east-1/acme/notes/todo", given, exit.Usage, "without the token"},
		{"aws-eu-west-1/acme/other/todo", given, exit.Usage, "aws-eu-west-1/acme/notes"},
		{"lists/2026/todo", given, 0, `"lists/2026/todo" is taken as a name in the token's acme/notes`},
		{"acme/notes/todo", "nonsense", 0, "<acme/notes/todo///>"},
		{"Projects/Projects", given, 0, `"Projects/Projects" is "Projects"`},
		{"aws-eu-west-1/acme/notes/a/a", "", 0, `"a/a" is "a"`},
		{"aws-eu-west-1/acme/notes/todo", "", 0, "<aws-eu-west-1/acme/notes/todo>"},
	} {
		t.Setenv(token.Variable, c.given)
		code, said := ctl(t, i.URL, "trace", c.arg)
		if code != c.code || !strings.Contains(said, c.says) {
			t.Errorf("%s: exit code %d, expected %d, and %s:\n%s", c.arg, code, c.code, c.says, said)
		}
	}
}
