package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/storage"
)

// importFlags say what is imported, and where to.
type importFlags struct {
	store       storeFlags
	put         putFlags
	from        string
	tenant, app string
	parallel    int
}

func (c *cli) importStoreCommand() *cobra.Command {
	var f importFlags
	var sure confirmFlag
	cmd := &cobra.Command{
		Use:   "import --from dir|tar PATH",
		Short: "Merge the documents of a folder or a tar archive into the store",
		Long: `Merge documents into the store: those of wsctl store export, or files
dbCode/tenant/app/NAME.yjs or tenant/app/NAME.yjs, each a Yjs V1 update, with NAME
spelled as docs/storage.md says. PATH is - for a tar archive on standard input.

Nothing is replaced, so it can be interrupted and run again, and over newer content:
what is there already is left as it is. Documents that the export says are deleted
are deleted first, unless --undelete is given. Names that nodes would refuse, or take
for another document (x/x is x), are listed and not written; --dry-run lists them
and writes nothing.`,
		Args: exactly("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			read, ok := importers[f.from]
			if !ok {
				return wrongFlag("from", "%q: expected dir or tar", f.from)
			}
			if f.parallel < 1 || f.parallel > 64 {
				return wrongFlag("parallel", "%d: expected 1 to 64", f.parallel)
			}
			if !f.put.dryRun {
				if err := c.confirm(&sure, "Merge the documents of %s into the store?", args[0]); err != nil {
					return err
				}
			}
			return c.withFleet(func(fl *fleet) error {
				nodes, err := c.storeNodes(cmd.Context(), fl, &f.store, "")
				if err != nil {
					return err
				}
				i := &importing{c: c, f: &f, nodes: nodes, seen: map[docid.Document]string{}}
				return i.run(cmd.Context(), read(c, args[0]))
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.from, "from", "", "what PATH is: dir or tar")
	fl.StringVar(&f.tenant, "tenant", "", "tenant of files that name none")
	fl.StringVar(&f.app, "app", "", "app of files that name none")
	fl.IntVar(&f.parallel, "parallel", 8, "documents that are sent at the same time")
	f.store.register(c, cmd)
	f.put.register(cmd)
	sure.register(cmd)
	return cmd
}

// source is a document of another place.
type source struct {
	file    string // for people
	entry   *ledgerEntry
	content []byte
}

// importers read what --from names. Each yields the ledger's entries of deleted
// documents before the documents.
var importers = map[string]func(c *cli, path string) iter.Seq2[source, error]{
	"dir": func(_ *cli, path string) iter.Seq2[source, error] { return fromDir(path) },
	"tar": func(c *cli, path string) iter.Seq2[source, error] { return c.fromTar(path) },
}

// readLedger returns the ledger's entries by file, and those of deleted documents.
func readLedger(r io.Reader) (files map[string]*ledgerEntry, deleted []*ledgerEntry, err error) {
	files = map[string]*ledgerEntry{}
	d := json.NewDecoder(r)
	for {
		var e ledgerEntry
		switch err := d.Decode(&e); {
		case errors.Is(err, io.EOF):
			return files, deleted, nil
		case err != nil:
			return nil, nil, fmt.Errorf("%s: %w", ledgerFile, err)
		case e.Deleted:
			deleted = append(deleted, &e)
		default:
			files[e.File] = &e
		}
	}
}

func fromDir(dir string) iter.Seq2[source, error] {
	return func(yield func(source, error) bool) {
		var files map[string]*ledgerEntry
		if content, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(ledgerFile))); err == nil {
			var deleted []*ledgerEntry
			if files, deleted, err = readLedger(bytes.NewReader(content)); err != nil {
				yield(source{}, err)
				return
			}
			for _, e := range deleted {
				if !yield(source{file: ledgerFile, entry: e}, nil) {
					return
				}
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			yield(source{}, err)
			return
		}
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != storage.Extension {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			relative, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			file := filepath.ToSlash(relative)
			if !yield(source{file, files[file], content}, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(source{}, err)
		}
	}
}

// maxImported bounds a file of an archive, whose header could say anything.
const maxImported = 1 << 30

func (c *cli) fromTar(path string) iter.Seq2[source, error] {
	return func(yield func(source, error) bool) {
		r := io.Reader(c.in)
		if path != "-" {
			f, err := os.Open(path)
			if err != nil {
				yield(source{}, err)
				return
			}
			defer f.Close()
			r = f
		}
		var files map[string]*ledgerEntry
		for t := tar.NewReader(r); ; {
			h, err := t.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil && h.Size > maxImported {
				err = fmt.Errorf("%s: %s are too many", h.Name, bytesText(h.Size))
			}
			if err != nil {
				yield(source{}, fmt.Errorf("read %s: %w", path, err))
				return
			}
			file := strings.TrimPrefix(h.Name, "./")
			switch {
			case file == ledgerFile:
				var deleted []*ledgerEntry
				if files, deleted, err = readLedger(t); err != nil {
					yield(source{}, err)
					return
				}
				for _, e := range deleted {
					if !yield(source{file: ledgerFile, entry: e}, nil) {
						return
					}
				}
			case h.Typeflag == tar.TypeReg && strings.HasSuffix(file, storage.Extension):
				content, err := io.ReadAll(t)
				if err != nil {
					yield(source{}, fmt.Errorf("read %s: %w", path, err))
					return
				}
				if !yield(source{file, files[file], content}, nil) {
					return
				}
			}
		}
	}
}

// importing is one run of an import.
type importing struct {
	c     *cli
	f     *importFlags
	nodes []storeNode
	seen  map[docid.Document]string // documents that came, and from which file

	mu       sync.Mutex // guards all below
	outcomes map[string]int
	failures []string
	stopped  error
}

// document says which document a file is. The error says why it is not taken.
func (i *importing) document(s source) (d docid.Document, n storeNode, err error) {
	if s.entry != nil {
		d = s.entry.Document.Docname()
	} else if d, err = i.named(s.file); err != nil {
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
	if before, ok := i.seen[d]; ok && before != s.file {
		return d, n, fmt.Errorf("%s is the same document", before)
	}
	i.seen[d] = s.file
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
func (i *importing) run(ctx context.Context, sources iter.Seq2[source, error]) error {
	i.outcomes = map[string]int{}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := i.c.progress("imported", "documents")
	defer p.end()
	var puts sync.WaitGroup
	places := make(chan struct{}, i.f.parallel)
	done := 0
	for s, err := range sources {
		if err != nil {
			puts.Wait()
			p.end()
			return errors.Join(i.report(), err)
		}
		d, n, err := i.document(s)
		if err != nil {
			i.fail(s.file, err)
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
		p.count(done, 0)
		work := func() {
			defer func() { <-places }()
			i.take(ctx, cancel, n, d, s)
		}
		if s.entry != nil && s.entry.Deleted {
			work() // before all others
		} else {
			puts.Go(work)
		}
	}
	puts.Wait()
	p.end()
	return i.report()
}

// take brings one document in.
func (i *importing) take(ctx context.Context, stop func(), n storeNode, d docid.Document, s source) {
	var result control.StoreResult
	var err error
	doc := control.NewDocument(d)
	switch {
	case s.entry == nil || !s.entry.Deleted:
		result, err = n.StorePut(ctx, n.Node, i.f.put.request(doc), s.content, nil)
	case i.f.put.undelete || i.f.put.dryRun:
		return
	default:
		result, err = n.StoreDelete(ctx, n.Node, doc)
	}
	if isUnavailable(err) || ctx.Err() != nil {
		stop() // it would be the same with all others
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.stopped == nil {
			i.stopped = err
		}
		return
	}
	if err != nil {
		i.fail(s.file, err)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.outcomes[result.Outcome]++
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
	if i.c.output == "json" {
		err := writeJSON(i.c.out, "", struct {
			Outcomes map[string]int `json:"outcomes"`
			Failures []string       `json:"failures"`
			DryRun   bool           `json:"dryRun,omitempty"`
		}{i.outcomes, append([]string{}, i.failures...), i.f.put.dryRun}, "\n")
		if err != nil {
			return err
		}
	} else {
		for _, f := range i.failures {
			i.c.done("not written: %s", f)
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
		i.c.done("%s%s", would, strings.Join(append(parts, fmt.Sprintf("%d not written", len(i.failures))), ", "))
	}
	switch {
	case i.stopped != nil:
		return fmt.Errorf("interrupted; run it again to go on: %w", i.stopped)
	case len(i.failures) > 0:
		return failed(exitUnhealthy, "%s not written", plural(len(i.failures), "document"))
	}
	return nil
}
