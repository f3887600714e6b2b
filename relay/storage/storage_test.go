package storage_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

func TestFieldsCarryEverything(t *testing.T) {
	for _, m := range []storage.Meta{
		{Time: time.Date(2026, 11, 29, 1, 2, 3, 4_000_000, time.UTC)},
		{
			Generation: storage.NewGeneration(), Epoch: "a b/ä\n", Revision: 1<<64 - 1, Region: "eu-central-1", KeepDeleted: true,
			Time: time.Date(2026, 11, 29, 1, 2, 3, 4_567_890, time.UTC),
		},
	} {
		for _, body := range [][]byte{nil, []byte("body")} {
			expected := storage.Described(m, body)
			fields := storage.Fields(expected)
			for name, value := range fields {
				if strings.ContainsAny(value, "\r\n ä") {
					t.Errorf("%s is %q, which no header carries", name, value)
				}
			}
			got, hashed, err := storage.ParseFields(func(name string) string { return fields[name] })
			got.Size = expected.Size // stands elsewhere
			if err != nil || !hashed || got != expected {
				t.Errorf("got %+v, %v, %v; expected %+v", got, hashed, err, expected)
			}
		}
	}
}

func TestUnreadableFieldsAreRefused(t *testing.T) {
	for name, value := range map[string]string{
		storage.FieldFormat: "3", storage.FieldGeneration: "x", storage.FieldEpoch: "%", storage.FieldRevision: "-1", storage.FieldTime: "today",
		storage.FieldSHA256: "abcd", storage.FieldRegion: "%zz",
	} {
		if got, _, err := storage.ParseFields(func(n string) string {
			if n == name {
				return value
			}
			return ""
		}); err == nil {
			t.Errorf("%s %q: got %+v", name, value, got)
		}
	}
	long := strings.Repeat("ab", 33)
	if _, _, err := storage.ParseFields(func(n string) string { return map[string]string{storage.FieldSHA256: long}[n] }); err == nil {
		t.Error("a hash of 33 bytes was read")
	}
}

func TestURLsShowNoSecrets(t *testing.T) {
	for raw, expected := range map[string]string{
		"file:///var/lib/wsnode/documents":                                   "file:///var/lib/wsnode/documents",
		"s3://bucket/prefix?endpoint=http%3A%2F%2F127.0.0.1%3A9000&region=x": "s3://bucket/prefix?endpoint=http%3A%2F%2F127.0.0.1%3A9000&region=x",
		"s3://KEY:SECRET@bucket/prefix":                                      "s3://KEY:xxxxx@bucket/prefix",
		"s3://bucket?secret-access-key=SECRET&region=x":                      "s3://bucket?region=x&secret-access-key=xxxxx",
		"postgres://wsnode:SECRET@db/wsnode?sslmode=require":                 "postgres://wsnode:xxxxx@db/wsnode?sslmode=require",
		"postgres://wsnode@db/wsnode?password=SECRET":                        "postgres://wsnode@db/wsnode?password=xxxxx",
		"https://SECRET@backend/{tenantId}/{appId}/{document}":               "https://xxxxx@backend/%7BtenantId%7D/%7BappId%7D/%7Bdocument%7D",
		"https://backend/%zz?token=SECRET":                                   "https:xxxxx",
		"SECRET %zz":                                                         "xxxxx",
		"postgres:SECRET":                                                    "postgres:xxxxx",
	} {
		if got := storage.Redact(raw); got != expected || strings.Contains(got, "SECRET") {
			t.Errorf("%s: %s, expected %s", raw, got, expected)
		}
	}
}

func TestErrorsShowNoSecrets(t *testing.T) {
	const raw = "postgres://wsnode:S%2FCRET@db/wsnode"
	for _, text := range []string{"dial " + raw, "password S/CRET", "password S%2FCRET"} {
		if got := storage.RedactError(errors.New(text), raw); strings.Contains(got, "CRET") {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func TestBudgetMakesBodiesWait(t *testing.T) {
	b := storage.NewBudget(100)
	first, err := b.Take(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	full, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Take(full, 60); !errors.Is(err, context.Canceled) {
		t.Fatalf("took 120 of 100: %v", err)
	}
	alone := make(chan error)
	go func() {
		release, err := b.Take(t.Context(), 1000) // larger than the whole: it has all to itself
		if err == nil {
			release()
		}
		alone <- err
	}()
	first()
	if err := <-alone; err != nil {
		t.Error(err)
	}
}

// A store that is none must not be taken for one.
func TestOnlyAStoreWithItsMarkerIsBelieved(t *testing.T) {
	s := storagetest.NewMemory()
	for _, id := range []storage.Identity{
		{}, {ID: "x", License: "eu", KeyFormat: 2}, {ID: "x", License: "E U", KeyFormat: 1}, {License: "eu", KeyFormat: 1},
	} {
		if err := storage.Init(t.Context(), s, id); err == nil {
			t.Errorf("%+v was written", id)
		}
	}
	for _, body := range []string{"{", `{"id":"x","license":"eu","keyFormat":2}`, `{"license":"eu","keyFormat":1}`} {
		s := storagetest.NewMemory()
		if _, err := s.Save(t.Context(), storage.MarkerDocument, storage.Absent, storage.Meta{}, []byte(body)); err != nil {
			t.Fatal(err)
		}
		if id, err := storage.Identify(t.Context(), s); err == nil {
			t.Errorf("%s was taken for %+v", body, id)
		}
	}
}

// unconditional overwrites whatever is there.
type unconditional struct{ *storagetest.Memory }

func (u unconditional) Save(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	v, err := u.Memory.Save(ctx, d, expect, m, body)
	if conflict := (*storage.ConflictError)(nil); errors.As(err, &conflict) {
		return u.Memory.Save(ctx, d, conflict.Current.Version, m, body)
	}
	return v, err
}

// replacing creates once, but replaces any version.
type replacing struct{ unconditional }

func (r replacing) Save(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	if expect == storage.Absent {
		return r.Memory.Save(ctx, d, expect, m, body)
	}
	return r.unconditional.Save(ctx, d, expect, m, body)
}

func TestACopyTakesTheIdentityOfALostStore(t *testing.T) {
	id := storage.Identity{ID: "LOST", License: "aws-eu-west-1", KeyFormat: storage.KeyFormat}
	for _, marker := range []string{"", "COPY", "LOST"} {
		s, ctx := storagetest.NewMemory(), t.Context()
		if marker != "" {
			if err := storage.Init(ctx, s, storage.Identity{ID: marker, License: id.License, KeyFormat: storage.KeyFormat}); err != nil {
				t.Fatal(err)
			}
		}
		for _, was := range []string{"OTHER", marker, "LOST"} { // the last one: again
			err := storage.Adopt(ctx, s, was, id)
			if was == "OTHER" {
				if marker != "" && !errors.Is(err, storage.ErrConflict) || err == nil {
					t.Errorf("marker %q, expected to be %q: %v", marker, was, err)
				}
			} else if got, idErr := storage.Identify(ctx, s); err != nil || idErr != nil || got != id {
				t.Errorf("marker %q: %+v, %v, %v", marker, got, idErr, err)
			}
		}
	}
}

func TestCheckFindsAStoreThatIgnoresConditions(t *testing.T) {
	id := storage.Identity{ID: storage.NewStoreID(), License: "eu", KeyFormat: storage.KeyFormat}
	for _, s := range []storage.Store{unconditional{storagetest.NewMemory()}, replacing{unconditional{storagetest.NewMemory()}}} {
		if err := storage.Init(t.Context(), s, id); err != nil {
			t.Fatal(err)
		}
		if err := storage.Check(t.Context(), s); !errors.Is(err, storage.ErrUnconditional) {
			t.Errorf("%T: %v, expected ErrUnconditional", s, err)
		}
		if got, err := storage.Identify(t.Context(), s); err != nil || got != id {
			t.Errorf("%T: the marker is %+v, %v", s, got, err)
		}
	}
}

func TestManyNodesCheckAtOnce(t *testing.T) {
	s := storagetest.NewMemory()
	id := storage.Identity{ID: storage.NewStoreID(), License: "eu", KeyFormat: storage.KeyFormat}
	if err := storage.Init(t.Context(), s, id); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := storage.Check(t.Context(), yielding{s}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, err := storage.Identify(t.Context(), s); err != nil || got != id {
		t.Errorf("identity %+v, %v; expected %+v", got, err, id)
	}
}

// yielding lets others write between two calls.
type yielding struct{ *storagetest.Memory }

func (y yielding) Save(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	runtime.Gosched()
	return y.Memory.Save(ctx, d, expect, m, body)
}
