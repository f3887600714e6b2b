package live

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
	"github.com/wsnode/wsnode/test/natstest"
)

// asked counts what a store is asked, by document and operation.
type asked struct {
	mu    sync.Mutex
	calls map[docid.Document]map[string]int
}

func (a *asked) count(operation string, d docid.Document) storagetest.Fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.calls[d] == nil {
		a.calls[d] = map[string]int{}
	}
	a.calls[d][operation]++
	return storagetest.None
}

func (a *asked) of(d docid.Document) map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.calls[d])
}

func numbered(name string, i int) docid.Document {
	d := todo
	d.Name = fmt.Sprint(name, i)
	return d
}

// To open a stored document costs one request to its store, and to store it one; while
// nobody edits it costs none, however long it is open. WSNODE_IDLE says how many are open.
func TestWhatAStoreIsAsked(t *testing.T) {
	r, s := storing(t)
	a := &asked{calls: map[docid.Document]map[string]int{}}
	s.Choose = a.count
	n := r.node("a")
	open, intervals := 50, 20
	if many, err := strconv.Atoi(os.Getenv("WSNODE_IDLE")); err == nil {
		open, intervals = many, 1200
	}
	is := func(d docid.Document, what string, expected map[string]int) {
		t.Helper()
		if got := a.of(d); !maps.Equal(got, expected) {
			t.Errorf("for %s the store is asked %v, expected %v", what, got, expected)
		}
	}
	rested := make([]map[string]int, open) // what was asked for each when it came to rest
	once := 0
	for i := range open {
		d := numbered("idle", i)
		if _, err := s.Store.Save(t.Context(), d, storage.Absent, storage.Meta{}, insert("stored")); err != nil {
			t.Fatal(err)
		}
		v, err := n.tryVisitOf(t, d)
		if err != nil {
			t.Fatal(err)
		}
		defer v.leave()
		is(d, "an opening", map[string]int{"load": 1})
		v.types("edit")
		eventually(t, "it is stored", func() bool { return n.saves.kept(v.d.keeper).Clean })
		rested[i] = a.of(d)
		if maps.Equal(rested[i], map[string]int{"load": 1, "save": 1}) {
			once++
		}
	}
	// What is read of the history 20 ms after the edit may lack that on a busy machine: the
	// document is saved again then.
	if once < open*9/10 {
		t.Errorf("an opening and an edit cost the store a load and a save for %d of %d documents only; for the first: %v", once, open, rested[0])
	}
	busy, err := n.tryVisitOf(t, numbered("busy", 0))
	if err != nil {
		t.Fatal(err)
	}
	defer busy.leave()
	for i := range intervals {
		text := fmt.Sprint("edit ", i)
		busy.types(text)
		eventually(t, text+" is stored", func() bool {
			got, err := s.Store.Load(t.Context(), busy.d.Name(), nil)
			return err == nil && bytes.Contains(got.Body, []byte(text))
		})
	}
	for i := range open {
		is(numbered("idle", i), "rest", rested[i])
	}
}

// To open a stored document of which the region has no history asks for that once, for this
// life and former ones together.
func TestWhatAHistoryIsAsked(t *testing.T) {
	r, _ := storing(t)
	n, d := r.node("a"), numbered("asked", 1)
	asked := r.questions(d)
	v, err := n.tryVisitOf(t, d)
	if err != nil {
		t.Fatal(err)
	}
	defer v.leave()
	if got := asked(); !slices.Equal(got, []string{"$JS.API.STREAM.MSG.GET.wsnode-stored-0"}) {
		t.Errorf("an opening asks %q", got)
	}
}

// questions returns the function that says what the region's histories have been asked of a
// document since it was asked last.
func (r region) questions(d docid.Document) (asked func() []string) {
	nc, err := nats.Connect(r.url)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(nc.Close)
	came := make(chan *nats.Msg, 1000)
	_, err = nc.ChanSubscribe("$JS.API.>", came)
	if err = errors.Join(err, nc.Flush()); err != nil {
		r.t.Fatal(err)
	}
	return func() (got []string) {
		if err := nc.Flush(); err != nil { // what was asked has come by then
			r.t.Fatal(err)
		}
		for len(came) > 0 {
			if m := <-came; bytes.Contains(m.Data, []byte("wsn.u.s")) && bytes.Contains(m.Data, []byte(d.Name)) {
				got = append(got, m.Subject)
			}
		}
		return slices.Compact(got) // a slow server is asked again
	}
}

// A history that got nothing but its seed is not read when the last user leaves.
func TestWhatAHistoryIsAskedOfADocumentThatNobodyEdited(t *testing.T) {
	r, _ := storing(t)
	r.options = func(o *Options) {
		o.Grace, o.Draining = time.Hour, func() bool { return true } // it is left at once, and purged in hours
	}
	n, d := r.node("a"), numbered("asked", 1)
	v, err := n.tryVisitOf(t, d)
	if err != nil {
		t.Fatal(err)
	}
	asked := r.questions(d)
	v.leave()
	n.settle(t)
	if got := asked(); !slices.Equal(got, []string{"$JS.API.STREAM.MSG.GET.wsnode-stored-0"}) {
		t.Errorf("an end asks %q", got)
	}
}

// A life of which there is a history is found, whatever stands in it.
func TestFormerLivesAreFound(t *testing.T) {
	r, _ := storing(t)
	n := r.node("a")
	l := life{numbered("former", 1), "s-former"}
	if _, err := n.lives.history.AppendAfter(t.Context(), n.lives.subject(l), []byte("x"), 0, 0); err != nil {
		t.Fatal(err)
	}
	for doc, expected := range map[docid.Document][]life{l.doc: {l}, numbered("former", 2): nil} {
		if lives, err := n.lives.of(t.Context(), doc); err != nil || !slices.Equal(lives, expected) {
			t.Errorf("%s: found %v, %v, expected %v", doc, lives, err, expected)
		}
	}
}

// typedByTwo is a body of 100 KB of text, which two clients typed in turns, so many letters
// at a time: no two of these pieces are one struct.
func typedByTwo(letters int) []byte {
	text, pieces := strings.Repeat("x", letters), 100<<10/(letters+6)
	u := []byte{2}
	for client := uint64(2); client > 0; client-- {
		u = binary.AppendUvarint(u, uint64(pieces/2))
		u = append(binary.AppendUvarint(u, client), 0)
		for i := range pieces / 2 {
			if client == 1 && i == 0 {
				u = append(u, 4, 1, 1, 't')
			} else {
				last := uint64(i) * uint64(len(text))
				if client == 2 {
					last += uint64(len(text))
				}
				u = binary.AppendUvarint(append(u, 0x84, byte(3-client)), last-1)
			}
			u = append(binary.AppendUvarint(u, uint64(len(text))), text...)
		}
	}
	return append(u, 0)
}

// letter is the update of one client who types a letter behind the one before, or at the
// root text "t".
func letter(client, clock uint64) []byte {
	u := binary.AppendUvarint([]byte{1, 1}, client)
	u = binary.AppendUvarint(u, clock)
	if clock == 0 {
		return append(u, 4, 1, 1, 't', 1, 'x', 0)
	}
	u = binary.AppendUvarint(append(u, 0x84), client)
	return append(binary.AppendUvarint(u, clock-1), 1, 'x', 0)
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// perLife reports the processor's time since a moment, for each of b.N.
func perLife(b *testing.B, began time.Duration) {
	b.ReportMetric(float64((cpu(b)-began).Microseconds())/float64(b.N), "cpu-µs/op")
}

// serverApart has a region's NATS in a process of its own: only the node is measured.
func (r region) serverApart(b *testing.B) region {
	r.url = natstest.Apart(b)
	return r
}

// costless is a store whose loads take nothing: each has the same body, which is neither
// copied nor hashed.
type costless struct {
	storage.Store
	has storage.Stored
}

func (c costless) Load(ctx context.Context, _ docid.Document, reserve storage.Reserve) (storage.Stored, error) {
	return c.has, reserve.Ask(ctx, int64(len(c.has.Body)))
}

// BenchmarkLife opens documents, all that there are, and leaves them: without a store, and with a body
// of 100 KB in one that answers at once and is in this process, where copy and hash of the body are its
// work, or that does not even do that. It counts what opening takes, and the life until all are closed.
// NATS is apart.
func BenchmarkLife(b *testing.B) {
	b.Run("without a store", func(b *testing.B) { benchmarkLife(b, region{t: b}.serverApart(b).node("a")) })
	for _, letters := range []int{20, 200} {
		body := typedByTwo(letters)
		b.Run(fmt.Sprint("stored, in pieces of ", letters), func(b *testing.B) {
			r, s := storing(b)
			for i := range b.N {
				if _, err := s.Store.Save(b.Context(), numbered("doc", i), storage.Absent, storage.Meta{}, body); err != nil {
					b.Fatal(err)
				}
			}
			benchmarkLife(b, r.serverApart(b).node("a"))
		})
		b.Run(fmt.Sprint("stored at no cost, in pieces of ", letters), func(b *testing.B) {
			r, s := storing(b)
			d := numbered("doc", 0)
			if _, err := s.Store.Save(b.Context(), d, storage.Absent, storage.Meta{}, body); err != nil {
				b.Fatal(err)
			}
			has, err := s.Store.Load(b.Context(), d, nil)
			if err != nil {
				b.Fatal(err)
			}
			r.store = costless{s, has}
			benchmarkLife(b, r.serverApart(b).node("a"))
		})
	}
}

func benchmarkLife(b *testing.B, n *node) {
	began := cpu(b)
	b.ResetTimer()
	open := make([]*Document, b.N)
	for i := range open {
		d, err := n.Enter(b.Context(), numbered("doc", i))
		if err != nil {
			b.Fatal(err)
		}
		open[i] = d
	}
	b.ReportMetric(float64((cpu(b)-began).Microseconds())/float64(b.N), "opening-cpu-µs/op")
	for _, d := range open {
		n.Leave(d)
	}
	b.StopTimer()
	if err := n.AwaitEmpty(b.Context()); err != nil {
		b.Fatal(err)
	}
	perLife(b, began)
}

// BenchmarkStoring makes an edit of a document of 100 KB durable, and has it stored or not.
// NATS is apart, the store in this process.
func BenchmarkStoring(b *testing.B) {
	body := typedByTwo(200)
	for _, stores := range []bool{false, true} {
		b.Run(fmt.Sprint("stored ", stores), func(b *testing.B) {
			r, s := storing(b)
			r = r.serverApart(b)
			r.options = func(o *Options) { o.StoreFirst, o.StoreInterval = time.Hour, time.Hour }
			if _, err := s.Store.Save(b.Context(), todo, storage.Absent, storage.Meta{}, body); err != nil {
				b.Fatal(err)
			}
			n := r.node("a")
			d, err := n.Enter(b.Context(), todo)
			if err != nil {
				b.Fatal(err)
			}
			defer n.Leave(d)
			seat, err := d.Room().Join(client{}, 1)
			if err != nil {
				b.Fatal(err)
			}
			defer seat.Leave()
			began := cpu(b)
			b.ResetTimer()
			for clock := uint64(0); b.Loop(); clock++ {
				if _, err := seat.Apply(letter(3, clock)); err != nil {
					b.Fatal(err)
				}
				if err := d.Room().Durable(b.Context()); err != nil {
					b.Fatal(err)
				}
				if stores {
					if err := n.Save(b.Context(), d); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.StopTimer()
			perLife(b, began)
		})
	}
}
