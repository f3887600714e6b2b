package store

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/foreign"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// fileSpelling fits names into the files of any system.
var fileSpelling = storage.Spelling{MaxName: 200, LowerCase: true}

func exportStoreCommand(c *command.Env) *cobra.Command {
	var f storeFlags
	var s selectFlags
	var to string
	cmd := &cobra.Command{
		Use:   "export --to DIR|FILE.tar|-",
		Short: "Write all stored documents into a folder or a tar archive",
		Long: `Write all stored documents into a folder or a tar archive, which wsctl store
import reads: each a file that Y.applyUpdate reads, and which are deleted. Into a
folder it can be interrupted and repeated: what has not changed is not read again.`,
		Args: command.Exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to == "" {
				return exit.WrongFlag("to", "missing: expected a folder, a file that ends in .tar, or - for a tar archive on standard output")
			}
			if _, err := s.request(""); err != nil {
				return err
			}
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error {
				nodes, err := storeNodes(cmd.Context(), fl, &f, docid.LicenseRegion(f.license))
				if err != nil {
					return err
				}
				out, err := openExport(c.Console, to)
				if err != nil {
					return err
				}
				written, err := export(cmd.Context(), c, nodes, &s, out)
				if err = errors.Join(err, out.close(err == nil)); err == nil {
					c.Done("%s are in %s", console.Plural(written, "document"), to)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "folder, FILE.tar, or - for a tar archive on standard output")
	f.registerAll(c, cmd, "only this license region (dbCode)")
	s.register(cmd)
	return cmd
}

// export writes the ledger, then the documents.
func export(ctx context.Context, c *command.Env, nodes []storeNode, s *selectFlags, out exported) (written int, err error) {
	var found []storedAt
	listing := c.Progress("listed", "documents")
	defer listing.End()
	for e, err := range entries(ctx, nodes, s) {
		if err != nil {
			return 0, err
		}
		found = append(found, e)
		listing.Count(len(found), 0)
	}
	listing.End()
	lines, err := ledger(ctx, c, found)
	if err != nil {
		return 0, err
	}
	if err := out.write(foreign.LedgerFile, time.Now(), lines); err != nil {
		return 0, err
	}
	p := c.Progress("exported", "documents")
	defer p.End()
	for i, e := range found {
		p.Count(i, len(found))
		file := fileSpelling.Key(e.Document.Docname())
		if e.Deleted {
			continue
		}
		written++
		if out.has(file, e.Time, e.Size) {
			continue
		}
		var body bytes.Buffer
		err := e.Fetch(ctx, e.Node, e.Document, "", func(part []byte, _ int) error { _, err := body.Write(part); return err })
		if reach.IsGone(err) { // deleted meanwhile
			written--
			continue
		}
		if err == nil {
			err = out.write(file, e.Time, body.Bytes())
		}
		if err != nil {
			return written, fmt.Errorf("export %s: %w", e.Document, err)
		}
	}
	return written, nil
}

// askedAtOnce is how many documents are asked for at the same time whether they keep what
// is deleted.
const askedAtOnce = 8

// ledger is what the first file of an export says. It is before the documents, so that an
// import knows of each how it is to be taken before it comes; a listing does not say that
// of all stores.
func ledger(ctx context.Context, c *command.Env, found []storedAt) ([]byte, error) {
	lines := make([]foreign.LedgerEntry, len(found))
	p := c.Progress("looked at", "documents")
	defer p.End()
	asking, asked := errgroup.WithContext(ctx)
	asking.SetLimit(askedAtOnce)
	for i, e := range found {
		if asked.Err() != nil { // what is asked for the others is of no use any more
			break
		}
		p.Count(i, len(found))
		lines[i] = foreign.LedgerEntry{File: fileSpelling.Key(e.Document.Docname()), Document: e.Document, Deleted: e.Deleted}
		if e.Deleted {
			lines[i].File = ""
			continue
		}
		asking.Go(func() error {
			s, err := e.Stored(asked, e.Node, e.Document)
			if err != nil {
				return fmt.Errorf("export %s: %w", e.Document, err)
			}
			lines[i].KeepDeleted = s.KeepDeleted
			return nil
		})
	}
	if err := cmp.Or(asking.Wait(), ctx.Err()); err != nil { // ctx may have ended before any was asked
		return nil, err
	}
	var ledger bytes.Buffer
	for _, line := range lines {
		if err := json.NewEncoder(&ledger).Encode(line); err != nil {
			return nil, err
		}
	}
	return ledger.Bytes(), nil
}

// exported is what documents are written into.
type exported interface {
	// has reports whether a file is there as it was written at a time.
	has(file string, at time.Time, size int64) bool
	write(file string, at time.Time, content []byte) error
	// close ends it; whole says that nothing is missing.
	close(whole bool) error
}

func openExport(c *console.Console, to string) (exported, error) {
	switch {
	case to == "-":
		w := bufio.NewWriterSize(c.Out, 1<<16)
		return &tarExport{w: tar.NewWriter(w), flush: w.Flush}, nil
	case filepath.Ext(to) == ".tar":
		if _, err := os.Lstat(to); err == nil {
			return nil, exit.With(exit.Declined, "%s exists: nothing was written", to)
		}
		f, err := os.Create(to + ".part")
		if err != nil {
			return nil, err
		}
		return &tarExport{w: tar.NewWriter(f), file: f, name: to}, nil
	}
	return dirExport(to), os.MkdirAll(to, 0o755)
}

// tarExport writes a tar archive.
type tarExport struct {
	w     *tar.Writer
	flush func() error // of what is below w; nil: nothing is
	file  *os.File     // nil: standard output
	name  string       // that the file gets once it is whole
}

func (t *tarExport) has(string, time.Time, int64) bool { return false }

func (t *tarExport) write(file string, at time.Time, content []byte) error {
	err := t.w.WriteHeader(&tar.Header{Name: file, Mode: 0o644, Size: int64(len(content)), ModTime: at, Format: tar.FormatPAX})
	if err == nil {
		_, err = t.w.Write(content)
	}
	return err
}

func (t *tarExport) close(whole bool) error {
	if !whole { // without its end, nobody takes it for a whole one
		if t.file == nil {
			return nil
		}
		return errors.Join(t.file.Close(), os.Remove(t.file.Name()))
	}
	err := t.w.Close()
	if t.flush != nil {
		err = cmp.Or(err, t.flush())
	}
	if t.file != nil {
		if err = errors.Join(err, t.file.Sync(), t.file.Close()); err == nil {
			err = os.Rename(t.file.Name(), t.name)
		}
	}
	return err
}

// dirExport writes into a folder.
type dirExport string

func (d dirExport) path(file string) string {
	return filepath.Join(string(d), filepath.FromSlash(file))
}

func (d dirExport) has(file string, at time.Time, size int64) bool {
	info, err := os.Stat(d.path(file))
	return err == nil && info.Size() == size && !at.IsZero() && info.ModTime().Equal(at.Truncate(time.Millisecond))
}

func (d dirExport) write(file string, at time.Time, content []byte) error {
	path := d.path(file)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".part", content, 0o644); err != nil {
		return err
	}
	if !at.IsZero() {
		if err := os.Chtimes(path+".part", at, at.Truncate(time.Millisecond)); err != nil {
			return err
		}
	}
	return os.Rename(path+".part", path)
}

func (d dirExport) close(bool) error { return nil }
