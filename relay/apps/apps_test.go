package apps

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/docid"
)

func app(tenant docid.Tenant, name docid.App) docid.AppID {
	return docid.AppID{License: "aws-eu-west-1", Tenant: tenant, App: name}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEachSettingIsThatOfTheFirstRuleThatNamesIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apps.yaml")
	write(t, path, `
apps:
  - app: acme/drafts
    regions: [eu-*, us-east-1]
  - app: acme/*
    ack: stored
    regions: [ap-1]
  - app: "*/*"
    ack: durable
    stateless: broadcast
    keep-deleted: true
`)
	f, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	drafts, other, foreign := f.Of(app("acme", "drafts")), f.Of(app("acme", "notes")), f.Of(app("beta", "drafts"))
	if drafts.Ack != AckStored || !slices.Equal(drafts.Regions, []string{"eu-*", "us-east-1"}) {
		t.Errorf("acme/drafts: %+v", drafts)
	}
	if other.Ack != AckStored || !slices.Equal(other.Regions, []string{"ap-1"}) {
		t.Errorf("acme/notes: %+v", other)
	}
	if foreign.Ack != AckDurable || foreign.Regions != nil {
		t.Errorf("beta/drafts: %+v", foreign)
	}
	for region, in := range map[docid.Region]bool{"eu-central-1": true, "us-east-1": true, "us-east-10": false, "ap-1": false} {
		if drafts.In(region) != in {
			t.Errorf("acme/drafts may be in %s: %t", region, !in)
		}
	}
	if foreign.Stateless != StatelessBroadcast || drafts.Stateless != StatelessBroadcast {
		t.Errorf("stateless: %+v, %+v", foreign, drafts)
	}
	if !foreign.KeepDeleted || !drafts.KeepDeleted {
		t.Errorf("kept: %+v, %+v", foreign, drafts)
	}
	if !foreign.In("anywhere") {
		t.Error("an app without regions is refused in one")
	}
}

func TestWithoutAFileAllIsByDefault(t *testing.T) {
	var f *File
	if s := f.Of(app("acme", "drafts")); s.Ack != "" || s.Regions != nil {
		t.Errorf("%+v", s)
	}
}

func TestWhatCannotBeReadAgainLeavesTheOldRules(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apps.yaml")
	write(t, path, "apps: [{app: acme/drafts, ack: stored}]")
	f, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, "apps: [{app: acme/drafts, ack: perhaps}]")
	if err := f.Reload(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("the error does not name the file: %v", err)
	}
	if s := f.Of(app("acme", "drafts")); s.Ack != AckStored {
		t.Errorf("the old rule is gone: %+v", s)
	}
	write(t, path, "")
	if err := f.Reload(); err != nil {
		t.Fatalf("an empty file: %v", err)
	}
	if s := f.Of(app("acme", "drafts")); s.Ack != "" {
		t.Errorf("the old rule is still there: %+v", s)
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	for text, says := range map[string]string{
		"apps: [{app: acme, ack: stored}]":              `rule 1: app: "acme": expected tenant/app`,
		"apps: [{app: a/b}, {app: a/b/c}]":              `rule 2: app: "a/b/c": expected tenant/app`,
		`apps: [{app: "a/[b]"}]`:                        `expected tenant/app`,
		"apps: [{app: a/b, elsewhere: away}]":           `elsewhere: "away": expected redirect or carry`,
		"apps: [{app: a/b, ack: soon}]":                 `ack: "soon": expected durable or stored`,
		"apps: [{app: a/b, regions: []}]":               "regions: is empty",
		`apps: [{app: a/b, regions: ["eu central"]}]`:   `regions: "eu central": expected the name of a region`,
		"apps: [{app: a/b, region: [eu-1]}]":            "field region not found",
		"app: [{app: a/b}]":                             "field app not found",
		"apps: {a/b: {ack: stored}}":                    "cannot unmarshal",
		"apps: [{app: refused/x, ack: stored}]":         "rule 1: there is no store",
		"apps:\n  - app: a/b\n    ack: durable\n  - {":  "line 4",
		"apps: [{app: a/b, ack: durable, ack: stored}]": "already",
	} {
		_, err := parse([]byte(text), func(r Rule) error {
			if r.App == "refused/x" {
				return errors.New("there is no store")
			}
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s\n\tgot  %v\n\twant %s", text, err, says)
		}
	}
}
