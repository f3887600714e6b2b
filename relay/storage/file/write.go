package file

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// sidecar is what stands beside a body.
type sidecar struct {
	// Name is the document's, which its path tells only if it is not too long.
	Name string `json:"name"`

	// Entries are what is known of the body to come, or that came, and of the one
	// before it. The first whose size and hash are those of the body holds.
	Entries []entry `json:"entries"`
}

// entry is a storage.Info: its size and storage.Fields.
type entry struct {
	Size   int64             `json:"size"`
	Fields map[string]string `json:"fields"`
}

const sidecarSuffix = ".json"

// write puts a body, or a tombstone's lack of one, into place.
func (s *Store) write(ctx context.Context, d docid.Document, expect storage.Version, next storage.Info, body []byte) (storage.Version, error) {
	if err := ctx.Err(); err != nil {
		return storage.Absent, err
	}
	path := s.path(d)
	mu := s.guard(path)
	mu.Lock()
	defer mu.Unlock()
	before, known, err := current(d, path)
	if err != nil {
		return storage.Absent, err
	}
	if before.Version != storage.Absent && before.Size == 0 && !before.Deleted {
		return storage.Absent, storage.Corrupt(d, "0 bytes without the metadata of a tombstone")
	}
	if before.Version != expect {
		return storage.Absent, storage.Mismatch(d, before)
	}
	if err := makeDirs(s.dir, filepath.Dir(path)); err != nil {
		return storage.Absent, err
	}
	beside := sidecar{Name: d.Name, Entries: []entry{{next.Size, storage.Fields(next)}}}
	if known {
		beside.Entries = append(beside.Entries, entry{before.Size, storage.Fields(before)})
	}
	text, err := json.Marshal(beside)
	if err != nil {
		return storage.Absent, err
	}
	if s.keeps > 0 && storage.Due(d, before, next) {
		if err := s.keep(d, path, before); err != nil {
			return storage.Absent, err
		}
	}
	// The body is on the disk before anything is renamed, so that what can fail
	// for lack of space has failed by then.
	temp, err := s.writeTemp(body)
	if err != nil {
		return storage.Absent, err
	}
	defer os.Remove(temp) // renamed or not
	if err := s.replace(path+sidecarSuffix, text); err != nil {
		return storage.Absent, err
	}
	if err := errors.Join(os.Rename(temp, path), syncDir(filepath.Dir(path))); err != nil {
		return storage.Absent, err
	}
	return version(next), nil
}

// version is the hash of the body, with its generation: an operator may bring back
// a document that was deleted from a copy that has the same bytes.
func version(info storage.Info) storage.Version {
	v := info.SHA256.String()
	if info.Deleted {
		v = "deleted"
	}
	return storage.Version(v + "-" + info.Generation.String())
}

// current is what is there now: a zero Info if that is nothing. known is false if
// no sidecar tells of it.
func current(d docid.Document, path string) (info storage.Info, known bool, err error) {
	stat, err := os.Stat(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return storage.Info{}, false, err
	}
	beside, err := readSidecar(path)
	alone := errors.Is(err, fs.ErrNotExist)
	if missing && (alone || err == nil && len(beside.Entries) == 1) {
		// A sidecar alone is left by a crash before the first body was in place.
		return storage.Info{}, false, nil
	}
	if missing {
		return storage.Info{}, false, storage.Corrupt(d, "its body is gone, and its sidecar is not")
	}
	if alone {
		sum, err := hashFile(path)
		if err != nil {
			return storage.Info{}, false, err
		}
		info = storage.Info{Size: stat.Size(), SHA256: sum, Meta: storage.Meta{Time: stat.ModTime().UTC().Truncate(time.Millisecond)}}
		info.Version = version(info)
		return info, false, nil
	}
	if err != nil {
		return storage.Info{}, false, storage.Corrupt(d, "its sidecar: %v", err)
	}
	info, err = choose(d, path, stat.Size(), beside)
	info.Version = version(info)
	return info, true, err
}

// choose finds the entry that tells of the body. The hash is taken only where the
// size does not decide.
func choose(d docid.Document, path string, size int64, beside sidecar) (storage.Info, error) {
	var fits []storage.Info
	for _, e := range beside.Entries {
		info, hashed, err := storage.ParseFields(func(name string) string { return e.Fields[name] })
		if err != nil || !hashed {
			return storage.Info{}, storage.Corrupt(d, "its sidecar: hash %v, %v", hashed, err)
		}
		if info.Size = e.Size; e.Size == size {
			fits = append(fits, info)
		}
	}
	switch len(fits) {
	case 0:
		return storage.Info{}, storage.Corrupt(d, "%d bytes, which its sidecar knows nothing of", size)
	case 1:
		return fits[0], nil
	}
	sum, err := hashFile(path)
	if err != nil {
		return storage.Info{}, err
	}
	for _, info := range fits {
		if info.SHA256 == sum {
			return info, nil
		}
	}
	return storage.Info{}, storage.Corrupt(d, "its SHA-256 is %s, which its sidecar knows nothing of", sum)
}

func readSidecar(path string) (sidecar, error) {
	text, err := os.ReadFile(path + sidecarSuffix)
	if err != nil {
		return sidecar{}, err
	}
	var beside sidecar
	if err := json.Unmarshal(text, &beside); err != nil {
		return sidecar{}, err
	}
	return beside, nil
}

func hashFile(path string) (sum storage.Hash, err error) {
	f, err := os.Open(path)
	if err != nil {
		return storage.Hash{}, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return storage.Hash{}, err
	}
	h.Sum(sum[:0])
	return sum, nil
}

// replace puts a file into place that is there whole or not at all.
func (s *Store) replace(path string, text []byte) error {
	temp, err := s.writeTemp(text)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return syncDir(filepath.Dir(path))
}

// writeTemp writes a file that is on the disk when it returns.
func (s *Store) writeTemp(text []byte) (path string, err error) {
	f, err := os.CreateTemp(s.temp, "")
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Chmod(0o640), f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// makeDirs makes the directories between root and dir, and puts their names on
// the disk.
func makeDirs(root, dir string) error {
	if dir == root {
		return nil
	}
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := makeDirs(root, filepath.Dir(dir)); err != nil {
		return err
	}
	return makeDir(dir)
}

func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}
