package kvpin

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// hints remembers what Lookup has just read, so that the Hold that follows a look
// up can write at once: should the entry be stale, its revision no longer fits.
// The zero value is ready.
type hints struct {
	mu    sync.Mutex
	slots [256]hint
}

type hint struct {
	doc docid.Document
	e   kv.Entry
	at  time.Time
}

// hintLife keeps a hint for about the time between a look up and its Hold.
const hintLife = 2 * time.Second

var hintSeed = maphash.MakeSeed()

func (h *hints) slot(doc docid.Document) *hint {
	return &h.slots[maphash.Comparable(hintSeed, doc)%uint64(len(h.slots))]
}

func (h *hints) put(doc docid.Document, e kv.Entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*h.slot(doc) = hint{doc, e, time.Now()}
}

// take returns the hint and forgets it.
func (h *hints) take(doc docid.Document) (kv.Entry, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.slot(doc)
	if s.doc != doc || time.Since(s.at) > hintLife {
		return kv.Entry{}, false
	}
	e := s.e
	*s = hint{}
	return e, true
}
