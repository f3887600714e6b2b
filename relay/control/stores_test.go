package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/control"
)

// fakeStore is a node's store of one license region.
type fakeStore struct {
	mu     sync.Mutex
	bodies map[control.Document][]byte
	put    []control.StorePutRequest
	hang   chan struct{} // what Stored waits for; nil: nothing
	list   int           // rows
}

func (f *fakeStore) Stores(_ context.Context, check bool) []control.StoreState {
	return []control.StoreState{{License: "aws-eu-west-1", State: control.StoreOK, ID: "A", CheckMS: map[bool]float64{true: 1}[check]}}
}

func (f *fakeStore) Stored(ctx context.Context, d control.Document) (control.Stored, error) {
	if f.hang != nil {
		select {
		case <-f.hang:
		case <-ctx.Done():
			return control.Stored{}, ctx.Err()
		}
	}
	return control.Stored{Document: d, State: control.StoredAbsent}, nil
}

func (f *fakeStore) Fetch(_ context.Context, d control.Document, version string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if version != "" {
		return []byte("was " + version), nil
	}
	if body, ok := f.bodies[d]; ok {
		return body, nil
	}
	return nil, control.NotFound("%s is not in the store", d)
}

func (f *fakeStore) StoreList(_ context.Context, r control.StoreListRequest) (p control.StoreListPage, err error) {
	first := 0
	if r.After != "" {
		if _, err := fmt.Sscan(r.After, &first); err != nil {
			return p, err
		}
	}
	for i := first; i < f.list && len(p.Rows) < r.Limit; i++ {
		d := document
		d.Name = strings.Repeat("\x01", 1000) + fmt.Sprint(i)
		p.Rows = append(p.Rows, control.StoreEntry{Document: d, Size: int64(i)})
	}
	if next := first + len(p.Rows); next < f.list {
		p.Next = fmt.Sprint(next)
	}
	return p, nil
}

func (f *fakeStore) StoreVersions(context.Context, control.Document) (all []control.StoreVersion, err error) {
	for i := range f.list {
		all = append(all, control.StoreVersion{ID: strings.Repeat("v", 60), Time: time.Now(), Replaced: time.Now(), Size: int64(i)})
	}
	return all, nil
}

func (f *fakeStore) StoreDrop(context.Context, control.Document) (control.StoreResult, error) {
	return control.StoreResult{Outcome: "dropped"}, nil
}

func (f *fakeStore) StoreErase(context.Context, control.Document) (control.StoreErased, error) {
	return control.StoreErased{Versions: f.list}, nil
}

func (f *fakeStore) StoreAccept(context.Context, control.StoreAcceptRequest) (control.StoreAccepted, error) {
	return control.StoreAccepted{Lost: "something"}, nil
}

func (f *fakeStore) StorePut(_ context.Context, r control.StorePutRequest, update []byte) (control.StoreResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put = append(f.put, r)
	if f.bodies == nil {
		f.bodies = map[control.Document][]byte{}
	}
	f.bodies[r.Document] = update
	return control.StoreResult{Outcome: "created", Size: int64(len(update))}, nil
}

func (f *fakeStore) Save(context.Context, control.Document) (control.Kept, error) {
	return control.Kept{Version: "1", Clean: true}, nil
}

func (f *fakeStore) StoreDelete(context.Context, control.Document) (control.StoreResult, error) {
	return control.StoreResult{Outcome: "deleted"}, nil
}

func (f *fakeStore) StoreName(_ context.Context, r control.StoreNameRequest) (control.StoreState, error) {
	return control.StoreState{License: r.License, ID: r.Marker}, nil
}

func (f *fakeStore) Move(_ context.Context, r control.MoveRequest) (control.Moved, error) {
	if r.To == "nowhere" {
		return control.Moved{}, control.Wrong("there is no region %s", r.To)
	}
	return control.Moved{TookMS: 12, StoppedMS: 3}, nil
}

func (f *fakeStore) Unstored(context.Context) (control.Unstored, error) {
	return control.Unstored{Count: 1, Documents: []control.Document{{Name: "todo"}}}, nil
}

func (f *fakeStore) MaxPut() int { return 4 << 20 }

func TestStoredDocumentsGoInAndOutInParts(t *testing.T) {
	f := &fake{name: "n1", fakeStore: &fakeStore{}}
	c, _ := serve(t, f)
	for _, size := range []int{0, 1, 4 << 20} {
		update := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		sent := 0
		result, err := c.StorePut(t.Context(), "n1", control.StorePutRequest{Document: document, Undelete: true}, update, func(bytes int) { sent = bytes })
		if err != nil || result.Size != int64(size) || sent != size {
			t.Fatalf("%d bytes: %+v, %v, %d sent", size, result, err, sent)
		}
		var got []byte
		err = c.Fetch(t.Context(), "n1", document, "", func(part []byte, whole int) error {
			if got = append(got, part...); whole != size {
				t.Errorf("%d bytes in all, expected %d", whole, size)
			}
			return nil
		})
		if err != nil || !bytes.Equal(got, update) {
			t.Errorf("%d bytes came back of %d, %v", len(got), size, err)
		}
	}
	if last := f.put[len(f.put)-1]; last.Document != document || !last.Undelete || last.Create {
		t.Errorf("it was asked for %+v", last)
	}
	var refused *control.Error
	if _, err := c.StorePut(t.Context(), "n1", control.StorePutRequest{Document: document}, make([]byte, 4<<20+1), nil); !errors.As(err, &refused) || refused.Code != control.CodeWrong {
		t.Errorf("too large a document: %v", err)
	}
	other := document
	other.Name = "other"
	if err := c.Fetch(t.Context(), "n1", other, "", func([]byte, int) error { return nil }); !errors.As(err, &refused) || refused.Code != control.CodeNotFound {
		t.Errorf("a document that is not there: %v", err)
	}
}

// What is refused is refused after its handler has returned, at which the library looks
// at what it answered itself: the race detector finds answers that it sees.
func TestRefusalsOfStoresComeLate(t *testing.T) {
	f := &fake{name: "n1", fakeStore: &fakeStore{}}
	c, _ := serve(t, f)
	for range 200 {
		var refused *control.Error
		err := c.Fetch(t.Context(), "n1", document, "", func([]byte, int) error { return nil })
		if !errors.As(err, &refused) || refused.Code != control.CodeNotFound || !strings.Contains(refused.Description, "is not in the store") {
			t.Fatalf("a document that is not there: %v", err)
		}
	}
}

func TestAListOfStoredDocumentsFitsIntoMessages(t *testing.T) {
	const rows = 500
	c, _ := serve(t, &fake{name: "n1", fakeStore: &fakeStore{list: rows}})
	n := 0
	for row, err := range c.StoreList(t.Context(), "n1", control.StoreListRequest{License: "aws-eu-west-1"}) {
		if err != nil {
			t.Fatal(err)
		}
		if row.Size != int64(n) {
			t.Fatalf("row %d follows %d", row.Size, n)
		}
		n++
	}
	if n != rows {
		t.Errorf("%d rows of %d", n, rows)
	}
}

func TestAStoreThatHangsHoldsUpNobodyElse(t *testing.T) {
	f := &fake{name: "n1", fakeStore: &fakeStore{hang: make(chan struct{})}}
	c, _ := serve(t, f)
	first := make(chan error, 1)
	go func() {
		_, err := c.Stored(t.Context(), "n1", document)
		first <- err
	}()
	if states, err := c.Stores(t.Context(), "n1", true); err != nil || len(states) != 1 || states[0].CheckMS == 0 {
		t.Errorf("%+v, %v", states, err)
	}
	second := make(chan error, 1)
	go func() {
		_, err := c.Stored(t.Context(), "n1", document)
		second <- err
	}()
	close(f.hang)
	for _, answer := range []chan error{first, second} {
		if err := <-answer; err != nil {
			t.Error(err)
		}
	}
}

func TestVersionsAreListedReadAndErased(t *testing.T) {
	const rows = 5_000 // more than an answer holds
	c, _ := serve(t, &fake{name: "n1", fakeStore: &fakeStore{list: rows}})
	n := 0
	for v, err := range c.StoreVersions(t.Context(), "n1", document) {
		if err != nil || v.Size != int64(n) {
			t.Fatalf("row %d: %+v, %v", n, v, err)
		}
		n++
	}
	if n != rows {
		t.Errorf("%d rows of %d", n, rows)
	}
	var got []byte
	if err := c.Fetch(t.Context(), "n1", document, "v7", func(part []byte, _ int) error { got = append(got, part...); return nil }); err != nil || string(got) != "was v7" {
		t.Errorf("fetched %q, %v", got, err)
	}
	if dropped, err := c.StoreDrop(t.Context(), "n1", document); err != nil || dropped.Outcome != "dropped" {
		t.Errorf("%+v, %v", dropped, err)
	}
	if erased, err := c.StoreErase(t.Context(), "n1", document); err != nil || erased.Versions != rows {
		t.Errorf("erased %+v, %v", erased, err)
	}
}
