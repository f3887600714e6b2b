package foreign

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/foreign/sqlitefile"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/open"
	"github.com/wsnode/wsnode/relay/storage/s3"
	"github.com/wsnode/wsnode/relay/ystore"
)

// errEnough ends a walk whose consumer wants no more.
var errEnough = errors.New("enough")

// streamed turns a walk into a sequence.
func streamed(walk func(each func(Source) error) error) iter.Seq2[Source, error] {
	return func(yield func(Source, error) bool) {
		err := walk(func(s Source) error {
			if !yield(s, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(Source{}, err)
		}
	}
}

// fromSQLite reads the database of Hocuspocus' SQLite extension: a table documents with
// the name and what Y.encodeStateAsUpdate made.
func fromSQLite(path string) iter.Seq2[Source, error] {
	return streamed(func(each func(Source) error) error {
		db, err := sqlitefile.Open(path)
		if err != nil {
			return err
		}
		defer db.Close()
		return db.Rows("documents", []string{"name", "data"}, func(values []any) error {
			name, named := values[0].(string)
			data, ok := values[1].([]byte)
			return each(rowOf(fmt.Sprint(values[0]), name, named && ok, data))
		})
	})
}

// rowOf is a row of a table. One that is not what was expected is told, and hides no
// other.
func rowOf(file, name string, ok bool, data []byte) Source {
	s := Source{File: file, Name: name, Content: held(data)}
	if !ok || name == "" {
		s.File, s.Wrong = fmt.Sprintf("row %q", file), errors.New("expected a text that is not empty, and bytes")
	}
	return s
}

// fromS3 reads a bucket of Hocuspocus' S3 extension, which has NAME.bin below its prefix,
// or of y-sweet.
func fromS3(ctx context.Context, address string) iter.Seq2[Source, error] {
	return streamed(func(each func(Source) error) error {
		c, err := open.S3(address)
		if err != nil {
			return err
		}
		return s3.Walk(ctx, c, func(o s3.Object) error {
			if o.Size > maxImported {
				return fmt.Errorf("%s: %s are too many", o.Key, console.Bytes(o.Size))
			}
			if one, ok := sourceOf(o.Key, nil, o.Read); ok {
				return each(one)
			}
			return nil
		})
	})
}

// fromPostgres reads rows of a name and an update. Rows of the same name are merged: some
// programs have one for each edit.
func fromPostgres(ctx context.Context, address, query string) iter.Seq2[Source, error] {
	return streamed(func(each func(Source) error) error {
		conn, err := pgx.Connect(ctx, address)
		if err != nil {
			return errors.New(storage.RedactError(err, address))
		}
		defer conn.Close(context.WithoutCancel(ctx))
		rows, err := conn.Query(ctx, query)
		if err != nil {
			return fmt.Errorf("query: %w", err)
		}
		defer rows.Close()
		if columns := rows.FieldDescriptions(); rows.Err() == nil && len(columns) != 2 {
			return fmt.Errorf("query: %d columns, expected two: the name, and a Yjs V1 update", len(columns))
		}
		for rows.Next() {
			var name *string
			var data []byte
			if err := rows.Scan(&name, &data); err != nil {
				return fmt.Errorf("query: expected a text and bytes: %w", err)
			}
			if name == nil {
				name = new(string)
			}
			if err := each(rowOf(*name, *name, data != nil, data)); err != nil {
				return err
			}
		}
		if err := rows.Err(); err != nil {
			return fmt.Errorf("query: %w", err)
		}
		return nil
	})
}

// errSweet is for a file that y-sweet did not write.
var errSweet = errors.New("expected a file of y-sweet: it is cut short or of another version")

// readSweet takes the update out of y-sweet's file: a map of byte strings as bincode
// spells it, with 8 bytes of length before each, in which yrs-kvstore keeps a document
// (0 1 oid:4 0) and updates that are not in it yet (0 1 oid:4 2 clock:4 0).
func readSweet(raw []byte) ([]byte, error) {
	number := func() (uint64, bool) {
		if len(raw) < 8 {
			return 0, false
		}
		n := binary.LittleEndian.Uint64(raw)
		raw = raw[8:]
		return n, true
	}
	text := func() ([]byte, bool) {
		n, ok := number()
		if !ok || n > uint64(len(raw)) {
			return nil, false
		}
		value := raw[:n]
		raw = raw[n:]
		return value, true
	}
	entries, ok := number()
	var updates [][]byte
	for range entries {
		key, hasKey := text()
		value, hasValue := text()
		if ok = hasKey && hasValue; !ok {
			break
		}
		document := len(key) == 7 && key[6] == 0
		update := len(key) == 12 && key[6] == 2
		if bytes.HasPrefix(key, []byte{0, 1}) && (document || update) {
			updates = append(updates, value)
		}
	}
	if !ok || len(raw) > 0 || len(updates) == 0 {
		return nil, errSweet
	}
	if len(updates) == 1 {
		return updates[0], nil
	}
	return ystore.MergeKeeping(updates) // whether what is deleted is kept, the node knows
}
