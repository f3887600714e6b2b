// Package file keeps documents in a directory: one file per document, which any
// tool can read and copy. It is for one process, with any number of nodes in it.
//
// Below the directory, <dbCode>/<tenant>/<app>/<escaped name>.yjs is the body and
// <…>.yjs.json, its sidecar, says what the store knows of it. A write is the
// rename of a body: the sidecar, renamed into place before it, holds what is known
// of the body before and of the one to come, and the hash of what is there tells
// which of the two holds. So a crash between the two leaves the one or the other.
package file

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// Config says where the documents are.
type Config struct {
	Dir string // made if it is not there
	// Versions is how long former bodies are kept, see storage.Versioned; 0: none are.
	Versions time.Duration
}

// Store is a directory. It implements storage.Store and storage.Versioned.
type Store struct {
	dir  string
	temp string
	lock *os.File // nil where the system has no locks

	keeps time.Duration

	// A document's reads and writes take turns; documents that share a lock by
	// chance wait for each other.
	seed  maphash.Seed
	locks [64]sync.RWMutex
}

// spelling fits a component into the 255 bytes of file systems, with what is put
// behind the name, and keeps names apart where the file system folds case.
var spelling = storage.Spelling{MaxName: 200, LowerCase: true}

// Our own directory. No document's path begins with it.
const own = ".wsnode"

// Open takes the directory for this process until Close, and removes what a crash
// left half-written. ErrInUse says that another process has it, or another Store.
func Open(ctx context.Context, c Config) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.Dir == "" {
		return nil, errors.New("open file store: expected a directory")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("open file store: %w", err)
	}
	s := &Store{dir: dir, temp: filepath.Join(dir, own, "tmp"), keeps: c.Versions, seed: maphash.MakeSeed()}
	if err := makeDir(filepath.Join(dir, own)); err != nil {
		return nil, fmt.Errorf("open file store: %w", classify(err))
	}
	if s.lock, err = lock(filepath.Join(dir, own, "lock")); err != nil {
		return nil, fmt.Errorf("open file store %s: %w", dir, classify(err))
	}
	// What is in here was never renamed into place.
	if err := errors.Join(os.RemoveAll(s.temp), makeDir(s.temp)); err != nil {
		return nil, errors.Join(fmt.Errorf("open file store: %w", classify(err)), s.Close())
	}
	return s, nil
}

// Exclusive says that no other process can use the store.
func (s *Store) Exclusive() bool { return s.lock != nil }

// Close lets another process have the directory.
func (s *Store) Close() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

func (s *Store) guard(path string) *sync.RWMutex {
	return &s.locks[maphash.String(s.seed, path)%uint64(len(s.locks))]
}

func (s *Store) path(d docid.Document) string {
	return filepath.Join(s.dir, filepath.FromSlash(spelling.Key(d)))
}

// Load implements storage.Store.
func (s *Store) Load(ctx context.Context, d docid.Document, reserve storage.Reserve) (storage.Stored, error) {
	info, err := s.Stat(ctx, d)
	if err != nil {
		return storage.Stored{}, err
	}
	// The memory is waited for without a lock. The document may be another one then.
	for asked := int64(-1); ; {
		if asked != info.Size && reserve != nil {
			if asked >= 0 {
				return storage.Stored{}, fmt.Errorf("load %s: it grew from %d to %d bytes meanwhile", d, asked, info.Size)
			}
			if err := reserve.Ask(ctx, info.Size); err != nil {
				return storage.Stored{}, err
			}
		}
		asked = info.Size
		stored, changed, err := s.read(d, info.Size)
		if err != nil || !changed {
			return stored, err
		}
		info = stored.Info
	}
}

// read reads a body of so many bytes. changed says that there is one of another
// length, which only Info tells of.
func (s *Store) read(d docid.Document, size int64) (stored storage.Stored, changed bool, err error) {
	path := s.path(d)
	mu := s.guard(path)
	mu.RLock()
	defer mu.RUnlock()
	info, known, err := s.look(d, path)
	if err != nil {
		return storage.Stored{}, false, err
	}
	if info.Size != size {
		return storage.Stored{Info: info}, true, nil
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return storage.Stored{}, false, fmt.Errorf("load %s: %w", d, classify(err))
	}
	if known {
		if err := storage.CheckBody(d, info, body); err != nil {
			return storage.Stored{}, false, err
		}
	}
	return storage.Stored{Info: info, Body: body}, false, nil
}

// Stat implements storage.Store.
func (s *Store) Stat(ctx context.Context, d docid.Document) (storage.Info, error) {
	if err := ctx.Err(); err != nil {
		return storage.Info{}, err
	}
	path := s.path(d)
	mu := s.guard(path)
	mu.RLock()
	defer mu.RUnlock()
	info, _, err := s.look(d, path)
	return info, err
}

// look is Stat under the document's lock. known is false for a body without a
// sidecar, which somebody else put there: its hash is then taken from itself.
func (s *Store) look(d docid.Document, path string) (info storage.Info, known bool, err error) {
	info, known, err = current(d, path)
	switch {
	case err != nil:
		return storage.Info{}, false, err
	case info.Version == storage.Absent:
		return storage.Info{}, false, fmt.Errorf("%s: %w", d, storage.ErrAbsent)
	}
	info, err = storage.Found(d, info)
	return info, known, err
}

// Save implements storage.Store.
func (s *Store) Save(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	if err := storage.CheckSave(d, body); err != nil {
		return storage.Absent, err
	}
	v, err := s.write(ctx, d, expect, storage.Described(m, body), body)
	return v, wrap("save", d, err)
}

// Delete implements storage.Store.
func (s *Store) Delete(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta) (storage.Version, error) {
	v, err := s.write(ctx, d, expect, storage.Described(m, nil), nil)
	return v, wrap("delete", d, err)
}

func wrap(what string, d docid.Document, err error) error {
	if err == nil || errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrDeleted) {
		return err
	}
	return fmt.Errorf("%s %s: %w", what, d, classify(err))
}

// classify finds out what an operator has to mend. A full disk is a fault: it may
// become less full by itself.
func classify(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%w: %w", storage.ErrRefused, err)
	}
	return err
}
