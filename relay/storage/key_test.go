package storage_test

import (
	"strings"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// forFiles is what the file backend spells.
var forFiles = storage.Spelling{MaxName: 200, LowerCase: true}

func document(name string) docid.Document {
	return docid.Document{License: "aws-eu-west-1", Tenant: "acme", App: "notes", Name: name}
}

func TestKeysAreReadable(t *testing.T) {
	for name, expected := range map[string]string{
		"todo":    "aws-eu-west-1/acme/notes/todo.yjs",
		"a/b c.d": "aws-eu-west-1/acme/notes/a=2Fb=20c=2Ed.yjs",
		"ä":       "aws-eu-west-1/acme/notes/=C3=A4.yjs",
	} {
		if got := storage.Key(document(name)); got != expected {
			t.Errorf("%q: %s, expected %s", name, got, expected)
		}
	}
	if got := storage.Key(storage.MarkerDocument); got != ".wsnode/store.json" {
		t.Errorf("marker: %s", got)
	}
}

func TestKeysAreInjectiveAndReversible(t *testing.T) {
	for _, s := range []storage.Spelling{{}, forFiles} {
		seen := map[string]string{}
		for _, name := range storagetest.OddNames() {
			checkKey(t, s, document(name))
			key := s.Key(document(name))
			if s.LowerCase {
				key = strings.ToLower(key)
			}
			if other, taken := seen[key]; taken {
				t.Errorf("%q and %q share %s", name, other, key)
			}
			seen[key] = name
		}
	}
}

func checkKey(t *testing.T, s storage.Spelling, d docid.Document) {
	t.Helper()
	key := s.Key(d)
	back, whole, err := s.Parse(key)
	if err != nil || whole && back != d || !whole && !strings.HasPrefix(d.Name, back.Name) {
		t.Errorf("%q: %s gives %q, whole %v, %v", d, key, back, whole, err)
	}
	if !whole != strings.Contains(key, "==") {
		t.Errorf("%q: %s, whole %v", d, key, whole)
	}
	if len(key) > storage.MaxKey || strings.HasPrefix(key, ".") || strings.Contains(strings.TrimSuffix(key, storage.Extension), ".") {
		t.Errorf("%q: %s", d, key)
	}
	for n := range len(d.Name) + 1 {
		q := storage.Query{License: d.License, Tenant: d.Tenant, App: d.App, Name: d.Name[:n]}
		if prefix := s.Prefix(q); !strings.HasPrefix(key, prefix) {
			t.Errorf("%q does not begin with %q, the prefix of what begins with %q", key, prefix, q.Name)
		}
	}
}

func TestTheLongestKeyLeavesRoomForAPrefix(t *testing.T) {
	d := docid.Document{
		License: docid.LicenseRegion(strings.Repeat("a", 64)), Tenant: docid.Tenant(strings.Repeat(".", 64)),
		App: docid.App(strings.Repeat(".", 64)), Name: strings.Repeat("=", docid.MaxNameLength),
	}
	if n := len(storage.Key(d)); n > storage.MaxKey || storage.MaxKey+storage.MaxPrefix > 1000 {
		t.Errorf("a key of %d bytes, at most %d, beside a prefix of %d", n, storage.MaxKey, storage.MaxPrefix)
	}
}

func TestForeignKeysAreRefused(t *testing.T) {
	for _, key := range []string{
		"", "x", "l/t/a/x", "l/t/x.yjs", "l/t/a/b/x.yjs", "l/t/a/x.y.yjs", "l/t/a/=.yjs", "l/t/a/=4.yjs", "l/t/a/=zz.yjs", "l/t/a/=c3.yjs",
		"l/t/a/=61.yjs", "l/t/a/x.yjs.json",
	} {
		if d, _, err := storage.ParseKey(key); err == nil {
			t.Errorf("%q: got %q", key, d)
		}
	}
}

func FuzzKey(f *testing.F) {
	for _, name := range storagetest.OddNames() {
		f.Add(name, name+"x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, s := range []storage.Spelling{{}, forFiles} {
			checkKey(t, s, document(a))
			if a != b && s.Key(document(a)) == s.Key(document(b)) {
				t.Errorf("%q and %q share a key", a, b)
			}
		}
	})
}
