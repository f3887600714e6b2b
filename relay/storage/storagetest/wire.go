package storagetest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
)

// Wire is the way to a store that speaks HTTP, and fails as it is told to. It hands
// requests on to Handler and its answers back.
type Wire struct {
	Handler http.Handler

	// Refuse answers a request as the store does if permissions are gone; nil is 403.
	Refuse http.HandlerFunc

	mu    sync.Mutex // guards all below
	fault Fault
}

// Inject is for Harness.Inject.
func (w *Wire) Inject(f Fault) (end func(), err error) {
	w.set(f)
	return func() { w.set(None) }, nil
}

func (w *Wire) set(f Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = f
}

// ServeHTTP implements http.Handler.
func (w *Wire) ServeHTTP(answer http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	fault := w.fault
	w.mu.Unlock()
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case fault == Down || fault == Truncated && !read:
		panic(http.ErrAbortHandler) // closes the connection
	case fault == Slow:
		// The server notices that the caller is gone only when all has been read.
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	case fault == Failing:
		http.Error(answer, "injected fault", http.StatusInternalServerError)
	case fault == Refusal && w.Refuse != nil:
		w.Refuse(answer, r)
	case fault == Refusal:
		http.Error(answer, "injected fault", http.StatusForbidden)
	case fault == LostReply && !read:
		w.Handler.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case fault == Truncated:
		w.truncate(answer, r)
	default:
		w.Handler.ServeHTTP(answer, r)
	}
}

// truncate gives half of a body that was announced whole.
func (w *Wire) truncate(answer http.ResponseWriter, r *http.Request) {
	whole := httptest.NewRecorder()
	w.Handler.ServeHTTP(whole, r)
	for name, values := range whole.Header() {
		answer.Header()[name] = values
	}
	body := whole.Body.Bytes()
	if r.Method == http.MethodGet {
		answer.Header().Set("Content-Length", fmt.Sprint(len(body)))
	}
	answer.WriteHeader(whole.Code)
	_, _ = io.Copy(answer, bytes.NewReader(body[:len(body)/2]))
	if len(body) > 0 {
		_ = http.NewResponseController(answer).Flush()
		panic(http.ErrAbortHandler)
	}
}
