package live

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/test/natstest"
)

// lingering is a store that goes on reading bodies after it has failed, as a connection does on
// which a request was given up.
type lingering struct {
	storage.Store
	fails           bool
	bodies, expects [][]byte
}

func (l *lingering) Save(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	if l.fails {
		l.bodies, l.expects = append(l.bodies, body), append(l.expects, slices.Clone(body))
		return "", errors.New("the connection was lost")
	}
	return l.Store.Save(ctx, d, expect, m, body)
}

// The memory of a body is used again only when its store has taken it.
func TestWhatAStoreMayStillReadIsNotWrittenOver(t *testing.T) {
	r, s := storing(t)
	l := &lingering{Store: s}
	r.store = l
	n := r.unplanned().node("a")
	v := n.visit(t)
	defer v.leave()
	for i := range 20 {
		v.types(string(rune('a' + i)))
		if l.fails = i%2 == 0; l.fails {
			if err := n.Save(t.Context(), v.d); err == nil {
				t.Fatal("it is stored: nothing is tested")
			}
			continue
		}
		n.savesNow(t, v)
		if got := stored(t, s.Store); !bytes.Equal(got.Body, v.d.Room().Export()) {
			t.Fatalf("the store holds %q, expected %q", got.Body, v.d.Room().Export())
		}
	}
	for i, body := range l.bodies {
		if !bytes.Equal(body, l.expects[i]) {
			t.Errorf("a body that is being read has become %q, before %q", body, l.expects[i])
		}
	}
}

// halting is a store in which bodies stand still when they are in memory, until they may go on.
type halting struct {
	storage.Store
	here atomic.Int64
	goOn chan struct{}
}

func (s *halting) Load(ctx context.Context, d docid.Document, reserve storage.Reserve) (storage.Stored, error) {
	got, err := s.Store.Load(ctx, d, reserve)
	s.stand()
	return got, err
}

func (s *halting) Save(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	s.stand()
	return s.Store.Save(ctx, d, expect, m, body)
}

func (s *halting) stand() {
	s.here.Add(1)
	<-s.goOn
}

// heap is what is in use of it, in bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// However many documents are loaded or stored at a time, their bodies take no more memory
// than Options.StoreBytes.
func TestBodiesOnTheirWayTakeNoMoreMemoryThanTheyMay(t *testing.T) {
	const documents, size, atOnce = 32, 256 << 10, 4
	r, memory := storing(t)
	r.url = natstest.Apart(t)                         // or what NATS keeps counts as well
	body := binary.AppendUvarint([]byte{1, 1}, 1<<40) // no client of insert
	body = binary.AppendUvarint(append(body, 0, 4, 1, 1, 't'), size)
	body = append(append(body, bytes.Repeat([]byte{'x'}, size)...), 0)
	for i := range documents {
		if _, err := memory.Store.Save(t.Context(), numbered("doc", i), storage.Absent, storage.Meta{}, body); err != nil {
			t.Fatal(err)
		}
	}
	s := &halting{Store: memory}
	r.store = s
	r.options = func(o *Options) { o.StoreBytes = int64(atOnce * (len(body) + size/8)) }
	n := r.unplanned().node("a")
	// all has every document do it, and looks at the heap while as many bodies stand still as may.
	all := func(what string, do func(i int) error) {
		t.Helper()
		before := heap()
		s.here.Store(0)
		s.goOn = make(chan struct{})
		var under sync.WaitGroup
		for i := range documents {
			under.Go(func() {
				if err := do(i); err != nil {
					t.Error(what, err)
				}
			})
		}
		eventually(t, "all others wait: "+what, func() bool {
			return s.here.Load() == atOnce && n.Storing().Waiting == documents-atOnce
		})
		if grown, most := heap()-before, int64(2*atOnce*size); grown > most {
			t.Errorf("%s: %d KiB of the heap, expected at most %d", what, grown>>10, most>>10)
		}
		close(s.goOn)
		under.Wait()
	}
	visits := make([]*visit, documents)
	all("load", func(i int) (err error) {
		visits[i], err = n.tryVisitOf(t, numbered("doc", i))
		return err
	})
	for _, v := range visits {
		v.types("edit")
		defer v.leave()
	}
	all("save", func(i int) error { return n.Save(t.Context(), visits[i].d) })
}
