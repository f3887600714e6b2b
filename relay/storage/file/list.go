package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/wsnode/wsnode/relay/storage"
)

// errFull ends the walk of List when the page is.
var errFull = errors.New("page is full")

// List implements storage.Store. The order is that of the paths, component by
// component; Next is the path of the last entry.
func (s *Store) List(ctx context.Context, q storage.Query) (storage.Page, error) {
	if err := q.Check(); err != nil {
		return storage.Page{}, err
	}
	prefix := spelling.Prefix(q)
	var page storage.Page
	var last string
	err := filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		if gone := errors.Is(err, fs.ErrNotExist); err != nil || ctx.Err() != nil {
			if gone && ctx.Err() == nil && path != s.dir {
				return nil // removed while we walk
			}
			return errors.Join(err, ctx.Err())
		}
		if path == s.dir {
			return nil
		}
		key := filepath.ToSlash(strings.TrimPrefix(path, s.dir+string(filepath.Separator)))
		if entry.IsDir() {
			if key == own || key == storage.OwnDir || !leads(key+"/", prefix) || before(key, q.After) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasPrefix(key, prefix) || !strings.HasSuffix(key, storage.Extension) || !after(key, q.After) {
			return nil
		}
		if len(page.Entries) == q.PageSize() {
			page.Next = last
			return errFull
		}
		e, ok, err := s.entry(path, key)
		if err != nil || !ok || !q.Matches(e.Document) {
			return err
		}
		page.Entries, last = append(page.Entries, e), key
		return nil
	})
	if err != nil && !errors.Is(err, errFull) {
		return storage.Page{}, fmt.Errorf("list: %w", classify(err))
	}
	return page, nil
}

// leads reports whether a directory may hold what begins with prefix.
func leads(dir, prefix string) bool {
	return strings.HasPrefix(dir, prefix) || strings.HasPrefix(prefix, dir)
}

// before reports whether all that is in the directory is before the cursor.
func before(dir, cursor string) bool {
	return cursor != "" && !strings.HasPrefix(cursor, dir+"/") && !after(dir, cursor)
}

// after compares paths by their components, in which order they are walked.
func after(path, cursor string) bool {
	for cursor != "" && path != "" {
		a, rest, _ := strings.Cut(path, "/")
		b, restCursor, _ := strings.Cut(cursor, "/")
		if a != b {
			return a > b
		}
		path, cursor = rest, restCursor
	}
	return path != ""
}

// entry tells of a body. ok is false for a file that is none of ours, or gone.
func (s *Store) entry(path, key string) (e storage.Entry, ok bool, err error) {
	d, whole, err := spelling.Parse(key)
	if err != nil {
		return storage.Entry{}, false, nil // somebody else's file
	}
	mu := s.guard(path)
	mu.RLock()
	defer mu.RUnlock()
	beside, err := readSidecar(path)
	if err == nil && !whole {
		d.Name, whole = beside.Name, true
	}
	if !whole || spelling.Key(d) != key {
		return storage.Entry{}, false, nil
	}
	stat, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return storage.Entry{}, false, nil
	}
	if err != nil {
		return storage.Entry{}, false, err
	}
	e = storage.Entry{Document: d, Size: stat.Size(), Time: stat.ModTime()}
	if e.Size == 0 {
		// Corrupt bodies are listed, too: Stat tells.
		info, _, err := current(d, path)
		e.Deleted = err == nil && info.Deleted
	}
	return e, true, nil
}
