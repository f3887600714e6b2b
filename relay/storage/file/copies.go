package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// A copy is a second name of the body's file, which is never written again: it costs
// no space until the first name is gone. Its sidecar says what is known of it, and
// when it was made by its own time.

// keep copies a body, under the document's lock.
func (s *Store) keep(d docid.Document, path string, body storage.Info) error {
	to := s.copyPath(d, storage.CopyID(body))
	if err := makeDirs(s.dir, filepath.Dir(to)); err != nil {
		return err
	}
	if _, err := os.Stat(to); err == nil {
		return nil // before a write that failed
	}
	text, err := json.Marshal(sidecar{Name: d.Name, Entries: []entry{{body.Size, storage.Fields(body)}}})
	if err == nil {
		err = s.replace(to+sidecarSuffix, text)
	}
	if err != nil {
		return err
	}
	if os.Link(path, to) == nil {
		return syncDir(filepath.Dir(to))
	}
	// Some file systems have no links.
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return s.replace(to, content)
}

func (s *Store) copyDir(d docid.Document) string {
	return filepath.Join(s.dir, filepath.FromSlash(spelling.CopyDir(d)))
}

func (s *Store) copyPath(d docid.Document, id string) string {
	return filepath.Join(s.copyDir(d), id+storage.Extension)
}

// Keeps implements storage.Versioned.
func (s *Store) Keeps() time.Duration { return s.keeps }

// Copies implements storage.Versioned.
func (s *Store) Copies(ctx context.Context, d docid.Document) ([]storage.Copy, error) {
	names, err := os.ReadDir(s.copyDir(d))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list versions of %s: %w", d, classify(err))
	}
	var copies []storage.Copy
	for _, name := range names {
		id, ok := strings.CutSuffix(name.Name(), storage.Extension)
		at, err := storage.ParseCopyID(id)
		if !ok || err != nil {
			continue
		}
		body, err := name.Info()
		var beside fs.FileInfo
		if err == nil {
			beside, err = os.Stat(s.copyPath(d, id) + sidecarSuffix)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return nil, fmt.Errorf("list versions of %s: %w", d, classify(err))
		}
		copies = append(copies, storage.Copy{ID: id, Time: at, Replaced: beside.ModTime(), Size: body.Size()})
	}
	storage.SortCopies(copies)
	return copies, nil
}

// LoadCopy implements storage.Versioned.
func (s *Store) LoadCopy(ctx context.Context, d docid.Document, id string, reserve storage.Reserve) (storage.Stored, error) {
	if _, err := storage.ParseCopyID(id); err != nil {
		return storage.Stored{}, fmt.Errorf("%s: %w: %w", d, storage.ErrAbsent, err)
	}
	path := s.copyPath(d, id)
	info, known, err := s.look(d, path)
	if err == nil && !known {
		err = storage.Corrupt(d, "version %s has no sidecar", id)
	}
	if err == nil {
		err = reserve.Ask(ctx, info.Size)
	}
	if err != nil {
		return storage.Stored{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return storage.Stored{}, fmt.Errorf("load version %s of %s: %w", id, d, classify(err))
	}
	defer f.Close()
	body := make([]byte, info.Size)
	if _, err := io.ReadFull(f, body); err != nil {
		return storage.Stored{}, fmt.Errorf("load version %s of %s: %w", id, d, classify(err))
	}
	return storage.Stored{Info: info, Body: body}, storage.CheckBody(d, info, body)
}

// Expire implements storage.Versioned.
func (s *Store) Expire(ctx context.Context, l docid.LicenseRegion, before time.Time) (removed int, err error) {
	root := filepath.Join(s.dir, filepath.FromSlash(spelling.CopyPrefix(l)))
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.HasSuffix(path, storage.Extension+sidecarSuffix) {
			beside, infoErr := e.Info()
			if err = infoErr; err == nil && beside.ModTime().Before(before) {
				var was bool
				if was, err = remove(strings.TrimSuffix(path, sidecarSuffix)); was {
					removed++
				}
				_ = os.Remove(filepath.Dir(path)) // if it is empty
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // removed meanwhile, or nothing was ever kept
		}
		return errors.Join(err, ctx.Err())
	})
	if err != nil {
		err = fmt.Errorf("remove old versions: %w", classify(err))
	}
	return removed, err
}

// Erase implements storage.Versioned.
func (s *Store) Erase(ctx context.Context, d docid.Document) (removed int, err error) {
	mu := s.guard(s.path(d)) // a write would make another copy
	mu.Lock()
	defer mu.Unlock()
	copies, err := s.Copies(ctx, d)
	if err != nil {
		return 0, err
	}
	for _, c := range copies {
		was, err := remove(s.copyPath(d, c.ID))
		if err != nil {
			return removed, fmt.Errorf("remove version %s of %s: %w", c.ID, d, classify(err))
		}
		if was {
			removed++
		}
	}
	if err := os.RemoveAll(s.copyDir(d)); err != nil {
		return removed, fmt.Errorf("remove versions of %s: %w", d, classify(err))
	}
	if removed == 0 {
		return 0, nil
	}
	return removed, syncDir(filepath.Dir(s.copyDir(d)))
}

// remove takes a copy away, its sidecar last: without it nobody would find the body.
func remove(path string) (was bool, err error) {
	err = os.Remove(path)
	was = err == nil
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = os.Remove(path + sidecarSuffix)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return was, err
}
