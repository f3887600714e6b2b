package torture

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
	storehttp "github.com/wsnode/wsnode/relay/storage/http"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/relay/ystore"
	"github.com/wsnode/wsnode/test/stores"
)

// Ways in which a request for a document fails.
const (
	down      = "down"       // the connection ends, nothing has happened
	slow      = "slow"       // the answer comes late, perhaps when nobody waits any more
	lostReply = "lost reply" // it happens, and the connection ends
	refusal   = "refusal"    // 403
	conflict  = "conflict"   // somebody else has written a moment before
	away      = "away"       // all of them for a while: as down
)

var failures = []string{down, slow, lostReply, refusal, conflict}

const (
	// failureShare is the share of the requests that fail in each of the ways.
	failureShare = 0.05
	storeTimeout = time.Second // of the nodes
	storePath    = "/documents/"
	storeURL     = storePath + "{dbCode}/{tenantId}/{appId}/{document}"
)

// badStore is an application's backend that fails at random, and to which somebody else
// writes, too.
type badStore struct {
	stores.Backend
	url     string           // for the nodes
	foreign *storehttp.Store // never fails

	mu       sync.Mutex // guards all below
	random   *rand.Rand
	failing  bool
	isAway   bool
	happened map[string]int
	theirs   map[docid.Document][]uint64 // Yjs clients that somebody else wrote as
}

func startBadStore(t *testing.T, seed uint64) *badStore {
	t.Helper()
	s := &badStore{
		random: rand.New(rand.NewPCG(seed, 1)), failing: true,
		happened: map[string]int{}, theirs: map[docid.Document][]uint64{},
	}
	bad, good := httptest.NewServer(http.HandlerFunc(s.serve)), httptest.NewServer(&s.Backend)
	t.Cleanup(bad.Close)
	t.Cleanup(good.Close)
	s.url = bad.URL + storeURL
	var err error
	if s.foreign, err = storehttp.Open(t.Context(), storehttp.Config{URL: good.URL + storeURL}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.foreign.Close() })
	return s
}

// draw chooses how a request goes, and for how long it waits if it is slow.
func (s *badStore) draw(r *http.Request) (failure string, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isAway {
		s.happened[away]++
		return away, 0
	}
	if !s.failing {
		return "", 0
	}
	n := int(s.random.Float64() / failureShare)
	if n >= len(failures) || failures[n] == conflict && r.Method != http.MethodPut {
		return "", 0
	}
	if failures[n] != conflict { // of that only what really was in the way counts
		s.happened[failures[n]]++
	}
	return failures[n], time.Duration(s.random.Int64N(int64(2 * storeTimeout)))
}

func (s *badStore) serve(w http.ResponseWriter, r *http.Request) {
	doc, ok := documentOf(r.URL.Path)
	if !ok { // the marker: a store that lost it is another one
		s.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	failure, wait := s.draw(r)
	switch failure {
	case down, away:
		panic(http.ErrAbortHandler)
	case refusal:
		w.WriteHeader(http.StatusForbidden)
		return
	case slow:
		time.Sleep(wait)
	case lostReply:
		s.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case conflict:
		s.meddle(r, doc)
	}
	s.ServeHTTP(w, r)
}

// documentOf reads which document a path is about.
func documentOf(path string) (d docid.Document, ok bool) {
	parts := strings.Split(strings.TrimPrefix(path, storePath), "/")
	if len(parts) != 4 {
		return d, false
	}
	return docid.Document{License: docid.LicenseRegion(parts[0]), Tenant: docid.Tenant(parts[1]), App: docid.App(parts[2]), Name: parts[3]}, true
}

// meddle has somebody else save a document with an edit of their own.
func (s *badStore) meddle(r *http.Request, doc docid.Document) {
	held, err := s.foreign.Load(r.Context(), doc, nil)
	expect := held.Version
	if err != nil { // it is absent
		expect = storage.Absent
	}
	client := uint64(rand.Uint32()) + 1<<33
	updates := [][]byte{foreignEdit(client)}
	if held.Body != nil {
		updates = append(updates, held.Body)
	}
	body, err := ystore.Merge(updates)
	if err != nil {
		return
	}
	meta := storage.Meta{Generation: held.Generation, Epoch: "foreign", Region: "elsewhere", Time: time.Now()}
	if _, err := s.foreign.Save(r.Context(), doc, expect, meta, body); err != nil {
		return // a node was faster
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.happened[conflict]++
	s.theirs[doc] = append(s.theirs[doc], client)
}

const foreignText = "theirs"

// foreignEdit is the first edit of a Yjs client, in the root text "foreign".
func foreignEdit(client uint64) []byte {
	u := binary.AppendUvarint([]byte{1, 1}, client)
	u = append(u, 0, 4, 1) // clock 0; a string; its parent is named
	u = wire.AppendBytes(u, []byte("foreign"))
	return append(wire.AppendBytes(u, []byte(foreignText)), 0)
}

func (s *badStore) setAway(is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isAway = is
}

// heal ends all failures.
func (s *badStore) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing, s.isAway = false, false
}

// has returns how often something happened.
func (s *badStore) has(failure string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.happened[failure]
}

// lacks returns how many of the edits of somebody else a body lacks.
func (s *badStore) lacks(doc docid.Document, body []byte) (n int, err error) {
	held := ystore.New(ystore.Limits{})
	if _, err := held.Apply(body); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, client := range s.theirs[doc] {
		brings, err := held.Brings(foreignEdit(client))
		if err != nil {
			return 0, err
		}
		if brings {
			n++
		}
	}
	return n, nil
}
