// Package sqlitefile reads the rows of a table of an SQLite database, and nothing else: it
// is what an import of Hocuspocus' SQLite extension needs. Two whole SQLites for Go were
// measured: some 5 MB of wsctl, and a minute of CPU to compile either, for each platform.
//
// The format is that of https://sqlite.org/fileformat2.html; the numbers of its sections
// are in brackets.
package sqlitefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// ErrBusy: the database is being written, or was not closed, so that what its file holds
// is not what was committed.
var ErrBusy = errors.New("the database is in use, or its program did not close it: end the program, and have sqlite3 open it once")

// maxValue bounds a value: a size in a damaged file could say anything.
const maxValue = 1 << 30

// DB is a database in a file. Its methods must not be called concurrently.
type DB struct {
	file    *os.File
	path    string
	size    int64 // of a page
	usable  int   // bytes of it
	pages   int64
	changes [4]byte // the counter of commits when it was opened
}

const (
	headerSize    = 100
	magic         = "SQLite format 3\x00"
	changesOffset = 24
)

// Open opens a database for reading.
func Open(path string) (*DB, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	db := &DB{file: f, path: path}
	if err := db.readHeader(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return db, nil
}

// Close closes the file.
func (db *DB) Close() error { return db.file.Close() }

func (db *DB) readHeader() error {
	h := make([]byte, headerSize)
	if _, err := db.file.ReadAt(h, 0); err != nil || string(h[:16]) != magic {
		return errors.New("it is no SQLite database")
	}
	info, err := db.file.Stat()
	if err != nil {
		return err
	}
	db.size = int64(binary.BigEndian.Uint16(h[16:]))
	if db.size == 1 {
		db.size = 1 << 16
	}
	db.usable = int(db.size) - int(h[20])
	if db.size < 512 || db.size&(db.size-1) != 0 || db.usable < 480 {
		return fmt.Errorf("a page of %d bytes: it is damaged", db.size)
	}
	if encoding := binary.BigEndian.Uint32(h[56:]); encoding > 1 {
		return errors.New("its text is UTF-16, expected UTF-8")
	}
	db.pages = info.Size() / db.size
	copy(db.changes[:], h[changesOffset:])
	return db.quiet()
}

// quiet returns an error unless all that is in the file is committed, and no commit has
// been made since it was opened.
func (db *DB) quiet() error {
	var now [4]byte
	if _, err := db.file.ReadAt(now[:], changesOffset); err != nil {
		return err
	}
	if now != db.changes {
		return ErrBusy
	}
	for _, beside := range []string{"-journal", "-wal"} {
		if info, err := os.Stat(db.path + beside); err == nil && info.Size() > 0 {
			return ErrBusy
		}
	}
	return nil
}

// errDamaged is for what cannot be in a database that SQLite wrote.
var errDamaged = errors.New("the database is damaged")

// Rows calls each with the values of columns of each row of a table, as nil, int64, string
// or []byte; other kinds come as an error. each may keep them. What was being written
// while it was read is ErrBusy.
func (db *DB) Rows(table string, columns []string, each func(values []any) error) error {
	root, at, err := db.find(table, columns)
	if err != nil {
		return fmt.Errorf("%s: %w", db.path, err)
	}
	w := walk{db: db}
	return w.table(root, 0, func(record []byte) error {
		all, err := values(record)
		if err == nil {
			err = db.quiet() // what was read may be torn otherwise
		}
		if err != nil {
			return fmt.Errorf("%s: %w", db.path, err)
		}
		row := make([]any, len(at))
		for i, column := range at {
			if column < len(all) { // columns that were added later are missing in older rows
				row[i] = all[column]
			}
		}
		return each(row)
	})
}

// find looks a table up in the schema, which is itself a table, in page 1 [2.6].
func (db *DB) find(table string, columns []string) (root int64, at []int, err error) {
	w := walk{db: db}
	err = w.table(1, 0, func(record []byte) error {
		row, err := values(record)
		if err != nil || len(row) < 5 || row[0] != "table" || row[1] != table {
			return err
		}
		page, ok := row[3].(int64)
		sql, ok2 := row[4].(string)
		if !ok || !ok2 {
			return errDamaged
		}
		named, err := columnsOf(sql)
		root = page
		for _, column := range columns {
			at = append(at, slices.Index(named, column))
		}
		return err
	})
	switch {
	case err != nil:
		return 0, nil, err
	case root == 0:
		return 0, nil, fmt.Errorf("it has no table %q", table)
	case slices.Contains(at, -1):
		return 0, nil, fmt.Errorf("its table %q has not all of the columns %q", table, columns)
	}
	return root, at, nil
}

// page reads a page; the first one is 1.
func (db *DB) page(n int64) ([]byte, error) {
	if n < 1 || n > db.pages {
		return nil, errDamaged
	}
	p := make([]byte, db.size)
	if _, err := db.file.ReadAt(p, (n-1)*db.size); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return p[:db.usable], nil
}
