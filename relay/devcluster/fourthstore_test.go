package devcluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/devcluster"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// journal is a kind of store that the product does not know: one list of all writes, of
// which a document's last one is what it holds.
type journal struct {
	mu     sync.Mutex
	writes []write
}

type write struct {
	document docid.Document
	storage.Stored
}

// last is the newest write of a document; its zero value if there is none. Callers hold mu.
func (j *journal) last(d docid.Document) storage.Stored {
	for _, w := range slices.Backward(j.writes) {
		if w.document == d {
			return w.Stored
		}
	}
	return storage.Stored{}
}

func (j *journal) Stat(ctx context.Context, d docid.Document) (storage.Info, error) {
	if err := ctx.Err(); err != nil {
		return storage.Info{}, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	last := j.last(d)
	if last.Version == storage.Absent {
		return storage.Info{}, fmt.Errorf("%s: %w", d, storage.ErrAbsent)
	}
	return storage.Found(d, last.Info)
}

func (j *journal) Load(ctx context.Context, d docid.Document, reserve storage.Reserve) (storage.Stored, error) {
	info, err := j.Stat(ctx, d)
	if err == nil {
		err = reserve.Ask(ctx, info.Size)
	}
	if err != nil {
		return storage.Stored{}, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	last := j.last(d)
	if _, err := storage.Found(d, last.Info); err != nil {
		return storage.Stored{}, err
	}
	last.Body = slices.Clone(last.Body)
	return last, storage.CheckBody(d, last.Info, last.Body)
}

func (j *journal) Save(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	if err := storage.CheckSave(d, body); err != nil {
		return storage.Absent, err
	}
	return j.append(ctx, d, expect, storage.Stored{Info: storage.Described(m, body), Body: slices.Clone(body)})
}

func (j *journal) Delete(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta) (storage.Version, error) {
	return j.append(ctx, d, expect, storage.Stored{Info: storage.Described(m, nil)})
}

func (j *journal) append(ctx context.Context, d docid.Document, expect storage.Version, next storage.Stored) (storage.Version, error) {
	if err := ctx.Err(); err != nil {
		return storage.Absent, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if current := j.last(d); current.Version != expect {
		return storage.Absent, storage.Mismatch(d, current.Info)
	}
	next.Version = storage.Version(fmt.Sprint("line ", len(j.writes)))
	j.writes = append(j.writes, write{d, next})
	return next.Version, nil
}

func (j *journal) List(context.Context, storage.Query) (storage.Page, error) {
	return storage.Page{}, errors.ErrUnsupported
}

func (j *journal) Close() error { return nil }

// textOf is a Yjs update by which a client types into a text of its own.
func textOf(client byte, root, text string) []byte {
	u := append([]byte{1, 1, client, 0, 4, 1, byte(len(root))}, root...)
	return append(append(append(u, byte(len(text))), text...), 0)
}

func TestAFourthKindOfStorageTouchesNoFileOfTheProduct(t *testing.T) {
	t.Run("it keeps the contract", func(t *testing.T) {
		j := new(journal)
		storagetest.Run(t, &storagetest.Harness{Store: j, Other: j, Large: 1 << 20, Unlisted: true})
	})
	t.Run("a node keeps documents in it", func(t *testing.T) {
		j, license := new(journal), docid.LicenseRegion("aws-eu-west-1")
		c := devcluster.ForTest(t, devcluster.Options{Node: relay.Options{Stores: map[docid.LicenseRegion]storage.Store{license: j}}})
		d := docid.Document{License: license, Tenant: "acme", App: "notes", Name: "todo"}
		if _, err := j.Save(t.Context(), d, storage.Absent, storage.Meta{}, textOf(10, "title", "from the journal")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		url, token := c.Client(authn.Subject{Tenant: d.Tenant, App: d.App})
		ws, err := connect(t, url, token)
		if err != nil {
			t.Fatal(err)
		}
		typed := textOf(11, "body", "into the journal")
		for _, message := range [][]byte{{0, 0, 1, 0}, append([]byte{0, 2, byte(len(typed))}, typed...)} { // SyncStep1, update
			if err := ws.Write(ctx, websocket.MessageBinary, message); err != nil {
				t.Fatal(err)
			}
		}
		for got := []byte(nil); !bytes.Contains(got, []byte("from the journal")); {
			if _, got, err = ws.Read(ctx); err != nil {
				t.Fatalf("what was stored is not sent: %v", err)
			}
		}
		_ = ws.Close(websocket.StatusNormalClosure, "")
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			stored, err := j.Load(ctx, d, nil)
			if err != nil {
				t.Fatalf("what was typed is not stored: %v", err)
			}
			if bytes.Contains(stored.Body, []byte("from the journal")) && bytes.Contains(stored.Body, []byte("into the journal")) {
				tick.Stop()
				return
			}
			<-tick.C
		}
	})
}
