package cluster

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"
)

// Answer is an HTTP answer, read to its end.
type Answer struct {
	tb     testing.TB
	Status int
	Header http.Header
	Body   []byte
}

// JSON decodes the body into out.
func (a Answer) JSON(out any) {
	a.tb.Helper()
	if err := json.Unmarshal(a.Body, out); err != nil {
		a.tb.Fatalf("status %d, body %q: %v", a.Status, a.Body, err)
	}
}

// Get asks for a URL, with a token in the Authorization header unless it is
// empty. Whatever the status is, it is an answer.
func Get(tb testing.TB, address, token string) Answer {
	tb.Helper()
	return Do(tb, http.MethodGet, address, token, nil)
}

// Do is Get with any method and more header fields.
func Do(tb testing.TB, method, address, token string, header http.Header) Answer {
	tb.Helper()
	request, err := http.NewRequestWithContext(tb.Context(), method, address, nil)
	if err != nil {
		tb.Fatal(err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		tb.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return Answer{tb, response.StatusCode, response.Header, body}
}

// Discovery is the answer of /discovery.
type Discovery struct {
	Region string `json:"region"`
	URL    string `json:"url"`
	IsNew  bool   `json:"isNew"`
}

// Discover asks the node at base where a document is; it must know. Like any
// client it asks again when it is told to: on a machine that is busy enough, a
// registry does not answer in time.
func Discover(tb testing.TB, base, token, document string) (d Discovery) {
	tb.Helper()
	var a Answer
	for range 10 {
		a = Get(tb, base+"/discovery?documentName="+url.QueryEscape(document), token)
		after, err := strconv.Atoi(a.Header.Get("Retry-After"))
		if a.Status != http.StatusServiceUnavailable || err != nil {
			break
		}
		tb.Logf("discovery of %q: %d, asking again in %d s", document, a.Status, after)
		time.Sleep(time.Duration(after) * time.Second)
	}
	if a.Status != http.StatusOK {
		tb.Fatalf("discovery of %q: %d %s", document, a.Status, a.Body)
	}
	a.JSON(&d)
	return d
}

// WaitUnpinned asks the node at base until nobody has the document open and no
// grace period runs, at most the given time, and returns how long that took.
// The registry offers clients no event for it.
func WaitUnpinned(tb testing.TB, base, token, document string, within time.Duration) time.Duration {
	tb.Helper()
	start := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		d := Discover(tb, base, token, document)
		took := time.Since(start)
		if d.IsNew {
			return took
		}
		if took > within {
			tb.Fatalf("%q is still pinned to %s after %v", document, d.Region, took)
		}
	}
}
