// Package stores starts what documents are kept in for tests: a real PostgreSQL, a real S3
// server, and an application's own backend.
package stores

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Backend is what docs/storage.md asks of an application's own backend, and no more. It
// may be used concurrently.
type Backend struct {
	// Check refuses a request with 401; nil lets all through. Set before the first one.
	Check func(http.Header, []byte) error

	mu      sync.Mutex // guards all below
	objects map[string]*Object
	writes  int
	down    bool
}

// Object is what a Backend holds at a path.
type Object struct {
	etag   string
	Header http.Header
	Body   []byte
	Gone   bool
}

// Fail makes all requests fail, or no more.
func (b *Backend) Fail(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

// Change changes the object at an escaped path beside the store; one that is not there
// is a new one.
func (b *Backend) Change(path string, change func(*Object)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.objects[path]
	if o == nil {
		o = b.put(path, &Object{})
	}
	change(o)
}

// Bodies returns what there is that is not deleted, by escaped path.
func (b *Backend) Bodies() map[string][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	bodies := map[string][]byte{}
	for path, o := range b.objects {
		if !o.Gone {
			bodies[path] = o.Body
		}
	}
	return bodies
}

func (b *Backend) put(path string, o *Object) *Object {
	b.writes++
	o.etag = fmt.Sprintf("%q", strconv.Itoa(b.writes))
	if b.objects == nil {
		b.objects = map[string]*Object{}
	}
	b.objects[path] = o
	return o
}

func (b *Backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if b.Check != nil {
		if err := b.Check(r.Header, body); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	path := r.URL.EscapedPath()
	o := b.objects[path]
	switch {
	case b.down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		o.read(w, r)
	case r.Method != http.MethodPut && r.Method != http.MethodDelete:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case !holds(r.Header, o):
		w.WriteHeader(http.StatusPreconditionFailed)
	default:
		o = b.put(path, &Object{Header: kept(r.Header), Body: body, Gone: r.Method == http.MethodDelete})
		w.Header().Set("ETag", o.etag)
		w.WriteHeader(http.StatusNoContent)
	}
}

// kept are the headers that a backend stores and gives back.
func kept(h http.Header) http.Header {
	k := http.Header{}
	for name, values := range h {
		if strings.HasPrefix(name, "Wsnode-") || name == "Content-Digest" {
			k[name] = values
		}
	}
	return k
}

// holds judges the conditions of a write. A tombstone is something that is there.
func holds(h http.Header, o *Object) bool {
	if match := h.Get("If-Match"); match != "" {
		return o != nil && o.etag == match
	}
	return h.Get("If-None-Match") == "*" && o == nil
}

func (o *Object) read(w http.ResponseWriter, r *http.Request) {
	if o == nil {
		w.Header().Set("wsnode-absent", "1")
		w.WriteHeader(http.StatusNotFound)
		return
	}
	for name, values := range o.Header {
		w.Header()[name] = values
	}
	w.Header().Set("ETag", o.etag)
	if o.Gone {
		w.WriteHeader(http.StatusGone)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(o.Body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(o.Body)
	}
}
