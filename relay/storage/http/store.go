package http

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// Load implements storage.Store.
func (s *Store) Load(ctx context.Context, d docid.Document, reserve storage.Reserve) (storage.Stored, error) {
	stored, err := s.get(ctx, d, reserve)
	return stored, failed("load", d, err)
}

func (s *Store) get(ctx context.Context, d docid.Document, reserve storage.Reserve) (storage.Stored, error) {
	answer, err := s.request(ctx, http.MethodGet, d, storage.Info{}, nil)
	if err != nil {
		return storage.Stored{}, err
	}
	defer answer.Body.Close()
	info, hashed, err := read(d, answer)
	if err != nil {
		return storage.Stored{}, err
	}
	return storage.ReadBody(ctx, d, info, hashed, answer.Body, reserve)
}

// Stat implements storage.Store.
func (s *Store) Stat(ctx context.Context, d docid.Document) (storage.Info, error) {
	info, err := s.head(ctx, d)
	if err == nil {
		info, err = storage.Found(d, info)
	}
	return info, failed("stat", d, err)
}

func (s *Store) head(ctx context.Context, d docid.Document) (storage.Info, error) {
	answer, err := s.request(ctx, http.MethodHead, d, storage.Info{}, nil)
	if err != nil {
		return storage.Info{}, err
	}
	defer drain(answer)
	info, _, err := read(d, answer)
	return info, err
}

// read understands the answer to a GET or HEAD.
func read(d docid.Document, answer *http.Response) (info storage.Info, hashed bool, err error) {
	switch answer.StatusCode {
	case http.StatusOK:
		return describe(d, answer)
	case http.StatusGone:
		info, _, err := describe(d, answer)
		info.Deleted, info.Size, info.SHA256 = true, 0, storage.Sum(nil)
		if err != nil {
			return storage.Info{}, false, err
		}
		return storage.Info{}, false, &storage.DeletedError{Document: d, Tombstone: info}
	case http.StatusNotFound:
		if answer.Header.Get(absentHeader) == "1" {
			return storage.Info{}, false, storage.ErrAbsent
		}
		return storage.Info{}, false, fmt.Errorf("404 without %q: it may come from something on the way", absentHeader+": 1")
	}
	return storage.Info{}, false, statusError(answer)
}

// describe reads the headers of a body or a tombstone.
func describe(d docid.Document, answer *http.Response) (info storage.Info, hashed bool, err error) {
	h := answer.Header
	info, _, err = storage.ParseFields(func(name string) string {
		if name == storage.FieldSHA256 {
			return ""
		}
		return h.Get(prefix + name)
	})
	if err != nil {
		return storage.Info{}, false, storage.Corrupt(d, "%v", err)
	}
	if info.SHA256, hashed, err = parseDigest(h.Get(digestHeader)); err != nil {
		return storage.Info{}, false, err
	}
	if info.Version, err = version(h); err != nil {
		return storage.Info{}, false, err
	}
	if answer.StatusCode == http.StatusOK {
		if info.Size = answer.ContentLength; info.Size < 0 {
			return storage.Info{}, false, errors.New("an answer without Content-Length: a body that breaks off could not be told from a whole one")
		}
		if h.Get("Content-Encoding") != "" {
			return storage.Info{}, false, fmt.Errorf("an answer in encoding %q, which was not asked for", h.Get("Content-Encoding"))
		}
	}
	return info, hashed, nil
}

// version reads an ETag. A weak one is for bodies that are alike, not the same.
func version(h http.Header) (storage.Version, error) {
	etag := h.Get("ETag")
	if strings.HasPrefix(etag, "W/") || len(etag) < 3 || etag[0] != '"' || etag[len(etag)-1] != '"' {
		return storage.Absent, fmt.Errorf("%w: ETag %q, expected a strong one", storage.ErrUnconditional, etag)
	}
	return storage.Version(etag), nil
}

// Save implements storage.Store.
func (s *Store) Save(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	if err := storage.CheckSave(d, body); err != nil {
		return storage.Absent, err
	}
	v, err := s.write(ctx, http.MethodPut, d, expect, storage.Described(m, body), body)
	return v, failed("save", d, err)
}

// Delete implements storage.Store.
func (s *Store) Delete(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta) (storage.Version, error) {
	v, err := s.write(ctx, http.MethodDelete, d, expect, storage.Described(m, nil), nil)
	return v, failed("delete", d, err)
}

func (s *Store) write(ctx context.Context, method string, d docid.Document, expect storage.Version, info storage.Info, body []byte) (storage.Version, error) {
	condition := []string{"If-None-Match", "*"}
	if expect != storage.Absent {
		condition = []string{"If-Match", string(expect)}
	}
	answer, err := s.request(ctx, method, d, info, body, condition...)
	if err != nil {
		return storage.Absent, err
	}
	defer drain(answer)
	switch answer.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusNoContent:
		return version(answer.Header)
	case http.StatusPreconditionFailed:
		return storage.Absent, s.mismatch(ctx, d)
	case http.StatusRequestEntityTooLarge:
		return storage.Absent, fmt.Errorf("%w: %w", storage.ErrTooLarge, statusError(answer))
	}
	return storage.Absent, statusError(answer)
}

// mismatch tells what is there instead of what was expected.
func (s *Store) mismatch(ctx context.Context, d docid.Document) error {
	current, err := s.head(ctx, d)
	switch {
	case errors.Is(err, storage.ErrAbsent):
		return storage.Mismatch(d, storage.Info{})
	case errors.Is(err, storage.ErrDeleted):
		return err
	case err != nil:
		return fmt.Errorf("it met another version, which cannot be read: %w", err)
	}
	if _, err := storage.Found(d, current); err != nil {
		return err
	}
	return storage.Mismatch(d, current)
}

// List implements storage.Store: a backend cannot be listed.
func (s *Store) List(context.Context, storage.Query) (storage.Page, error) {
	return storage.Page{}, fmt.Errorf("list: the application's backend: %w", errors.ErrUnsupported)
}

// statusError is an answer that states nothing about the document.
func statusError(answer *http.Response) error {
	err := fmt.Errorf("the backend answered %s", answer.Status)
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return fmt.Errorf("%w: %w", storage.ErrRefused, err)
	}
	if answer.StatusCode >= 300 && answer.StatusCode < 400 {
		return fmt.Errorf("%w: %w, and redirects are not followed", storage.ErrRefused, err)
	}
	return err
}

func failed(what string, d docid.Document, err error) error {
	if err == nil || errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrDeleted) || errors.Is(err, storage.ErrCorrupt) {
		return err
	}
	return fmt.Errorf("%s %s: %w", what, d, err)
}
