package docs_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/docs"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
	"github.com/wsnode/wsnode/relay/ystore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const license docid.LicenseRegion = "aws-eu-west-1"

var todo = docid.Document{License: license, Tenant: "acme", App: "notes", Name: "todo"}

// Updates of two clients, who typed "a" and "b" into the text "t".
var (
	typedA = []byte{1, 1, 1, 0, 4, 1, 1, 't', 1, 'a', 0}
	typedB = []byte{1, 1, 2, 0, 4, 1, 1, 't', 1, 'b', 0}
	empty  = []byte{0, 0}
)

// pins is a registry with one answer.
type pins struct {
	state  kvpin.State
	err    error
	holder docid.NodeID // of the pin that is there; "": there is none
	silent error        // why it does not answer
	asked  []kvpin.Pin  // of those who have not answered
	told   []docid.NodeID
}

func (p *pins) Unanswered(context.Context, docid.Document) ([]kvpin.Pin, error) {
	return p.asked, p.err
}

func (p *pins) pin() kvpin.Pin {
	return kvpin.Pin{Region: "us-east-1", Holders: []kvpin.Holder{{Node: p.holder}}}
}

func (p *pins) Evict(context.Context, docid.Document) (removed []kvpin.Pin, err error) {
	if p.err == nil && p.holder != "" {
		removed = append(removed, p.pin())
		p.state = kvpin.Free
	}
	return removed, p.err
}

func (p *pins) StoreChanged(_ context.Context, _ docid.Document, pin kvpin.Pin, _ bool) ([]docid.NodeID, error) {
	node := pin.Holders[0].Node
	p.asked = nil
	if p.silent != nil {
		p.asked = []kvpin.Pin{pin}
		return []docid.NodeID{node}, p.silent
	}
	p.told = append(p.told, node)
	return nil, nil
}

func (p *pins) Lookup(context.Context, docid.Document) (kvpin.Pin, kvpin.State, error) {
	return p.pin(), p.state, p.err
}

func open(configure ...func(*docs.Config)) (*docs.Docs, *storagetest.Faulty, *pins) {
	s, p := &storagetest.Faulty{Store: storagetest.NewMemory()}, &pins{state: kvpin.Free}
	c := docs.Config{
		Region: "eu-central-1", Pins: p, Budget: storage.NewBudget(1 << 20),
		Store: func(l docid.LicenseRegion) (storage.Store, string) {
			if l != license {
				return nil, ""
			}
			return s, "id"
		},
	}
	for _, f := range configure {
		f(&c)
	}
	return docs.New(c), s, p
}

// content is what a document holds, for comparison.
func content(t *testing.T, updates ...[]byte) string {
	t.Helper()
	y := ystore.New(ystore.Limits{})
	for _, u := range updates {
		if _, err := y.Apply(u); err != nil {
			t.Fatal(err)
		}
	}
	return string(y.Encode())
}

func body(t *testing.T, d *docs.Docs) string {
	t.Helper()
	stored, done, err := d.Get(t.Context(), todo)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	return content(t, stored.Body)
}

func TestPutMergesWithWhatIsStored(t *testing.T) {
	d, s, _ := open()
	for _, step := range []struct {
		update   []byte
		expected docs.Outcome
		content  [][]byte
	}{
		{typedA, docs.Created, [][]byte{typedA}},
		{typedA, docs.Unchanged, [][]byte{typedA}},
		{typedB, docs.Merged, [][]byte{typedA, typedB}},
		{typedA, docs.Unchanged, [][]byte{typedA, typedB}},
		{empty, docs.Unchanged, [][]byte{typedA, typedB}},
	} {
		dry, err := d.Put(t.Context(), todo, step.update, docs.PutOptions{DryRun: true})
		if err != nil || dry.Outcome != step.expected {
			t.Errorf("dry run: %+v, %v; expected %s", dry, err, step.expected)
		}
		result, err := d.Put(t.Context(), todo, step.update, docs.PutOptions{})
		if err != nil || result.Outcome != step.expected {
			t.Errorf("%+v, %v; expected %s", result, err, step.expected)
		}
		if body(t, d) != content(t, step.content...) {
			t.Errorf("the store does not hold what was put into it")
		}
		if info, err := s.Stat(t.Context(), todo); err != nil || info.Version != result.Version || info.Region != "eu-central-1" && step.expected != docs.Unchanged {
			t.Errorf("stored as %+v, %v", info, err)
		}
	}
	if _, err := d.Put(t.Context(), todo, typedA, docs.PutOptions{Create: true}); !errors.Is(err, docs.ErrExists) {
		t.Errorf("created twice: %v", err)
	}
}

func TestADryRunWritesNothing(t *testing.T) {
	d, s, _ := open()
	if result, err := d.Put(t.Context(), todo, typedA, docs.PutOptions{DryRun: true}); err != nil || result.Outcome != docs.Created {
		t.Errorf("%+v, %v", result, err)
	}
	if _, err := s.Stat(t.Context(), todo); !errors.Is(err, storage.ErrAbsent) {
		t.Errorf("it wrote: %v", err)
	}
}

func TestWhatIsNoUpdateIsNotStored(t *testing.T) {
	d, s, _ := open()
	for _, wrong := range [][]byte{nil, []byte("hello"), typedA[:5]} {
		if _, err := d.Put(t.Context(), todo, wrong, docs.PutOptions{}); !errors.Is(err, docs.ErrNotUpdate) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if s.Calls() != 0 {
		t.Error("the store was asked")
	}
}

func TestALiveDocumentIsNotChangedBehindItsUsers(t *testing.T) {
	for _, state := range []kvpin.State{kvpin.Live, kvpin.Grace, kvpin.Orphaned} {
		d, s, p := open()
		p.state = state
		var live *docs.LiveError
		if _, err := d.Put(t.Context(), todo, typedA, docs.PutOptions{}); !errors.As(err, &live) || live.Region != "us-east-1" {
			t.Errorf("put over a document that is %s: %v", state, err)
		}
		if s.Calls() != 0 {
			t.Error("the store was asked")
		}
	}
	d, _, p := open()
	p.err = kvpin.ErrUnavailable
	if _, err := d.Put(t.Context(), todo, typedA, docs.PutOptions{}); !errors.Is(err, kvpin.ErrUnavailable) {
		t.Errorf("put although nobody knows whether it is live: %v", err)
	}
}

func TestADeletedDocumentComesBackOnlyWhenToldTo(t *testing.T) {
	d, s, _ := open()
	if _, err := d.Put(t.Context(), todo, typedA, docs.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, expected := range []docs.Outcome{docs.Deleted, docs.Unchanged} {
		if result, err := d.Delete(t.Context(), todo); err != nil || result.Outcome != expected {
			t.Errorf("%+v, %v; expected %s", result, err, expected)
		}
	}
	var tombstone *storage.DeletedError
	if _, err := d.Put(t.Context(), todo, typedB, docs.PutOptions{}); !errors.As(err, &tombstone) || tombstone.Tombstone.Generation == 0 {
		t.Errorf("put over a tombstone: %v", err)
	}
	if result, err := d.Put(t.Context(), todo, typedB, docs.PutOptions{Undelete: true}); err != nil || result.Outcome != docs.Created {
		t.Errorf("%+v, %v", result, err)
	}
	if body(t, d) != content(t, typedB) {
		t.Error("it came back with what was deleted")
	}
	info, err := s.Stat(t.Context(), todo)
	if err != nil || info.Generation != tombstone.Tombstone.Generation {
		t.Errorf("generation %s, expected the tombstone's %s, %v", info.Generation, tombstone.Tombstone.Generation, err)
	}
}

// The tombstone comes first: whoever opens the document after its pin has gone finds it.
func TestALiveDocumentIsDeletedAndThoseWhoHaveItOpenAreTold(t *testing.T) {
	d, s, p := open()
	if _, err := d.Put(t.Context(), todo, typedA, docs.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	p.state, p.holder, p.silent = kvpin.Live, "a", context.DeadlineExceeded
	for range 2 { // the second time its pin is gone
		var silent *docs.SilentError
		if _, err := d.Delete(t.Context(), todo); !errors.As(err, &silent) || !slices.Equal(silent.Nodes, []docid.NodeID{"a"}) {
			t.Errorf("it is deleted although a node has not closed it: %v", err)
		}
		p.holder = ""
	}
	if _, err := s.Stat(t.Context(), todo); !errors.Is(err, storage.ErrDeleted) || p.state != kvpin.Free {
		t.Errorf("the pin is %s: %v", p.state, err)
	}
	p.silent = nil
	if result, err := d.Delete(t.Context(), todo); err != nil || result.Outcome != docs.Unchanged || !slices.Equal(p.told, []docid.NodeID{"a"}) {
		t.Errorf("told are %v: %+v, %v", p.told, result, err)
	}
	p.err = kvpin.ErrUnavailable
	if _, err := d.Delete(t.Context(), todo); !errors.Is(err, kvpin.ErrUnavailable) {
		t.Errorf("it is deleted although nobody knows who has it: %v", err)
	}
}

// Who has opened the document between the look and the write is told.
func TestWhoHasJustOpenedADocumentSeesWhatIsPutIntoItsStore(t *testing.T) {
	d, s, p := open()
	p.holder = "a"
	s.Choose = func(operation string, _ docid.Document) storagetest.Fault {
		if operation == "save" {
			p.state = kvpin.Live
		}
		return storagetest.None
	}
	if _, err := d.Put(t.Context(), todo, typedA, docs.PutOptions{}); err != nil || !slices.Equal(p.told, []docid.NodeID{"a"}) {
		t.Errorf("told are %v: %v", p.told, err)
	}
}

func TestADocumentThatNeverWasIsDeletedToo(t *testing.T) {
	d, s, _ := open()
	if result, err := d.Delete(t.Context(), todo); err != nil || result.Outcome != docs.Deleted {
		t.Errorf("%+v, %v", result, err)
	}
	if _, err := s.Stat(t.Context(), todo); !errors.Is(err, storage.ErrDeleted) {
		t.Errorf("no tombstone: %v", err)
	}
}

func TestPutMeetsOthersWhoWrite(t *testing.T) {
	d, s, _ := open()
	if _, err := d.Put(t.Context(), todo, empty, docs.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	written := false
	s.Choose = func(operation string, _ docid.Document) storagetest.Fault {
		if operation == "save" && !written {
			written = true // another one is a moment earlier
			info, err := s.Store.Stat(t.Context(), todo)
			if err == nil {
				_, err = s.Store.Save(t.Context(), todo, info.Version, info.Meta, typedB)
			}
			if err != nil {
				t.Error(err)
			}
		}
		return storagetest.None
	}
	if _, err := d.Put(t.Context(), todo, typedA, docs.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if body(t, d) != content(t, typedA, typedB) {
		t.Error("what the other one wrote is gone")
	}
}

func TestALicenseRegionWithoutAStoreSaysSo(t *testing.T) {
	d, _, _ := open()
	doc := todo
	doc.License = "aws-us-east-1"
	_, putErr := d.Put(t.Context(), doc, typedA, docs.PutOptions{})
	_, statErr := d.Stat(t.Context(), doc)
	_, listErr := d.List(t.Context(), storage.Query{License: doc.License})
	_, deleteErr := d.Delete(t.Context(), doc)
	for _, err := range []error{putErr, statErr, listErr, deleteErr} {
		if !errors.Is(err, docs.ErrNoStore) {
			t.Errorf("%v", err)
		}
	}
}

func TestVersionsOfADocumentAreReadAndErased(t *testing.T) {
	d, s, _ := open()
	was := time.Now().Add(-24 * time.Hour)
	if _, err := s.Save(t.Context(), todo, storage.Absent, storage.Meta{Time: was}, typedA); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Put(t.Context(), todo, typedB, docs.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	versions, err := d.Versions(t.Context(), todo)
	if err != nil || len(versions) != 1 {
		t.Fatalf("versions %+v, %v; expected that of yesterday", versions, err)
	}
	stored, done, err := d.GetVersion(t.Context(), todo, versions[0].ID)
	if err != nil || string(stored.Body) != string(typedA) {
		t.Fatalf("version: %q, %v", stored.Body, err)
	}
	done()
	if _, err := d.Erase(t.Context(), todo); !errors.Is(err, docs.ErrNotDeleted) {
		t.Errorf("erase what is there: %v, expected ErrNotDeleted", err)
	}
	if _, err := d.Delete(t.Context(), todo); err != nil {
		t.Fatal(err)
	}
	for _, expected := range []int{2, 0} { // with what was there before the deletion
		if n, err := d.Erase(t.Context(), todo); err != nil || n != expected {
			t.Errorf("%d erased, %v; expected %d", n, err, expected)
		}
	}
	if _, _, err := d.GetVersion(t.Context(), todo, versions[0].ID); !errors.Is(err, storage.ErrAbsent) {
		t.Errorf("an erased version: %v, expected ErrAbsent", err)
	}
}
