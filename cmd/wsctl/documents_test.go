package main

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestAPinThatCannotBeReadIsReleased(t *testing.T) {
	i := natstest.Server(t)
	fillRegistry(t, i, "aws-eu-west-1", 1)
	js, err := jetstream.New(natstest.Connect(t, i))
	if err != nil {
		t.Fatal(err)
	}
	doc := docid.Document{License: "aws-eu-west-1", Tenant: "acme", App: "notes", Name: "broken"}
	if _, err := js.Publish(t.Context(), "$KV.wsnode-aws-eu-west-1."+doc.PinKey(), []byte("{")); err != nil {
		t.Fatal(err)
	}
	if code, said := ctl(t, i.URL, "pins", "get", doc.String()); code != exit.Unavailable || !strings.Contains(said, "not readable") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if code, said := ctl(t, i.URL, "pins", "release", doc.String()); code != exit.Declined || !strings.Contains(said, "cannot be read") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if code, said := ctl(t, i.URL, "pins", "release", doc.String(), "--yes"); code != 0 {
		t.Errorf("exit code %d: %s", code, said)
	}
	if code, said := ctl(t, i.URL, "pins", "get", doc.String()); code != exit.NotFound {
		t.Errorf("exit code %d: %s", code, said)
	}
}

func TestARegistryThatTakesNoURLKeepsItFromNoOther(t *testing.T) {
	i := natstest.Server(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "node", Password: "x"}, {Username: "operator", Password: "x", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"$KV.wsnode-aws-eu-west-1.region.>"}},
		}}}
		o.NoAuthUser = "node"
	})
	fillRegistry(t, i, "aws-eu-west-1", 1)
	fillRegistry(t, i, "aws-us-east-1", 1)
	operator := strings.Replace(i.URL, "nats://", "nats://operator:x@", 1)
	code, said := ctl(t, operator, "regions", "set", "eu-central-1", "wss://other.example", "--yes", "--timeout", "2s")
	if code != exit.Unavailable || !strings.Contains(said, "wss://other.example in [aws-us-east-1]") || !strings.Contains(said, "eu-central-1 in aws-eu-west-1") ||
		!strings.Contains(said, `NATS denied it (Publish to "$KV.wsnode-aws-eu-west-1.region.eu-central-1"): that takes the rights of OPERATOR`) {
		t.Errorf("exit code %d: %s", code, said)
	}
}

func TestDocumentsOfAShortLicenseRegionAreCompleted(t *testing.T) {
	i := natstest.Server(t)
	fillRegistry(t, i, "eu", 1)
	t.Setenv("WSCTL_NATS_URL", i.URL)
	for typed, expected := range map[string]string{"": "eu/acme/notes/document-0\n", "e": "eu/acme/notes/document-0\n", "acme/": "\nacme/notes/document-0\n"} {
		var out strings.Builder
		code := run(t.Context(), []string{"__complete", "pins", "get", typed}, strings.NewReader(""), &out, &out)
		if code != 0 || !strings.Contains("\n"+out.String(), expected) {
			t.Errorf("%q: exit code %d: %s", typed, code, out.String())
		}
	}
}
