package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay"
)

func TestSettingsOfAppsAreReadAtTheStartAndAgainOnSIGHUP(t *testing.T) {
	file := filepath.Join(t.TempDir(), "apps.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("apps: [{app: acme/drafts, region: [eu-*]}]")
	f := serveFlags{apps: file}
	var c relay.Options
	err := f.perApp(&c)
	if wrong := (usageError{}); !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), "--apps: ") || !strings.Contains(err.Error(), "region") {
		t.Errorf("a misspelt setting: %v", err)
	}
	write("apps: [{app: acme/drafts, regions: [eu-*]}]")
	if err := f.perApp(&c); err != nil {
		t.Fatal(err)
	}
	drafts := docid.AppID{Tenant: "acme", App: "drafts"}
	if s := c.Config.Apps(drafts); s.In("us-1") || !s.In("eu-1") {
		t.Errorf("%+v", s)
	}
	write("apps: [{app: acme/drafts, regions: [us-*]}]")
	readAgain(f.reloads, slog.New(slog.DiscardHandler))
	if s := c.Config.Apps(drafts); !s.In("us-1") || s.In("eu-1") {
		t.Errorf("after SIGHUP: %+v", s)
	}
}

// Clients would wait for ever for what no store can say.
func TestAcknowledgementsByAStoreNeedOneForAllThatIsServed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "apps.yaml")
	if err := os.WriteFile(file, []byte("apps: [{app: acme/drafts, ack: stored}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := relay.Options{Registries: map[docid.LicenseRegion]kvpin.Source{"aws-eu-west-1": {}, "aws-us-east-1": {}}}
	f := serveFlags{apps: file, storeURLs: map[docid.LicenseRegion]string{"aws-eu-west-1": "file:///var/lib/wsnode"}}
	err := f.perApp(&c)
	if err == nil || !strings.Contains(err.Error(), "ack: stored: expected a --store") || !strings.Contains(err.Error(), "none for aws-us-east-1") {
		t.Errorf("without a store for one of two license regions: %v", err)
	}
	f.storeURLs["aws-us-east-1"] = "file:///var/lib/wsnode"
	if err := f.perApp(&c); err != nil {
		t.Errorf("with both: %v", err)
	}
}
