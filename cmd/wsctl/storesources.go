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
	"path"
	"path/filepath"
	"strings"

	"github.com/wsnode/wsnode/relay/storage"
)

// source is a document of another place.
type source struct {
	file    string // for people; two documents have two
	entry   *ledgerEntry
	name    string                 // of a document of another program, which has neither tenants nor apps
	content func() ([]byte, error) // a Yjs V1 update
	wrong   error                  // why it is none
}

func held(content []byte) func() ([]byte, error) {
	return func() ([]byte, error) { return content, nil }
}

type importer func(ctx context.Context, c *cli, f *importFlags, path string) iter.Seq2[source, error]

// importers read what --from names. Each yields the ledger's entries of deleted
// documents before the documents, and always in the same order.
var importers = map[string]importer{
	"dir": func(_ context.Context, _ *cli, _ *importFlags, path string) iter.Seq2[source, error] {
		return fromDir(path)
	},
	"tar": func(_ context.Context, c *cli, _ *importFlags, path string) iter.Seq2[source, error] {
		return c.fromTar(path)
	},
	"hocuspocus-sqlite": func(_ context.Context, _ *cli, _ *importFlags, path string) iter.Seq2[source, error] {
		return fromSQLite(path)
	},
	"s3": func(ctx context.Context, _ *cli, _ *importFlags, path string) iter.Seq2[source, error] {
		return fromS3(ctx, path)
	},
	"postgres": func(ctx context.Context, _ *cli, f *importFlags, path string) iter.Seq2[source, error] {
		return fromPostgres(ctx, path, f.query)
	},
}

// The files of other programs.
const (
	plainSuffix = ".bin"        // of Hocuspocus' S3 extension, and of our dumper: the name stands there as it is
	sweetFile   = "data.ysweet" // of y-sweet, in a folder that is named like the document
)

// sourceOf says what a file is; ok is false for what is none of a document's.
func sourceOf(file string, files map[string]*ledgerEntry, content func() ([]byte, error)) (s source, ok bool) {
	s = source{file: file, entry: files[file], content: content}
	own, _, _ := strings.Cut(file, "/")
	switch {
	case own == storage.OwnDir || own == path.Dir(ledgerFile):
		return s, false
	case strings.HasSuffix(file, storage.Extension):
		return s, true
	case strings.HasSuffix(file, plainSuffix):
		s.name = strings.TrimSuffix(file, plainSuffix)
		return s, s.name != ""
	case path.Base(file) == sweetFile && path.Dir(file) != ".":
		s.name = path.Dir(file)
		s.content = func() ([]byte, error) {
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
			// Archives that other tools made of an export have ./ in front of all names.
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
			case h.Typeflag == tar.TypeReg:
				var content []byte
				one, ok := sourceOf(file, files, func() ([]byte, error) { return content, nil })
				if !ok {
					continue
				}
				one.file = h.Name // ./x and x are two
				if content, err = io.ReadAll(t); err != nil {
					yield(source{}, fmt.Errorf("read %s: %w", path, err))
					return
				}
				if !yield(one, nil) {
					return
				}
			}
		}
	}
}
