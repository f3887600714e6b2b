package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/foreign"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/storage"
)

// importing is one run of an import.
type importing struct {
	c     *command.Env
	f     *importFlags
	nodes []storeNode
	seen  map[docid.Document]string // documents that came, and from which file

	mu       sync.Mutex // guards all below
	outcomes map[string]int
	failures []string
	stopped  error
}

// document says which document a file is. The error says why it is not taken.
func (i *importing) document(s foreign.Source) (d docid.Document, n storeNode, err error) {
	if s.Wrong != nil {
		return d, n, s.Wrong
	}
	if s.Entry != nil {
		d = s.Entry.Document.Docname()
	} else if s.Name != "" {
		if i.f.tenant == "" || i.f.app == "" {
			return d, n, errors.New("it names no tenant and no app: say which by --tenant and --app")
		}
		d = docid.Document{Tenant: docid.Tenant(i.f.tenant), App: docid.App(i.f.app), Name: s.Name}
	} else if d, err = i.named(s.File); err != nil {
		return d, n, err
	}
	if i.f.store.license != "" {
		d.License = docid.LicenseRegion(i.f.store.license)
	}
	if d.License == "" && len(i.nodes) == 1 {
		d.License = i.nodes[0].license
	}
	at := slices.IndexFunc(i.nodes, func(n storeNode) bool { return n.license == d.License })
	switch folded, err := docid.Parse(d.Name); {
	case d.License == "":
		return d, n, errors.New("it names no license region: say which by --license")
	case at < 0:
		return d, n, fmt.Errorf("no node has a store for %s", d.License)
	case !docid.ValidID(string(d.Tenant)) || !docid.ValidID(string(d.App)):
		return d, n, fmt.Errorf("tenant %q, app %q: expected letters, digits, '_', '-' and '.'", d.Tenant, d.App)
	case err != nil:
		return d, n, fmt.Errorf("%q: %w", d.Name, err)
	case folded != d.Name:
		return d, n, fmt.Errorf("%q is taken for %q by nodes: rename it there", d.Name, folded)
	}
	if before, ok := i.seen[d]; ok && before != s.File {
		return d, n, fmt.Errorf("%s is the same document", before)
	}
	i.seen[d] = s.File
	return d, i.nodes[at], nil
}

// importSpelling reads names of any length.
var importSpelling = storage.Spelling{MaxName: 1 << 20}

// named reads a document out of the name of a file.
func (i *importing) named(file string) (docid.Document, error) {
	parts := strings.Split(file, "/")
	switch {
	case len(parts) == 3: // without a license region
		parts = append([]string{""}, parts...)
	case len(parts) == 1 && i.f.tenant != "" && i.f.app != "":
		parts = []string{"", i.f.tenant, i.f.app, parts[0]}
	}
	key := strings.Join(parts, "/")
	for _, spelling := range []storage.Spelling{importSpelling, {MaxName: 1 << 20, LowerCase: true}} {
		if d, whole, err := spelling.Parse(key); err == nil && whole {
			return d, nil
		}
	}
	return docid.Document{}, errors.New("expected dbCode/tenant/app/NAME.yjs or tenant/app/NAME.yjs, or NAME.yjs with --tenant and --app")
}

// run puts all documents into the store. What fails hides nothing else.
func (i *importing) run(command context.Context, sources iter.Seq2[foreign.Source, error]) error {
	i.outcomes = map[string]int{}
	ctx, cancel := context.WithCancel(command)
	defer cancel()
	p := i.c.Progress("imported", "documents")
	defer p.End()
	var puts sync.WaitGroup
	places := make(chan struct{}, i.f.parallel)
	done := 0
	for s, err := range sources {
		if err != nil {
			puts.Wait()
			p.End()
			return errors.Join(i.report(), err)
		}
		d, n, err := i.document(s)
		if err != nil {
			i.fail(s.File, err)
			continue
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		done++
		p.Count(done, 0)
		work := func() {
			defer func() { <-places }()
			i.take(ctx, cancel, n, d, s)
		}
		if s.Entry != nil && s.Entry.Deleted {
			work() // before all others
		} else {
			puts.Go(work)
		}
	}
	puts.Wait()
	p.End()
	i.stopped = cmp.Or(i.stopped, command.Err())
	return i.report()
}

// take brings one document in.
func (i *importing) take(ctx context.Context, stop func(), n storeNode, d docid.Document, s foreign.Source) {
	var result control.StoreResult
	var err error
	doc := control.NewDocument(d)
	switch {
	case s.Entry == nil || !s.Entry.Deleted:
		result, err = i.put(ctx, n, doc, s)
	case i.f.put.undelete || i.f.put.dryRun:
		return
	default:
		result, err = n.StoreDelete(ctx, n.Node, doc)
	}
	if exit.IsUnavailable(err) || err != nil && ctx.Err() != nil {
		stop() // it would be the same with all others
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.stopped == nil {
			i.stopped = err
		}
		return
	}
	if err != nil {
		i.fail(s.File, err)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.outcomes[result.Outcome]++
}

// put merges a document. One that is there byte by byte, as after an import that was
// interrupted, is not sent again.
func (i *importing) put(ctx context.Context, n storeNode, d control.Document, s foreign.Source) (control.StoreResult, error) {
	content, err := s.Content()
	if err != nil {
		return control.StoreResult{}, err
	}
	r := i.f.put.request(d)
	r.KeepDeleted = s.Entry != nil && s.Entry.KeepDeleted
	stored, err := n.Stored(ctx, n.Node, d)
	if err == nil && stored.State == control.StoredBody && stored.SHA256 == storage.Sum(content).String() && (stored.KeepDeleted || !r.KeepDeleted) {
		return control.StoreResult{Outcome: "unchanged", Version: stored.Version, Size: stored.Size}, nil
	}
	result, err := n.StorePut(ctx, n.Node, r, content, nil)
	if err == nil && r.KeepDeleted && !result.KeepDeleted {
		err = fmt.Errorf("node %s is of a version that drops what is deleted, which the document is to keep: upgrade it, and import again", n.Node)
	}
	return result, err
}

func (i *importing) fail(file string, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.failures = append(i.failures, file+": "+err.Error())
}

// report says what became of the documents.
func (i *importing) report() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	slices.Sort(i.failures)
	if i.c.JSON() {
		err := i.c.Value(struct {
			Outcomes map[string]int `json:"outcomes"`
			Failures []string       `json:"failures"`
			DryRun   bool           `json:"dryRun,omitempty"`
		}{i.outcomes, append([]string{}, i.failures...), i.f.put.dryRun})
		if err != nil {
			return err
		}
	} else {
		for _, f := range i.failures {
			i.c.Done("not written: %s", f)
		}
		var parts []string
		for _, outcome := range []string{"created", "merged", "unchanged", "deleted"} {
			if n := i.outcomes[outcome]; n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", n, outcome))
			}
		}
		would := ""
		if i.f.put.dryRun {
			would = "it would be: "
		}
		i.c.Done("%s%s", would, strings.Join(append(parts, fmt.Sprintf("%d not written", len(i.failures))), ", "))
	}
	switch {
	case i.stopped != nil:
		return fmt.Errorf("interrupted; run it again to go on: %w", i.stopped)
	case len(i.failures) > 0:
		return exit.With(exit.Unhealthy, "%s not written", console.Plural(len(i.failures), "document"))
	}
	return nil
}
