// Package foreign reads documents where an export or another server has put them: folders,
// archives, buckets and databases.
package foreign

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
	"path"
	"path/filepath"
	"strings"

	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/storage"
)

// Source is a document of another place.
type Source struct {
	File    string // for people; two documents have two
	Entry   *LedgerEntry
	Name    string                 // of a document of another program, which has neither tenants nor apps
	Content func() ([]byte, error) // a Yjs V1 update
	Wrong   error                  // why it is none
}

func held(content []byte) func() ([]byte, error) {
	return func() ([]byte, error) { return content, nil }
}

// Place is where documents are read.
type Place struct {
	Path  string    // or URL; - is in
	Query string    // for databases that need one
	In    io.Reader // standard input
}

// Reader reads a place.
type Reader func(context.Context, Place) iter.Seq2[Source, error]

// Readers read what --from names. Each yields the ledger's entries of deleted
// documents before the documents, and always in the same order.
var Readers = map[string]Reader{
	"dir":               func(_ context.Context, p Place) iter.Seq2[Source, error] { return fromDir(p.Path) },
	"tar":               func(_ context.Context, p Place) iter.Seq2[Source, error] { return fromTar(p) },
	"hocuspocus-sqlite": func(_ context.Context, p Place) iter.Seq2[Source, error] { return fromSQLite(p.Path) },
	"s3":                func(ctx context.Context, p Place) iter.Seq2[Source, error] { return fromS3(ctx, p.Path) },
	"postgres":          func(ctx context.Context, p Place) iter.Seq2[Source, error] { return fromPostgres(ctx, p.Path, p.Query) },
}

// The files of other programs.
const (
	plainSuffix = ".bin"        // of Hocuspocus' S3 extension, and of our dumper: the name stands there as it is
	sweetFile   = "data.ysweet" // of y-sweet, in a folder that is named like the document
)

// sourceOf says what a file is; ok is false for what is none of a document's.
func sourceOf(file string, files map[string]*LedgerEntry, content func() ([]byte, error)) (s Source, ok bool) {
	s = Source{File: file, Entry: files[file], Content: content}
	own, _, _ := strings.Cut(file, "/")
	switch {
	case own == storage.OwnDir || own == path.Dir(LedgerFile):
		return s, false
	case strings.HasSuffix(file, storage.Extension):
		return s, true
	case strings.HasSuffix(file, plainSuffix):
		s.Name = strings.TrimSuffix(file, plainSuffix)
		return s, s.Name != ""
	case path.Base(file) == sweetFile && path.Dir(file) != ".":
		s.Name = path.Dir(file)
		s.Content = func() ([]byte, error) {
			raw, err := content()
			if err != nil {
				return nil, err
			}
			return readSweet(raw)
		}
		return s, true
	}
	return s, false
}

// readLedger returns the ledger's entries by file, and those of deleted documents.
func readLedger(r io.Reader) (files map[string]*LedgerEntry, deleted []*LedgerEntry, err error) {
	files = map[string]*LedgerEntry{}
	d := json.NewDecoder(r)
	for {
		var e LedgerEntry
		switch err := d.Decode(&e); {
		case errors.Is(err, io.EOF):
			return files, deleted, nil
		case err != nil:
			return nil, nil, fmt.Errorf("%s: %w", LedgerFile, err)
		case e.Deleted:
			deleted = append(deleted, &e)
		default:
			files[e.File] = &e
		}
	}
}

func fromDir(dir string) iter.Seq2[Source, error] {
	return func(yield func(Source, error) bool) {
		var files map[string]*LedgerEntry
		if content, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(LedgerFile))); err == nil {
			var deleted []*LedgerEntry
			if files, deleted, err = readLedger(bytes.NewReader(content)); err != nil {
				yield(Source{}, err)
				return
			}
			for _, e := range deleted {
				if !yield(Source{File: LedgerFile, Entry: e}, nil) {
					return
				}
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			yield(Source{}, err)
			return
		}
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			relative, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			one, ok := sourceOf(filepath.ToSlash(relative), files, func() ([]byte, error) { return os.ReadFile(path) })
			if ok && !yield(one, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(Source{}, err)
		}
	}
}

// maxImported bounds a file of an archive, whose header could say anything.
const maxImported = 1 << 30

func fromTar(p Place) iter.Seq2[Source, error] {
	return func(yield func(Source, error) bool) {
		r := p.In
		if p.Path != "-" {
			f, err := os.Open(p.Path)
			if err != nil {
				yield(Source{}, err)
				return
			}
			defer f.Close()
			r = f
		}
		var files map[string]*LedgerEntry
		for t := tar.NewReader(r); ; {
			h, err := t.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil && h.Size > maxImported {
				err = fmt.Errorf("%s: %s are too many", h.Name, console.Bytes(h.Size))
			}
			if err != nil {
				yield(Source{}, fmt.Errorf("read %s: %w", p.Path, err))
				return
			}
			// Archives that other tools made of an export have ./ in front of all names.
			file := strings.TrimPrefix(h.Name, "./")
			switch {
			case file == LedgerFile:
				var deleted []*LedgerEntry
				if files, deleted, err = readLedger(t); err != nil {
					yield(Source{}, err)
					return
				}
				for _, e := range deleted {
					if !yield(Source{File: LedgerFile, Entry: e}, nil) {
						return
					}
				}
			case h.Typeflag == tar.TypeReg:
				var content []byte
				one, ok := sourceOf(file, files, func() ([]byte, error) { return content, nil })
				if !ok {
					continue
				}
				one.File = h.Name // ./x and x are two
				if content, err = io.ReadAll(t); err != nil {
					yield(Source{}, fmt.Errorf("read %s: %w", p.Path, err))
					return
				}
				if !yield(one, nil) {
					return
				}
			}
		}
	}
}

// LedgerFile is the first file of an export: a line of JSON for each document, those
// that are deleted as well. Names that are too long for a file stand in it whole.
const LedgerFile = ".wsnode/documents.jsonl"

// LedgerEntry is a line of LedgerFile.
type LedgerEntry struct {
	File     string           `json:"file,omitempty"` // empty: deleted
	Document control.Document `json:"document"`
	Deleted  bool             `json:"deleted,omitempty"`
	// KeepDeleted says that the file has the content of what is deleted, which is to stay.
	KeepDeleted bool `json:"keepDeleted,omitempty"`
}
