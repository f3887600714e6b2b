package storage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/wsnode/wsnode/docid"
)

// The definite answers of a store. Everything else that a store returns is a
// failure that may pass, and says nothing about the document.
var (
	// ErrAbsent: the store holds nothing of the document, nor a tombstone. The
	// document may be created.
	ErrAbsent = errors.New("document is not in the store")

	// ErrDeleted: there is a tombstone. Errors that match it are *DeletedError.
	ErrDeleted = errors.New("document is deleted")

	// ErrConflict: the document has another version than the expected one; nothing
	// was written. Load, merge, and save on the version found. Errors that match it
	// are *ConflictError.
	ErrConflict = errors.New("document has another version in the store")

	// ErrCorrupt: what the store holds is not what was written: a hash that differs,
	// 0 bytes without a tombstone's metadata, metadata that cannot be read. Never
	// overwrite it; an operator has to look.
	ErrCorrupt = errors.New("document is corrupt in the store")

	// ErrRefused: the store understood and will not: credentials, permissions, a
	// bucket or table that does not exist. Nothing was written or read. It stays so
	// until an operator acts.
	ErrRefused = errors.New("store refuses")

	// ErrTooLarge: the store cannot hold a body of this size. Nothing was written.
	ErrTooLarge = errors.New("body is larger than the store takes")

	// ErrUnconditional: the store does not obey the conditions of writes, so that
	// two writers would overwrite each other. It cannot be used.
	ErrUnconditional = errors.New("store does not obey conditional writes")

	// ErrInUse: another process has the store, which is for one process only.
	ErrInUse = errors.New("another process uses this store")
)

// ConflictError says what is there instead of the expected version. It matches
// ErrConflict.
type ConflictError struct {
	Document docid.Document
	Current  Info // its Version is Absent if nothing is there
}

func (e *ConflictError) Error() string {
	if e.Current.Version == Absent {
		return fmt.Sprintf("%s: %v: nothing is there", e.Document, ErrConflict)
	}
	return fmt.Sprintf("%s: %v: %s of generation %s", e.Document, ErrConflict, e.Current.Version, e.Current.Generation)
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// DeletedError describes the tombstone that was found. It matches ErrDeleted.
type DeletedError struct {
	Document  docid.Document
	Tombstone Info
}

func (e *DeletedError) Error() string {
	return fmt.Sprintf("%s: %v: generation %s", e.Document, ErrDeleted, e.Tombstone.Generation)
}

// Is makes errors.Is(err, ErrDeleted) true.
func (e *DeletedError) Is(target error) bool { return target == ErrDeleted }

// Corrupt wraps ErrCorrupt with what is wrong.
func Corrupt(d docid.Document, format string, args ...any) error {
	return fmt.Errorf("%s: %w: %s", d, ErrCorrupt, fmt.Sprintf(format, args...))
}

// Mismatch is the error of a write that expected another version than the
// current one, which a zero Info says is absent.
func Mismatch(d docid.Document, current Info) error {
	if current.Deleted {
		return &DeletedError{d, current}
	}
	return &ConflictError{d, current}
}

// Found turns what a store found into what Stat answers: a tombstone and a body
// of nothing are errors.
func Found(d docid.Document, found Info) (Info, error) {
	switch {
	case found.Deleted:
		return Info{}, &DeletedError{d, found}
	case found.Size == 0:
		return Info{}, Corrupt(d, "0 bytes without the metadata of a tombstone")
	}
	return found, nil
}

// ReadBody is Load from where the body is a stream, of which the store has said info: it
// asks reserve, reads, and holds the body to what was said. Unless hashed is set, the store
// has said no hash.
func ReadBody(ctx context.Context, d docid.Document, info Info, hashed bool, from io.Reader, reserve Reserve) (Stored, error) {
	info, err := Found(d, info)
	if err != nil {
		return Stored{}, err
	}
	if err := reserve.Ask(ctx, info.Size); err != nil {
		return Stored{}, err
	}
	body := make([]byte, info.Size)
	if _, err := io.ReadFull(from, body); err != nil {
		return Stored{}, err
	}
	if !hashed {
		info.SHA256 = Sum(body)
	}
	if err := CheckBody(d, info, body); err != nil {
		return Stored{}, err
	}
	return Stored{Info: info, Body: body}, nil
}

// CheckBody holds a body to what the store says of it.
func CheckBody(d docid.Document, info Info, body []byte) error {
	if int64(len(body)) != info.Size {
		return Corrupt(d, "%d bytes, expected %d", len(body), info.Size)
	}
	if got := Sum(body); got != info.SHA256 {
		return Corrupt(d, "its SHA-256 is %s, expected %s", got, info.SHA256)
	}
	return nil
}

// Sum returns the hash of a body.
func Sum(body []byte) Hash { return sha256.Sum256(body) }

// errEmpty is the answer to a body of 0 bytes, which would read as a tombstone.
var errEmpty = errors.New("a body of 0 bytes cannot be saved: an empty Yjs update has two")

// CheckSave refuses what no store may take: an empty body.
func CheckSave(d docid.Document, body []byte) error {
	if len(body) == 0 {
		return fmt.Errorf("%s: %w", d, errEmpty)
	}
	return nil
}
