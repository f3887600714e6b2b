package docid

import (
	"errors"
	"strings"
	"testing"
)

func TestTargetNamesTheDocumentInAllForms(t *testing.T) {
	for _, c := range []struct{ target, name, token string }{
		{"/todo", "todo", ""},
		{"/todo/todo", "todo", ""},
		{"/x/x/x/x", "x", ""},
		{"/a/b/a/b", "a/b", ""},
		{"/a/b", "a/b", ""},
		{"/a%20b/a b", "a b", ""},
		{"/a%2Fb", "a/b", ""},
		{"/c++", "c++", ""},
		{"/?token=JWT/todo", "todo", "JWT"},
		{"/?token=JWT/todo/todo", "todo", "JWT"},
		{"/?token=JWT/c++&x=1", "c++", "JWT"},
		{"/?access_token=JWT/%C3%A4", "ä", "JWT"},
		{"/todo?token=JWT", "todo", "JWT"},
		{"/todo?token=JWT&x=1", "todo", "JWT"},
		{"/discovery", "discovery", ""},
		{"/ä😀", "ä😀", ""},
		{"/aa", "aa", ""},
		{"/a.b", "a.b", ""},
	} {
		got, err := ParseTarget(c.target)
		token := got.Query.Get("token") + got.Query.Get("access_token")
		if err != nil || got.Name != c.name || token != c.token {
			t.Errorf("%s: got name %q, token %q, %v", c.target, got.Name, token, err)
		}
	}
}

func TestWhatAURLWouldChangeIsRefused(t *testing.T) {
	long := strings.Repeat("é", MaxNameLength)
	if _, err := ParseTarget("/" + long); err != nil {
		t.Errorf("255 characters: %v", err)
	}
	for _, target := range []string{
		"/", "/?token=JWT", "/" + long + "x", "/a%3Fb", "/a?b", "/a?b?token=JWT", "/?token=JWT/a?b", "/50%25", "/50%", "/a%23b", "/a%5Cb",
		"/a/../b", "/a/./b", "/a//b", "/a/", "//a", "/..", "/a%00b", "/a%7Fb", "/a%0Ab", "/%ff", "/%C2%85",
	} {
		if got, err := ParseTarget(target); !errors.Is(err, ErrName) {
			t.Errorf("%s: got %q, %v", target, got.Name, err)
		}
	}
}

func TestTokenIsReadAlthoughTheNameIsInvalid(t *testing.T) {
	for _, target := range []string{"/a//b?token=JWT", "/a?b?token=JWT", "/?token=JWT/a//b"} {
		if got, err := ParseTarget(target); err == nil || got.Query.Get("token") != "JWT" {
			t.Errorf("%s: token %q, %v", target, got.Query.Get("token"), err)
		}
	}
}

func TestURLPathSurvivesParsing(t *testing.T) {
	for _, name := range []string{"todo", "a b", "ä/😀", "c++", "x::y", "*", ">", "a.b", "a&b=c;d,e"} {
		got, err := ParseTarget("/" + URLPath(name))
		if err != nil || got.Name != name {
			t.Errorf("%q as %q: got %q, %v", name, URLPath(name), got.Name, err)
		}
	}
}

var documents = []Document{
	{"aws-eu-west-1", "acme", "notes", "todo"},
	{"aws-eu-west-1", "acme", "notes", "to.do"},
	{"aws-eu-west-1", "acme", "notes", "to=2Edo"},
	{"aws-eu-west-1", "acme.notes", "notes", "todo"},
	{"aws-eu-west-1", "acme", "notes.todo", "x"},
	{"aws-eu-west-1", "acme", "notes", "x::y"},
	{"aws-eu-west-1", "acme", "notes", "*"},
	{"aws-eu-west-1", "acme", "notes", ">"},
	{"aws-eu-west-1", "acme", "notes", "a/b c"},
	{"aws-eu-west-1", "acme", "notes", "=="},
	{"aws-eu-west-1", "acme", "notes", "==YQ"},
	{"aws-eu-west-1", "acme", "notes", strings.Repeat("😀", 255)},
	{"aws-eu-west-1", "acme", "notes", strings.Repeat("😀", 254)},
	{"aws-us-east-1", "acme", "notes", "todo"},
}

func TestSpellingsAreInjectiveAndReversible(t *testing.T) {
	seen := map[string]Document{}
	for _, d := range documents {
		key := d.PinKey()
		if back, err := ParsePinKey(d.License, key); err != nil || back != d {
			t.Errorf("%s: key %q gives %v, %v", d, key, back, err)
		}
		subject := d.UpdatesSubject(3, "epoch1")
		if back, epoch, err := ParseUpdatesSubject(subject); err != nil || back != d || epoch != "epoch1" {
			t.Errorf("%s: subject %q gives %v, %q, %v", d, subject, back, epoch, err)
		}
		stored := d.UpdatesSubject(3, NewStoredEpoch("epoch1"))
		if back, epoch, err := ParseUpdatesSubject(stored); err != nil || back != d || epoch != NewStoredEpoch("epoch1") || !StoredEpoch(epoch) {
			t.Errorf("%s: subject %q gives %v, %q, %v", d, stored, back, epoch, err)
		}
		if prefix := strings.TrimSuffix(d.LivesFilter(3), "*"); !strings.HasPrefix(stored, prefix) || strings.HasPrefix(subject, prefix) ||
			!strings.HasPrefix(stored, strings.TrimSuffix(StoredFilter(3), ">")) || strings.HasPrefix(stored, strings.TrimSuffix(UpdatesFilter(3), ">")) {
			t.Errorf("%s: %q is not among the stored lives of %q, or is among the others", d, stored, d.LivesFilter(3))
		}
		for _, s := range []string{subject, stored, d.SignalsSubject()} {
			if other, taken := seen[s]; taken {
				t.Errorf("%s and %s share %q", d, other, s)
			}
			seen[s] = d
			if len(s) > 2048 || strings.ContainsAny(s, " *>\t") || strings.Contains(s, "..") {
				t.Errorf("%s: %q is not a literal subject that fits a control line", d, s)
			}
		}
	}
}

func TestForeignKeysAreRefused(t *testing.T) {
	for _, key := range []string{"", "pin", "pin.a.b", "pin.a.b.c.d", "lease.a.b.c", "pin.a.b.=", "pin.a.b.=ZZ"} {
		if d, err := ParsePinKey("aws-eu-west-1", key); err == nil {
			t.Errorf("%q: got %v", key, d)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, d := range documents {
		f.Add(d.Name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		parsed, err := Parse(name)
		if err != nil {
			return
		}
		if again, err := Parse(parsed); err != nil || again != parsed {
			t.Fatalf("%q is %q, which is %q, %v", name, parsed, again, err)
		}
		d := Document{"aws-eu-west-1", "t", "a", parsed}
		if back, err := ParsePinKey(d.License, d.PinKey()); err != nil || back != d {
			t.Fatalf("%q comes back as %q, %v", parsed, back.Name, err)
		}
	})
}
