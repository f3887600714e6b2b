package storagetest_test

import (
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
	. "github.com/wsnode/wsnode/relay/storage/storagetest"
)

// harness is one around a store in memory.
type harness struct {
	*Harness
	faulty *Faulty
}

// inMemory is a harness around a store in memory, whose calls go through wrap.
func inMemory(wrap func(storage.Store) storage.Store) harness {
	memory := NewMemory()
	faulty := &Faulty{Store: memory}
	store := wrap(faulty)
	return harness{&Harness{
		Store: store, Other: store,
		Inject: func(f Fault) (func(), error) { faulty.Set(f); return func() { faulty.Set(None) }, nil },
		Plant:  func(d docid.Document, body []byte) error { memory.Plant(d, body); return nil },
		Damage: func(d docid.Document) error { memory.Damage(d); return nil },
		Large:  1 << 20,

		Versioned: faulty,
	}, faulty}
}

// Delay makes slowness end, see Faulty.
func (h harness) Delay(d time.Duration) { h.faulty.Delay = d }

func TestTheStoreInMemoryKeepsTheContract(t *testing.T) {
	Run(t, inMemory(func(s storage.Store) storage.Store { return s }).Harness)
}

func TestFaultsAreCounted(t *testing.T) {
	var next []Fault
	f := &Faulty{Store: NewMemory(), Choose: func(string, docid.Document) Fault {
		fault := next[0]
		next = next[1:]
		return fault
	}}
	d := docid.Document{License: License, Tenant: "t", App: "a", Name: "x"}
	next = []Fault{Down, LostReply, None, Truncated, Refusal}
	for range len(next) {
		_, _ = f.Load(t.Context(), d, nil)
	}
	for _, fault := range []Fault{Down, LostReply, Truncated, Refusal} {
		if n := f.Happened(fault); n != 1 {
			t.Errorf("%s happened %d times, expected once", fault, n)
		}
	}
}
